/**
 * The sending half of a model endpoint: slow start, congestion avoidance, fast recovery (RFC 5681, 6582, 6675),
 * retransmission timeout with back-off (RFC 6298), spurious-timeout undo by timestamps (RFC 3522, as Linux does),
 * persist state with zero-window probes (RFC 9293 3.8.6.1), and RFC 6069.
 *
 * Offsets: first data byte 0, FIN at the stream's length. It owns no clock and emits by a callback.
 */
import { MICROS_PER_MILLI, MICROS_PER_SECOND, type Micros, NEVER } from '../../src/base/time.ts';
import type { Interval } from './receiver.ts';
import { Scoreboard } from './scoreboard.ts';

/** Linux TCP_RTO_MIN and TCP_RTO_MAX (include/net/tcp.h); RFC 6298 asks for 1 s and at least 60 s. */
const RTO_MIN = 200 * MICROS_PER_MILLI;
const RTO_MAX = 120 * MICROS_PER_SECOND;
/** Granularity of the timestamp clock: two events within one tick cannot be told apart. */
export const TICK = MICROS_PER_MILLI;

/**
 * How a closed window is probed: `linux` sends no data with the sequence number before SND.UNA, `bsd` one byte
 * beyond the window, `full` a whole segment beyond it.
 */
export type ProbeStyle = 'linux' | 'bsd' | 'full';

/**
 * Which window updates count: `linux` any growth, and a zero (tcp_may_update_window since 6.6); `growOnly` growth
 * only unless SEG.ACK or SEG.SEQ advanced (Linux before, BSD, lwIP); `rfc9293` everything not older than WL1/WL2.
 */
export type WindowRule = 'linux' | 'growOnly' | 'rfc9293';

export interface SenderConfig {
  readonly mss: number;
  readonly sack: boolean;
  readonly probe: ProbeStyle;
  readonly windowRule: WindowRule;
  readonly rfc6069: boolean;
  /** Consecutive unanswered retransmissions or probes before giving up (tcp_retries2). */
  readonly retries: number;
  /** Most bytes handed down in one piece (GSO); the MSS where there is no offload. */
  readonly burst: number;
}

export interface SenderStats {
  retransmits: number;
  timeouts: number;
  undone: number;
  probes: number;
  maxBackoff: number;
}

export class Sender {
  /** SND.UNA, SND.NXT, and the highest offset ever sent (beyond SND.NXT only after data probes). */
  sndUna = 0;
  sndNxt = 0;
  sndMax = 0;
  /** Scaled, in bytes from SND.UNA. */
  sndWnd = 0;
  maxWnd = 0;
  cwnd: number;
  ssthresh = Number.POSITIVE_INFINITY;
  rto: Micros = MICROS_PER_SECOND;
  backoff = 0;
  srtt: Micros = 0;
  /** Bytes the application has written, and whether it closed after them. */
  written = 0;
  closed = false;
  hasGivenUp = false;
  readonly stats: SenderStats = { retransmits: 0, timeouts: 0, undone: 0, probes: 0, maxBackoff: 0 };
  readonly board = new Scoreboard();

  #rttvar: Micros = 0;
  #sentAt: Micros = 0;
  #rtoAt: Micros = NEVER;
  #persistAt: Micros = NEVER;
  #persistBackoff = 0;
  /** Consecutive timeouts without progress (icsk_retransmits) and probes without any answer (icsk_probes_out). */
  #retries = 0;
  #firstRetryAt: Micros = 0;
  #probesOut = 0;
  #duplicates = 0;
  #recover = 0;
  #mode: 'open' | 'recovery' | 'loss' = 'open';
  #wl1 = 0;
  #wl2 = 0;
  /** For undoing: state before the loss episode, and when its first retransmission went out. */
  #priorCwnd = 0;
  #priorSsthresh = 0;
  #episodeAt: Micros = -1;

  readonly #config: SenderConfig;
  /** Emits stream range `from..to`; `from === to` is a probe without data. */
  readonly #transmit: (from: number, to: number) => void;

  constructor(config: SenderConfig, transmit: (from: number, to: number) => void) {
    this.#config = config;
    this.#transmit = transmit;
    this.cwnd = 10 * config.mss;
  }

  /** End of all there is to send, FIN included. */
  get end(): number {
    return this.written + (this.closed ? 1 : 0);
  }

  get isFinished(): boolean {
    return this.closed && this.sndUna === this.written + 1;
  }

  get isPersisting(): boolean {
    return this.#persistAt !== NEVER;
  }

  deadline(): Micros {
    return Math.min(this.#rtoAt, this.#persistAt);
  }

  /** The handshake is over. `seq` is the peer's offset of that segment, `sample` its round trip or -1. */
  start(window: number, seq: number, sample: Micros, now: Micros): void {
    this.sndWnd = window;
    this.maxWnd = window;
    this.#wl1 = seq;
    if (sample >= 0) this.#measure(sample);
    this.send(now);
  }

  /**
   * An acceptable ACK with `sndUna <= ack <= sndMax`.
   * @param seq offset of the segment in the peer's stream; `pure`: it had neither data nor FIN
   * @param echoAge age of the echoed timestamp in micros, -1 without timestamps
   */
  handleAck(
    ack: number,
    window: number,
    seq: number,
    pure: boolean,
    blocks: readonly Interval[],
    echoAge: Micros,
    now: Micros,
  ): void {
    this.#probesOut = 0;
    const outstanding = !this.board.isEmpty;
    const sameWindow = window === this.sndWnd;
    this.#updateWindow(ack, window, seq);
    const acked = ack - this.sndUna;
    if (acked > 0) this.#advance(ack, acked, echoAge, now);
    const sacked = this.#config.sack ? this.board.sack(blocks) : 0;
    if (acked === 0 && outstanding && pure && (sacked > 0 || (blocks.length === 0 && sameWindow))) this.#duplicates++;
    this.#detectLoss(now);
    if (this.sndWnd > 0 && this.#persistAt !== NEVER && this.#sendable() > 0) {
      this.#persistAt = NEVER;
      this.#persistBackoff = 0;
    }
    this.send(now);
  }

  handleTimeout(now: Micros): void {
    if (now >= this.#rtoAt) this.#handleRto(now);
    if (now >= this.#persistAt) this.#probe(now);
  }

  /** RFC 6069 section 4.2, in the order of Linux tcp_ld_RTO_revert. `seq` is the quoted sequence number. */
  handleUnreachable(seq: number, now: Micros): void {
    const head = this.board.head;
    if (!this.#config.rfc6069 || head === undefined || seq !== this.sndUna || this.backoff === 0) return;
    this.backoff--;
    const due = head.lastSentAt + this.#currentRto();
    if (due > now) this.#rtoAt = due;
    else this.#handleRto(now);
  }

  /** Send whatever the windows allow, lost segments first. */
  send(now: Micros): void {
    const { mss } = this.#config;
    let pipe = this.board.pipe();
    // RFC 5681 4.1: after more than one RTO without anything in flight, begin again with the initial window.
    if (this.board.isEmpty && now - this.#sentAt > this.rto) this.cwnd = Math.min(this.cwnd, 10 * mss);
    for (;;) {
      const lost = this.board.nextLost();
      if (lost === undefined) break;
      const size = lost.to - lost.from;
      if (pipe > 0 && pipe + size > this.cwnd) break;
      if (lost.to > this.sndUna + this.sndWnd && lost.from !== this.sndUna) break;
      pipe += size;
      this.#resend(lost, now);
    }
    if (this.board.nextLost() === undefined) {
      let burstFrom = this.sndNxt;
      for (;;) {
        const size = this.#sendable();
        if (size === 0 || (pipe > 0 && pipe + size > this.cwnd)) break;
        this.board.add(this.sndNxt, this.sndNxt + size, now);
        this.sndNxt += size;
        this.sndMax = Math.max(this.sndMax, this.sndNxt);
        this.#sentAt = now;
        pipe += size;
        if (this.sndNxt - burstFrom + mss > this.#config.burst || size < mss) {
          this.#transmit(burstFrom, this.sndNxt);
          burstFrom = this.sndNxt;
        }
      }
      if (this.sndNxt > burstFrom) this.#transmit(burstFrom, this.sndNxt);
    }
    if (!this.board.isEmpty && this.#rtoAt === NEVER) this.#rtoAt = now + this.#currentRto();
    if (this.board.isEmpty && this.sndNxt < this.end && this.#sendable() === 0 && this.#persistAt === NEVER) {
      this.#persistAt = now + Math.min(RTO_MAX, this.#currentRto() * 2 ** this.#persistBackoff);
    }
    if (!this.board.isEmpty || this.sndNxt === this.end) this.#persistAt = NEVER;
  }

  /** Size of the next new segment that the peer's window and silly-window avoidance allow (RFC 9293 3.8.6.2.1). */
  #sendable(): number {
    const { mss } = this.#config;
    const left = this.end - this.sndNxt;
    const room = this.sndUna + this.sndWnd - this.sndNxt;
    if (left <= 0 || room <= 0) return 0;
    const size = Math.min(mss, left, room);
    if (size === mss || size === left || size * 2 >= this.maxWnd) return size;
    return 0;
  }

  #updateWindow(ack: number, window: number, seq: number): void {
    const newer = ack > this.sndUna || seq > this.#wl1;
    const same = seq === this.#wl1 && ack >= this.#wl2;
    const { windowRule } = this.#config;
    const accepted =
      newer || (same && (windowRule === 'rfc9293' || window > this.sndWnd || (windowRule === 'linux' && window === 0)));
    if (!accepted) return;
    this.#wl1 = seq;
    this.#wl2 = ack;
    this.sndWnd = window;
    this.maxWnd = Math.max(this.maxWnd, window);
  }

  #advance(ack: number, acked: number, echoAge: Micros, now: Micros): void {
    const { mss } = this.#config;
    const sentAt = this.board.acknowledge(ack);
    this.sndUna = ack;
    this.sndNxt = Math.max(this.sndNxt, ack);
    this.#duplicates = 0;
    this.#retries = 0;
    if (echoAge >= 0) this.#measure(echoAge);
    else if (sentAt >= 0) this.#measure(now - sentAt);
    // The ACK echoes a segment sent before the first retransmission: the original had arrived (RFC 3522).
    if (this.#episodeAt >= 0 && echoAge >= 0 && now - echoAge + TICK <= this.#episodeAt && this.#mode === 'loss') {
      this.#undo();
    }
    this.backoff = 0;
    if (this.#mode !== 'open' && ack >= this.#recover) {
      if (this.#mode === 'recovery') this.cwnd = Math.max(this.ssthresh, mss);
      this.#mode = 'open';
      this.#episodeAt = -1;
    } else if (this.#mode === 'recovery' && !this.#config.sack) {
      // NewReno partial ACK (RFC 6582 3.2 step 5): the next hole goes out at once, the window deflates by what left.
      this.board.markHeadLost();
      this.cwnd = Math.max(mss, this.cwnd - acked + mss);
      if (this.board.head !== undefined) this.#resend(this.board.head, now);
    }
    if (this.#mode !== 'recovery') {
      if (this.cwnd < this.ssthresh) this.cwnd += Math.min(acked, 2 * mss);
      else this.cwnd += (mss * Math.min(acked, mss)) / this.cwnd;
    }
    this.#rtoAt = this.board.isEmpty ? NEVER : now + this.#currentRto();
  }

  #detectLoss(now: Micros): void {
    const found = this.#config.sack && this.board.markLost(this.#config.mss);
    if (!found && this.#duplicates < 3) return;
    if (this.#mode === 'recovery' && !found) {
      // Each further duplicate means that a segment has left the network (RFC 5681 3.2 step 4).
      if (!this.#config.sack) this.cwnd += this.#config.mss;
      return;
    }
    if (this.#mode === 'open' && !this.board.isEmpty) {
      if (!found) this.board.markHeadLost();
      this.#mode = 'recovery';
      this.#recover = this.sndNxt;
      this.ssthresh = Math.max((this.sndNxt - this.sndUna) / 2, 2 * this.#config.mss);
      this.cwnd = this.ssthresh;
      this.#episodeAt = now;
      // The first retransmission does not wait for the pipe to drain (RFC 5681 3.2 step 3, RFC 6675 section 5 (4.3)).
      const first = this.board.nextLost();
      if (first !== undefined) this.#resend(first, now);
    }
  }

  #handleRto(now: Micros): void {
    const head = this.board.head;
    if (head === undefined) {
      this.#rtoAt = NEVER;
      return;
    }
    if (this.#retries === 0) this.#firstRetryAt = now;
    if (this.#isTimedOut(now)) {
      this.hasGivenUp = true;
      this.#rtoAt = NEVER;
      return;
    }
    const { mss } = this.#config;
    if (this.#mode !== 'loss') {
      this.#priorCwnd = this.cwnd;
      this.#priorSsthresh = this.ssthresh;
      this.#episodeAt = now;
      this.ssthresh = Math.max(this.board.pipe() / 2, 2 * mss);
    }
    this.#mode = 'loss';
    this.#recover = this.sndNxt;
    this.#duplicates = 0;
    this.board.markAllLost();
    // SACK information may have been reneged on (RFC 2018 section 8): a head that is "sacked" yet unacknowledged.
    if (head.sacked) {
      for (const segment of this.board.segments) segment.sacked = false;
      this.board.markAllLost();
    }
    this.cwnd = mss;
    this.backoff++;
    this.stats.timeouts++;
    this.stats.maxBackoff = Math.max(this.stats.maxBackoff, this.backoff);
    this.#resend(head, now);
    this.#rtoAt = now + this.#currentRto();
  }

  #resend(segment: { from: number; to: number }, now: Micros): void {
    const entry = this.board.segments.find((candidate) => candidate.from === segment.from);
    if (entry === undefined) return;
    entry.lost = true;
    entry.repaired = true;
    entry.sends++;
    entry.lastSentAt = now;
    this.stats.retransmits++;
    this.#transmit(entry.from, entry.to);
  }

  #probe(now: Micros): void {
    if (++this.#probesOut > this.#config.retries) {
      this.hasGivenUp = true;
      this.#persistAt = NEVER;
      return;
    }
    this.stats.probes++;
    this.#persistBackoff = Math.min(this.#persistBackoff + 1, 16);
    this.#persistAt = now + Math.min(RTO_MAX, this.rto * 2 ** this.#persistBackoff);
    const { probe, mss } = this.#config;
    // A window below one segment is filled when the override timer fires (RFC 9293 3.8.6.2.1 case 4).
    const room = Math.min(this.sndWnd, this.end - this.sndNxt, mss);
    if (room > 0) {
      this.board.add(this.sndNxt, this.sndNxt + room, now);
      this.sndNxt += room;
      this.sndMax = Math.max(this.sndMax, this.sndNxt);
      this.#persistAt = NEVER;
      this.#transmit(this.sndNxt - room, this.sndNxt);
      this.#rtoAt = now + this.#currentRto();
      return;
    }
    const size = probe === 'linux' ? 0 : Math.min(probe === 'bsd' ? 1 : mss, this.end - this.sndNxt);
    if (size === 0) {
      this.#transmit(this.sndUna - 1, this.sndUna - 1);
      return;
    }
    this.sndMax = Math.max(this.sndMax, this.sndNxt + size);
    this.#transmit(this.sndNxt, this.sndNxt + size);
  }

  /**
   * Linux gives up by time (retransmits_timed_out in tcp_timer.c): as long as `retries` doublings of the smallest timeout
   * would have taken, however often unreachable messages made it retransmit meanwhile. Others count.
   */
  #isTimedOut(now: Micros): boolean {
    const { retries, rfc6069 } = this.#config;
    if (++this.#retries > retries && !rfc6069) return true;
    const doublings = Math.floor(Math.log2(RTO_MAX / RTO_MIN));
    const linear = Math.max(0, retries - doublings);
    const limit = (2 ** (Math.min(retries, doublings) + 1) - 1) * RTO_MIN + linear * RTO_MAX;
    return rfc6069 && now - this.#firstRetryAt >= limit;
  }

  #undo(): void {
    this.cwnd = Math.max(this.cwnd, this.#priorCwnd);
    this.ssthresh = Math.max(this.ssthresh, this.#priorSsthresh);
    this.board.unmark();
    this.#mode = 'open';
    this.#episodeAt = -1;
    this.stats.undone++;
  }

  #currentRto(): Micros {
    return Math.min(RTO_MAX, this.rto * 2 ** Math.min(this.backoff, 16));
  }

  /** RFC 6298 section 2. */
  #measure(sample: Micros): void {
    if (this.srtt === 0) {
      this.srtt = sample;
      this.#rttvar = sample / 2;
    } else {
      this.#rttvar = 0.75 * this.#rttvar + 0.25 * Math.abs(this.srtt - sample);
      this.srtt = 0.875 * this.srtt + 0.125 * sample;
    }
    this.rto = Math.min(RTO_MAX, Math.max(RTO_MIN, this.srtt + 4 * this.#rttvar));
  }
}
