/**
 * One endpoint of a connection as a middlebox can know it: the sequence space of what it sends, and what it last
 * said about what it receives. Variable names are those of RFC 9293 3.3.1 and RFC 7323, always of the endpoint they
 * stand on. An endpoint's SND.UNA is its peer's RCV.NXT and is stored only there.
 */
import { type Micros, NEVER } from '../base/time.ts';

/** No slot; end of a list of retained packets. */
export const NO_SLOT = -1;

/** Interval over which one delivery-rate sample is taken at least, so that one GSO burst is no rate. */
const RATE_INTERVAL_MIN: Micros = 20_000;

export class Half {
  /** Index of the interface this endpoint lies behind, or -1 when no route told. */
  port = -1;

  // What it sends.
  /** Highest sequence number after anything it was seen to send. */
  sndNxt = 0;
  /** Whether `sndNxt` means anything yet. */
  sndKnown = false;
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
  lastDataAt: Micros = -NEVER;

  // What it receives.
  /** RCV.NXT as it last acknowledged. */
  rcvNxt = 0;
  rcvKnown = false;
  /** Raw window field of the last ACK that was acceptable. */
  rcvWnd = 0;
  /** Its window scale (RFC 7323 2.2): 0 when it negotiated none, -1 when the handshake was not seen. */
  rcvWndShift = -1;
  /** Sequence and ACK number of the segment that last set `rcvWnd` (RFC 9293 SND.WL1 and SND.WL2 of the peer). */
  wl1 = 0;
  wl2 = 0;
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
  /** Recent delivery rate in bytes per microsecond (= MB/s); 0 when never measured. */
  deliveryRate = 0;
  #rateSince: Micros = -NEVER;
  #rateBytes = 0;

  /** Back to the state of a new object, keeping its shape; flows are recycled. */
  reset(): void {
    this.port = -1;
    this.sndNxt = 0;
    this.sndKnown = false;
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
    this.lastDataAt = -NEVER;
    this.rcvNxt = 0;
    this.rcvKnown = false;
    this.rcvWnd = 0;
    this.rcvWndShift = -1;
    this.wl1 = 0;
    this.wl2 = 0;
    this.scaleOffered = false;
    this.mss = -1;
    this.sackPermitted = false;
    this.rightEdge = 0;
    this.heldHead = NO_SLOT;
    this.heldTail = NO_SLOT;
    this.ambiguous = false;
    this.ambiguousTo = 0;
    this.srtt = 0;
    this.deliveryRate = 0;
    this.#rateSince = -NEVER;
    this.#rateBytes = 0;
  }

  /** Its receive window in bytes; 0 when the scale is unknown, because then nothing but 0 is safe to promise. */
  windowBytes(): number {
    return this.rcvWndShift < 0 ? 0 : this.rcvWnd * 2 ** this.rcvWndShift;
  }

  /**
   * Accounts `bytes` of its data as acknowledged by the peer. The estimate follows increases at once and decays by an
   * eighth per sample, so that a moment of application silence before a loss does not slow the replay down.
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
    const sample = this.#rateBytes / elapsed;
    this.deliveryRate = sample > this.deliveryRate ? sample : this.deliveryRate * 0.875 + sample * 0.125;
    this.#rateSince = now;
    this.#rateBytes = 0;
  }

  /** Takes one round-trip sample (RFC 6298 2.3 smoothing, without the variance). */
  onRoundTrip(sample: Micros): void {
    this.srtt = this.srtt === 0 ? sample : this.srtt * 0.875 + sample * 0.125;
  }
}
