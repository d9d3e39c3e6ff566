/**
 * One endpoint of a connection as a middlebox can know it: the sequence space of what it sends, and what it last
 * said about what it receives. Variable names are those of RFC 9293 3.3.1 and RFC 7323, always of the endpoint they
 * stand on. An endpoint's SND.UNA is its peer's RCV.NXT and is stored only there.
 */
import { Median } from '../base/median.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { seqDiff } from '../wire/seq.ts';

/** No slot; end of a list of retained packets. */
export const NO_SLOT = -1;

/** Interval over which one delivery-rate sample is taken at least, so that one GSO burst is no rate. */
const RATE_INTERVAL_MIN: Micros = 20_000;
/** Payload of a full segment on Ethernet (RFC 9293 3.7.1). */
const SMALL_ADVANCE = 1_460;
/** Bytes of options in a TCP header (RFC 9293 3.1). */
const OPTIONS_MAX = 40;
/** Full segments of the smallest path there is (RFC 9293 3.7.1: MSS 536), less timestamps. */
const PATH_SEGMENT_MIN = 500;
/** A path that became longer is believed after this long. */
const MIN_RTT_WINDOW: Micros = 60_000_000;

export class Half {
  /** Index of the interface this endpoint lies behind, or -1 when no route told. */
  port = -1;

  // What it sends.
  /** Highest sequence number after anything it was seen to send. */
  sndNxt = 0;
  /** Whether `sndNxt` means anything yet. */
  sndKnown = false;
  /** `sndNxt` as last written to the table of handshakes (engine/handshakes.ts). */
  writtenNxt = 0;
  /** Sequence number of its FIN; meaningful with `finSent`. */
  finSeq = 0;
  finSent = false;
  /** Newest TSval of its forwarded segments; meaningful with `timestamps`. */
  tsVal = 0;
  timestamps = false;
  /** Largest payload of one wire segment it was seen to send (bytes); replay cuts at this size. */
  segmentSize = 0;
  ttl = 64;
  trafficClass = 0;
  flowLabel = 0;
  /** ACE bits of its last ACK (AE, CWR, ECE); repeated in synthesized ACKs (theory of operation 6.3). */
  aceFlags = 0;
  accurateEcn = false;
  /** Where its urgent data ends (RFC 9293 3.8.5, SND.UP); meaningful with `hasUrgent`. */
  urgentEnd = 0;
  hasUrgent = false;
  /** User timeout that it announced (RFC 5482, micros); 0: none. */
  userTimeout: Micros = 0;
  lastDataAt: Micros = -NEVER;
  /** When a plausible segment of it was last seen. */
  heardAt: Micros = -NEVER;
  /** SEG.SEQ of its last segment that could not be of the connection (engine/forgeries.ts). */
  straySeq = 0;

  // What it receives.
  /** RCV.NXT as it last acknowledged. */
  rcvNxt = 0;
  rcvKnown = false;
  /** Raw window field of the last ACK that was acceptable. */
  rcvWnd = 0;
  /** Its window scale (RFC 7323 2.2): 0 when it negotiated none, -1 when the handshake was not seen. */
  rcvWndShift = -1;
  /** What it acknowledged before, newest first, and until when, if the next ACK was less than a segment away (`olderAcks`). */
  #ackBefore1 = 0;
  #ackBefore2 = 0;
  #ackBefore3 = 0;
  #before1Until: Micros = -NEVER;
  #before2Until: Micros = -NEVER;
  #before3Until: Micros = -NEVER;
  /** Sequence and ACK number of the segment that last set `rcvWnd` (RFC 9293 SND.WL1 and SND.WL2 of the peer). */
  wl1 = 0;
  wl2 = 0;
  /** Sequence number after its SYN (and any data in it); meaningful with `synSeen`. */
  synEnd = 0;
  synSeen = false;
  /** Whether its SYN carried a window scale option; scaling is on only when both did. */
  scaleOffered = false;
  /** MSS option of its SYN, -1 when absent or not seen. */
  mss = -1;
  sackPermitted = false;
  /** Highest right edge of its receive window that was seen; a sender may have filled up to here. */
  rightEdge = 0;

  // Packets of its data still retained in the arena (freeze/arena.ts), oldest sequence first.
  heldHead = NO_SLOT;
  heldTail = NO_SLOT;

  /** It has retransmitted; acknowledgements below `ambiguousTo` are no round-trip samples (RFC 6298 3, Karn). */
  ambiguous = false;
  ambiguousTo = 0;

  // How fast its data is being acknowledged.
  /** Smoothed round trip from the gateway to the peer and back (micros); 0 when never measured. */
  srtt: Micros = 0;
  /** Smallest round trip of the last one to two MIN_RTT_WINDOWs (micros): the path without its queues. 0: not measured. */
  minRtt: Micros = 0;
  #windowMin: Micros = 0;
  #windowSince: Micros = 0;
  /** Recent delivery rate in bytes per microsecond (= MB/s); 0 when never measured. */
  deliveryRate = 0;
  #rateSince: Micros = -NEVER;
  #rateBytes = 0;
  /** Made with the first sample: most halves only receive. */
  #rates: Median | null = null;

  /** Back to the state of a new object, keeping its shape; flows are recycled. */
  reset(): void {
    this.port = -1;
    this.sndNxt = 0;
    this.sndKnown = false;
    this.writtenNxt = 0;
    this.finSeq = 0;
    this.finSent = false;
    this.tsVal = 0;
    this.timestamps = false;
    this.segmentSize = 0;
    this.ttl = 64;
    this.trafficClass = 0;
    this.flowLabel = 0;
    this.aceFlags = 0;
    this.accurateEcn = false;
    this.urgentEnd = 0;
    this.hasUrgent = false;
    this.userTimeout = 0;
    this.lastDataAt = -NEVER;
    this.heardAt = -NEVER;
    this.straySeq = 0;
    this.rcvNxt = 0;
    this.rcvKnown = false;
    this.rcvWnd = 0;
    this.rcvWndShift = -1;
    this.#before1Until = -NEVER;
    this.#before2Until = -NEVER;
    this.#before3Until = -NEVER;
    this.wl1 = 0;
    this.wl2 = 0;
    this.synEnd = 0;
    this.synSeen = false;
    this.scaleOffered = false;
    this.mss = -1;
    this.sackPermitted = false;
    this.rightEdge = 0;
    this.heldHead = NO_SLOT;
    this.heldTail = NO_SLOT;
    this.ambiguous = false;
    this.ambiguousTo = 0;
    this.srtt = 0;
    this.minRtt = 0;
    this.#windowMin = 0;
    this.#windowSince = 0;
    this.deliveryRate = 0;
    this.#rateSince = -NEVER;
    this.#rateBytes = 0;
    this.#rates = null;
  }

  /**
   * Payload bytes that a full segment sent to `receiver` has at least: what its MSS leaves beside the longest options, or what was
   * seen to pass, if that is plausible for a path.
   */
  fullSegmentTo({ mss }: Half): number {
    const byMss = (mss > 0 ? Math.min(mss, SMALL_ADVANCE) : SMALL_ADVANCE) - OPTIONS_MAX;
    return this.segmentSize >= PATH_SEGMENT_MIN ? Math.min(byMss, this.segmentSize) : byMss;
  }

  /** It acknowledges `advance` bytes more than `rcvNxt`, which is about to change. */
  onAckAdvance(advance: number, now: Micros): void {
    // The usual download: what was acknowledged a segment ago is of no use.
    if (advance >= SMALL_ADVANCE) return;
    this.#ackBefore3 = this.#ackBefore2;
    this.#before3Until = this.#before2Until;
    this.#ackBefore2 = this.#ackBefore1;
    this.#before2Until = this.#before1Until;
    this.#ackBefore1 = this.rcvNxt;
    this.#before1Until = now;
  }

  /**
   * What it had acknowledged before `rcvNxt`, less than `segment` bytes below it: what its peer may take for its SND.UNA when the ACKs
   * after that were lost. Oldest first, three at most; none when the last ACK is older than `since`.
   * @param span those count that were superseded so shortly before the last one: what was on the way when the link went (micros)
   */
  olderAcks(segment: number, since: Micros, span: Micros): number[] {
    const from = Math.max(since, this.#before1Until - span);
    const acks: number[] = [];
    const add = (ack: number, until: Micros): void => {
      const distance = seqDiff(this.rcvNxt, ack);
      if (until >= from && distance > 0 && distance < segment) acks.push(ack);
    };
    add(this.#ackBefore3, this.#before3Until);
    add(this.#ackBefore2, this.#before2Until);
    add(this.#ackBefore1, this.#before1Until);
    return acks;
  }

  /** Its receive window in bytes (below 2^30: 65535 << 14); 0 when the scale is unknown, because then nothing but 0 is safe to promise. */
  windowBytes(): number {
    return this.rcvWndShift < 0 ? 0 : this.rcvWnd << this.rcvWndShift;
  }

  /**
   * Accounts `bytes` of its data as acknowledged by the peer. One sample per round trip; the estimate is their median, so
   * neither a moment of application silence nor a clump of ACKs before a loss misleads the replay.
   */
  onDelivered(bytes: number, now: Micros): void {
    const elapsed = now - this.#rateSince;
    if (elapsed > 2_000_000) {
      this.#rateSince = now;
      this.#rateBytes = 0;
      return;
    }
    this.#rateBytes += bytes;
    if (elapsed < RATE_INTERVAL_MIN || elapsed < this.srtt) return;
    this.#rates ??= new Median();
    this.deliveryRate = this.#rates.add(this.#rateBytes / elapsed);
    this.#rateSince = now;
    this.#rateBytes = 0;
  }

  /** Takes one round-trip sample (RFC 6298 2.3 smoothing, without the variance). */
  onRoundTrip(sample: Micros, now: Micros): void {
    if (this.#windowMin === 0 || sample < this.#windowMin) this.#windowMin = sample;
    if (this.minRtt === 0 || sample < this.minRtt) this.minRtt = sample;
    if (now - this.#windowSince > MIN_RTT_WINDOW) {
      if (this.#windowSince !== 0) this.minRtt = this.#windowMin;
      this.#windowMin = sample;
      this.#windowSince = now;
    }
    this.srtt = this.srtt === 0 ? sample : this.srtt * 0.875 + sample * 0.125;
  }
}

/** Urgent pointer of a segment that starts at `from`: while urgent data lies ahead, 16 bits permitting (RFC 9293 3.8.5); 0: none. */
export function urgentOffset({ hasUrgent, urgentEnd }: Half, from: number): number {
  const ahead = hasUrgent ? seqDiff(urgentEnd, from) : 0;
  return ahead > 0 && ahead <= 0xffff ? ahead : 0;
}
