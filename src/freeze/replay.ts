/**
 * Replay: delivering custody to the far peer, as a small TCP sender of its own (theory of operation 5.1). It needs one
 * because the near endpoint has thrown these bytes away: what is lost now only the gateway can send again.
 *
 * Knock.    The path may not carry packets when the link event comes. Until the far peer is heard, a short first flight goes
 *           out and its first segment is repeated after 0.1, 0.3, 0.7, 1.5 s ... Its first segment asks for the far
 *           peer's ACK. The others start a little before where the far peer probably is: what it had received when
 *           its ACKs were lost on the way back is half a round trip's worth.
 * Flight.   Then new bytes leave at the delivery rate of before the loss (freeze/pacer.ts holds the whole link to its own),
 *           within the number of bytes that was in flight then; where no rate is known, by slow start from ten segments
 *           (RFC 6928).
 * Losses.   SACK holes, three duplicate ACKs or an own RTO (RFC 6298, RFC 6675) bring retransmissions.
 * End.      The far peer's ACK reaches CE.
 */
import { type Micros, NEVER } from '../base/time.ts';
import { seqDiff, seqGe, seqGt, seqLt } from '../wire/seq.ts';
import { Scoreboard } from './scoreboard.ts';

/** Initial window in segments (RFC 6928). */
const INITIAL_SEGMENTS = 10;
/**
 * The knock covers this range of what the far peer has probably received, in shares of half a round trip's worth: the rate
 * estimate is good to a few tenths, and a gap in front of the knock costs a round trip.
 */
const KNOCK_FROM = 0.75;
const KNOCK_TO = 1.15;
/** Least and most segments of a knock; the kernel queues about 90 while it resolves the next hop (unres_qlen_bytes). */
const KNOCK_MIN = 24;
const KNOCK_MAX = 80;
/** First repetition of an unanswered knock (theory of operation 5.6: 0, 0.1, 0.3, 0.7, 1.5 s). */
const KNOCK_INTERVAL: Micros = 100_000;
/** A path that is silent this long is knocked at no more often. */
const KNOCK_INTERVAL_MAX: Micros = 3_000_000;
/** Lower bound of the retransmission timer; Linux uses the same (TCP_RTO_MIN). */
const RTO_MIN: Micros = 200_000;
const RTO_MAX: Micros = 10_000_000;
/** How late a paced sender may run without losing its turn. */
const CATCH_UP: Micros = 2_000;
/** RFC 5681 3.2. */
const DUPLICATE_THRESHOLD = 3;
/**
 * A far peer that answers, but does not get the same segment so many times in a row, may lie behind a path that swallows large
 * packets without a word (RFC 2923 2.1); then every path's size is tried (RFC 9293 3.7.1, less room for options).
 */
const BLACK_HOLE_TIMEOUTS = 3;
const BLACK_HOLE_SEGMENT = 500;

export class Replay {
  /** Next byte never replayed. */
  sndNxt: number;
  sndUna: number;
  readonly scoreboard = new Scoreboard();
  /** Payload bytes per wire segment; smaller once the path has said so. */
  segment: number;
  /** Bytes per microsecond, 0 when unknown. */
  readonly rate: number;
  cwnd: number;
  /** Bytes the path is known to take. */
  readonly flight: number;
  heard = false;
  nextSendAt: Micros;
  rtoAt: Micros = NEVER;
  #rto: Micros;
  readonly startedAt: Micros;
  #duplicates = 0;
  /** Since the far peer last acknowledged something new. */
  #timeouts = 0;
  /** Retransmitting up to here; meaningful with `recovering`. */
  #recoverTo = 0;
  #rtxNxt = 0;
  recovering = false;
  #afterTimeout = false;
  /** What lies before the knock's place is being sent for the first time, should it be missing after all. */
  filling = false;
  /** When the far peer of a restored flow is asked next whether it is there. */
  askAt: Micros = -NEVER;
  #askInterval: Micros = KNOCK_INTERVAL;
  /** FIN was sent at least once. */
  finSent = false;

  /**
   * @param una first byte of custody
   * @param segment payload bytes per wire segment, at least 1
   * @param rate delivery rate before the loss in bytes per microsecond, 0 when unknown
   * @param flight bytes in flight at the loss
   * @param length bytes of custody
   * @param srtt smoothed round trip before the loss in micros, 0 when unknown
   * @param minRtt smallest round trip before the loss in micros, 0 when unknown
   */
  constructor(
    una: number,
    segment: number,
    rate: number,
    flight: number,
    length: number,
    srtt: Micros,
    minRtt: Micros,
    now: Micros,
  ) {
    this.sndUna = una;
    this.sndNxt = una;
    this.segment = segment;
    this.rate = rate;
    this.flight = Math.max(flight, INITIAL_SEGMENTS * segment);
    this.cwnd = INITIAL_SEGMENTS * segment;
    const halfTrip = (rate * minRtt) / 2 / segment;
    const skip = Math.min(Math.floor(KNOCK_FROM * halfTrip) * segment, length - segment);
    if (skip >= segment) {
      const count = Math.min(KNOCK_MAX, Math.max(KNOCK_MIN, Math.ceil((KNOCK_TO - KNOCK_FROM) * halfTrip)));
      this.sndNxt = (una + skip) | 0;
      this.cwnd = skip + count * segment;
      this.recovering = true;
      this.#recoverTo = this.sndNxt;
      this.#rtxNxt = una;
      this.#afterTimeout = true;
      this.filling = true;
    }
    this.#rto = Math.max(KNOCK_INTERVAL, srtt * 1.5);
    this.nextSendAt = now;
    this.startedAt = now;
  }

  /**
   * The far peer acknowledged `ack` (at most CE) with SACK blocks already in the scoreboard.
   * @param isDuplicate the segment carried no data and changed neither ACK nor window (RFC 5681 2)
   */
  onAck(ack: number, isDuplicate: boolean, srtt: Micros, now: Micros): void {
    const first = !this.heard;
    this.heard = true;
    const advance = seqDiff(ack, this.sndUna);
    if (advance > 0) {
      this.sndUna = ack;
      if (seqGt(ack, this.sndNxt)) this.sndNxt = ack;
      this.scoreboard.release(ack);
      this.#duplicates = 0;
      this.#timeouts = 0;
      this.cwnd += advance;
      this.#rto = Math.min(RTO_MAX, Math.max(RTO_MIN, srtt * 2));
      this.rtoAt = now + this.#rto;
      if (this.recovering && seqGe(ack, this.#recoverTo)) {
        this.recovering = false;
        this.#afterTimeout = false;
        this.filling = false;
      } else if (this.recovering && seqLt(this.#rtxNxt, ack)) this.#rtxNxt = ack;
    } else if (isDuplicate) this.#duplicates++;
    if (first) {
      // The pipe is empty and known: its former content may enter at its former rate.
      if (this.rate > 0) this.cwnd = this.flight;
      this.#rto = Math.max(RTO_MIN, srtt * 2);
      this.rtoAt = now + this.#rto;
      this.nextSendAt = now;
    }
    if (this.rate > 0 && this.cwnd > this.flight) this.cwnd = this.flight;
    this.#detectLoss(ack);
  }

  #detectLoss(ack: number): void {
    if (this.recovering) return;
    const sackedAbove = this.scoreboard.coveredBelow(this.sndNxt);
    const byDuplicates = this.#duplicates >= DUPLICATE_THRESHOLD && this.scoreboard.count === 0;
    if (seqLt(ack, this.sndNxt) && (byDuplicates || sackedAbove >= DUPLICATE_THRESHOLD * this.segment)) {
      this.recovering = true;
      this.#recoverTo = this.sndNxt;
      this.#rtxNxt = ack;
    }
  }

  /**
   * The path takes smaller packets than before: everything that is not acknowledged is cut anew and sent again.
   * @param segment payload bytes per wire segment, at least 1
   * @returns whether that is a change
   */
  recut(segment: number, now: Micros): boolean {
    if (segment >= this.segment) return false;
    this.segment = segment;
    this.filling = false;
    this.recovering = true;
    this.#afterTimeout = true;
    this.#recoverTo = this.sndNxt;
    this.#rtxNxt = this.sndUna;
    this.finSent = false;
    this.nextSendAt = now;
    return true;
  }

  /** The retransmission timer fired: everything not selectively acknowledged counts as lost. */
  onTimeout(now: Micros): void {
    this.filling = false;
    this.#timeouts++;
    if (this.heard && this.#timeouts >= BLACK_HOLE_TIMEOUTS && this.segment > BLACK_HOLE_SEGMENT)
      this.segment = BLACK_HOLE_SEGMENT;
    this.#rto = Math.min(this.heard ? RTO_MAX : KNOCK_INTERVAL_MAX, this.#rto * 2);
    this.rtoAt = now + this.#rto;
    this.recovering = true;
    this.#afterTimeout = true;
    this.#recoverTo = this.sndNxt;
    this.#rtxNxt = this.sndUna;
    this.#duplicates = 0;
    this.finSent = false;
    this.cwnd = this.heard ? Math.max(2 * this.segment, this.cwnd / 2) : this.segment;
    this.nextSendAt = now;
  }

  /**
   * Chooses what to send next.
   * @param dataEnd sequence number after the last byte of custody
   * @param fin a FIN follows at `dataEnd`
   * @param rightEdge right edge of the far peer's receive window
   * @returns start of the segment to send now; `chosenLength` is its payload length (0: a FIN alone), -1 when nothing may go
   */
  choose(dataEnd: number, fin: boolean, rightEdge: number): number {
    this.chosenLength = -1;
    if (this.recovering) {
      const limit = this.#afterTimeout
        ? this.#recoverTo
        : seqMinOf(this.#recoverTo, this.scoreboard.highest(this.#recoverTo));
      const from = this.scoreboard.nextHole(this.#rtxNxt);
      if (seqLt(from, limit) && seqLt(from, dataEnd) && (this.heard || from === this.sndUna)) {
        // Before the first sign of life only the first segment is repeated.
        const end = seqMinOf(this.scoreboard.holeEnd(from, limit), dataEnd);
        // Custody may end beyond the window: probes of some stacks carry a whole segment.
        const room = seqDiff(rightEdge, from);
        if (room <= 0 && from !== this.sndUna) return 0;
        this.chosenLength = Math.min(this.segment, seqDiff(end, from), Math.max(1, room));
        return from;
      }
    }
    // What the far peer got before the loss, out of order, need not be sent at all.
    const next = seqMinOf(this.scoreboard.nextHole(this.sndNxt), dataEnd);
    if (seqGt(next, this.sndNxt)) this.sndNxt = next;
    const outstanding = seqDiff(this.sndNxt, this.sndUna) - this.scoreboard.coveredBelow(this.sndNxt);
    if (outstanding >= this.cwnd && outstanding > 0) return 0;
    const left = seqDiff(dataEnd, this.sndNxt);
    if (left <= 0) {
      if (fin && !this.finSent) this.chosenLength = 0;
      return dataEnd;
    }
    const room = seqDiff(rightEdge, this.sndNxt);
    // A closed window is probed with one byte when nothing else is outstanding (RFC 9293 3.8.6.1).
    if (room <= 0 && outstanding > 0) return 0;
    const end = this.scoreboard.holeEnd(this.sndNxt, dataEnd);
    this.chosenLength = Math.min(this.segment, seqDiff(end, this.sndNxt), Math.max(1, room));
    return this.sndNxt;
  }

  /** Result of `choose`: payload bytes, -1 for nothing. */
  chosenLength = -1;

  /** The chosen segment was handed to the kernel. */
  onSent(from: number, length: number, now: Micros): void {
    const end = (from + length) | 0;
    if (seqGt(end, this.sndNxt)) this.sndNxt = end;
    else this.#rtxNxt = end;
    if (this.rtoAt === NEVER) this.rtoAt = now + this.#rto;
    this.onCredit(length, now);
  }

  /** The far peer was asked whether it is there. @returns when to ask again */
  onAsked(now: Micros): Micros {
    this.askAt = now + this.#askInterval;
    this.#askInterval = Math.min(KNOCK_INTERVAL_MAX, this.#askInterval * 2);
    return this.askAt;
  }

  /** The near endpoint was allowed `bytes`, which take their turn like replayed ones. */
  onCredit(bytes: number, now: Micros): void {
    if (this.rate > 0) this.nextSendAt = Math.max(this.nextSendAt, now - CATCH_UP) + bytes / this.rate;
  }
}

function seqMinOf(a: number, b: number): number {
  return seqLt(a, b) ? a : b;
}
