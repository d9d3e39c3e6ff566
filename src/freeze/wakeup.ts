/**
 * Far-sender wake-up (theory of operation 5.6): the far peer's own data may be waiting in an RTO back-off of up to two minutes.
 * It is told the near endpoint's current ACK, so that its SND.UNA is known, and then sent ICMP network unreachable
 * messages quoting exactly that sequence number; a sender that follows RFC 6069 undoes one back-off step per message
 * and retransmits at once when its timer is overdue. Others ignore them.
 *
 * A far peer that was silent before the loss is asked first, by a keepalive in the near endpoint's name (RFC 9293 3.8.4): the SEQ
 * of its answer is its SND.NXT, and tells whether anything of it is in flight. If nothing is, there is nobody to wake.
 *
 * The path may not carry packets yet when the link event comes, so the round is repeated on a short schedule until data
 * of the far peer arrives. All wake-ups of an engine share an allowance, and so do those towards one host, and, until something has
 * come from beyond the link, those of one link: the kernel keeps few packets while it resolves the next hop, and drops the oldest, which
 * may be the data that everybody waits for (pacer.ts).
 *
 * Its SND.UNA may be older than that ACK, when the last ACKs before the loss were lost with the link; and an ACK that moves it into the
 * middle of a segment makes things worse. A Linux sender has merged small segments by then (tcp_retrans_try_collapse): of
 * the merged one half is acknowledged, which clears the count of its retransmissions but not its back-off, and RFC 6069 does
 * nothing without a retransmission (measured: an outage of 25 s, then 20 s until its RTO). So where the near endpoint had
 * acknowledged less than a segment shortly before, a round begins by quoting those numbers, too, and says nothing that
 * acknowledges more until the path is known to have carried all of it.
 *
 * The path may have swallowed the near endpoint's data as well: a round looks after its first data since the thaw. Where it was
 * forwarded into a path that did not carry it, its sender may wait long: a stack whose back-off goes on from its window
 * probes (gVisor; measured: 27 s after an outage of 60 s) retransmits no sooner. The arena still has it, so the gateway repeats it.
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { urgentOffset } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import { CLOSING, FLOWING, OPENING } from '../flow/phase.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff, seqGt } from '../wire/seq.ts';
import { ACK, PSH, RST, SYN } from '../wire/tcp-flags.ts';
import { Allowance } from './allowance.ts';
import type { FreezeContext } from './context.ts';
import type { Frozen } from './frozen.ts';
import { Insist } from './insist.ts';

/** Start of each round after the thaw. */
const ROUNDS: readonly Micros[] = [0, 100_000, 300_000, 700_000, 1_500_000, 3_100_000];
/** Messages per round; a back-off of 120 s from 0.2 s is ten doublings. */
const BURST = 12;
const SPACING: Micros = 3_000;
/** Messages of each older number that leave at once: the near endpoint's fresh data, with its newest ACK, may follow soon. */
const QUOTED_AT_ONCE = 4;
/** A far peer that had sent nothing for this long before the loss probably has nothing in flight: it is asked first. */
const QUIET: Micros = 2_000_000;
/** Least time that a question may take. */
const ANSWER_MIN: Micros = 100_000;
/** Where no round trip was measured. */
const UNKNOWN_TRIP: Micros = 1_000_000;
/** Messages per second over all flows, and towards one host; each with a second's worth saved up. */
const TOTAL_PER_SECOND = 5_000;
const HOST_PER_SECOND = 1_000;
const HOST_BUCKETS = 256;
/** Round trips without an acknowledgement after which the near endpoint's first data counts as lost. */
const PATIENCE = 1.5;
/** Most bytes of it that are repeated at once. */
const REPEAT_MAX = 1_460;
/** How long a sender that was dribbled is looked after, and how often at most. */
const WARD: Micros = 10_000_000;
const WARD_INTERVAL_MIN: Micros = 100_000;

const NO_QUOTES: readonly number[] = [];

/** ACK number of whatever is made towards the far peer: nothing newer than what its SND.UNA may be, while that is being quoted. */
export function ackForFar(flow: Flow): number {
  const { wakeup } = flow;
  const oldest = wakeup instanceof Wakeup ? wakeup.quotes[0] : undefined;
  return oldest ?? flow.halves[flow.near].rcvNxt;
}

export class Wakeup {
  readonly startedAt: Micros;
  round = 0;
  sent = 0;
  synced = false;
  /** The far peer has received a whole round; what follows looks after the near endpoint's data only. */
  received = false;
  /** The far peer had nothing in flight and was told a window of zero: it waits for a window update, not in a back-off. */
  readonly isShut: boolean;
  /** When the present round began. */
  roundAt: Micros;
  nextAt: Micros;
  /** The far peer is asked before it is woken. */
  readonly asks: boolean;
  /** Older numbers that may be the far peer's SND.UNA, oldest first; empty when they have been quoted. */
  quotes: readonly number[] = NO_QUOTES;
  /** Nobody is to be woken: the near endpoint's data is looked after until then. NEVER: this is no ward. */
  wardUntil: Micros = NEVER;

  constructor(now: Micros, asks: boolean, isShut: boolean) {
    this.asks = asks;
    this.isShut = isShut;
    this.startedAt = now;
    this.roundAt = now;
    this.nextAt = now;
  }
}

export class Waker {
  readonly #context: FreezeContext;
  readonly #scratch = new Uint8Array(REPEAT_MAX);
  readonly #total = new Allowance(TOTAL_PER_SECOND, TOTAL_PER_SECOND);
  readonly #hosts: readonly Allowance[] = Array.from(
    { length: HOST_BUCKETS },
    () => new Allowance(HOST_PER_SECOND, HOST_PER_SECOND),
  );

  constructor(context: FreezeContext) {
    this.#context = context;
  }

  /**
   * The loss is over: begin to wake the far peer of `flow`.
   * @param isShut it waits in persist state since before the loss (theory of operation 5, planned): window updates alone
   */
  start(flow: Flow, now: Micros, isShut: boolean): void {
    const near = flow.halves[flow.near];
    const far = flow.halves[flow.near === 0 ? 1 : 0];
    if (!near.rcvKnown || !far.sndKnown || !far.rcvKnown) return;
    const isQuiet = near.rcvNxt === far.sndNxt && far.lastDataAt < flow.frozenSince - QUIET;
    const wakeup = new Wakeup(now, isQuiet, isShut);
    if (!isQuiet && !isShut) {
      const trip = near.srtt > 0 ? Math.max(ANSWER_MIN, near.srtt * PATIENCE) : UNKNOWN_TRIP;
      wakeup.quotes = near.olderAcks(far.fullSegmentTo(near), flow.frozenSince - QUIET, trip);
    }
    flow.wakeup = wakeup;
  }

  /**
   * A pure ACK of the far peer: when its SEQ says that nothing is in flight, there is nothing to wake; when it says that something
   * is, there is no need to wait.
   */
  onFarAck(flow: Flow, packet: Packet, now: Micros): void {
    const wakeup = flow.wakeup;
    if (
      !(wakeup instanceof Wakeup) ||
      wakeup.wardUntil !== NEVER ||
      (!wakeup.synced && wakeup.quotes.length === 0) ||
      (packet.flags & (ACK | SYN | RST)) !== ACK
    )
      return;
    const near = flow.halves[flow.near];
    // Beyond a window that is shut a sender's ACKs carry the window's edge (tcp_acceptable_seq), which says nothing.
    if (near.rcvWnd === 0) return;
    const inFlight = seqDiff(packet.seq, near.rcvNxt);
    if (inFlight === 0) {
      wakeup.quotes = NO_QUOTES;
      if (this.#waitsFor(flow) > 0 && !wakeup.received) {
        wakeup.received = true;
        this.#endRound(flow, wakeup, now);
      } else if (!wakeup.received) flow.wakeup = null;
    } else if (inFlight > 0 && ((wakeup.asks && wakeup.round === 0) || wakeup.quotes.length > 0))
      wakeup.nextAt = Math.min(wakeup.nextAt, now);
    else return;
    this.#context.reschedule(flow);
  }

  /** The far peer sent data: it is awake. */
  stop(flow: Flow): void {
    if (flow.wakeup === null || (flow.wakeup instanceof Wakeup && flow.wakeup.wardUntil !== NEVER)) return;
    this.#context.counters[COUNTER.wakeupsAnswered]! += 1;
    flow.wakeup = null;
  }

  /**
   * A sender that was dribbled has been handed back. Its round-trip estimate is as old as the outage (dribble.ts): what is lost at the
   * tail of its first flights it would send again after up to two minutes. Until its estimate has recovered the gateway repeats it.
   */
  ward(flow: Flow, now: Micros): void {
    if (flow.wakeup instanceof Insist) return;
    const wakeup = new Wakeup(now, false, false);
    wakeup.wardUntil = now + WARD;
    wakeup.nextAt = now + this.#wardInterval(flow);
    flow.wakeup = wakeup;
    this.#context.reschedule(flow);
  }

  #wardInterval(flow: Flow): Micros {
    return Math.max(WARD_INTERVAL_MIN, flow.halves[flow.near].srtt);
  }

  deadlineOf(flow: Flow): Micros {
    const { wakeup } = flow;
    return wakeup instanceof Wakeup || wakeup instanceof Insist ? wakeup.nextAt : NEVER;
  }

  /** What the far peer has to be told once, until it was sent over a path that works. */
  #insist(flow: Flow, insist: Insist, now: Micros): void {
    const { near } = flow;
    const peer = flow.halves[near === 0 ? 1 : 0];
    const { synthesizer } = this.#context;
    const isAnswered = flow.phase === OPENING ? peer.sndKnown : flow.phase !== CLOSING;
    if (isAnswered || this.#context.pacerOf(peer.port).aliveSince <= insist.sentAt) {
      flow.wakeup = null;
      return;
    }
    if (flow.lostMask !== 0 || this.#isCrowded(peer.port, now)) {
      insist.nextAt = now + 100_000;
      return;
    }
    if (insist.reset) synthesizer.reset(flow, near, peer.rcvNxt, flow.halves[near].rcvNxt);
    if (insist.syn !== null) synthesizer.copy(flow, near, insist.syn);
    if (!insist.again(now)) flow.wakeup = null;
  }

  onTimer(flow: Flow, now: Micros): void {
    const wakeup = flow.wakeup;
    if (wakeup instanceof Insist && wakeup.nextAt <= now) this.#insist(flow, wakeup, now);
    if (!(wakeup instanceof Wakeup) || wakeup.nextAt > now) return;
    if (flow.phase === CLOSING) {
      // Whoever is gone would answer with a reset that nobody asked for.
      flow.wakeup = null;
      return;
    }
    if (wakeup.wardUntil !== NEVER) {
      if (this.#waitsFor(flow) > 0) this.#repeatHead(flow, now);
      if (now >= wakeup.wardUntil) flow.wakeup = null;
      else wakeup.nextAt = now + this.#wardInterval(flow);
      return;
    }
    if (wakeup.quotes.length > 0) {
      this.#quote(flow, wakeup, now);
      return;
    }
    const far = flow.near === 0 ? 1 : 0;
    const { synthesizer } = this.#context;
    const near = flow.halves[flow.near];
    const peer = flow.halves[far];
    if (!wakeup.synced) {
      if (this.#isCrowded(peer.port, now)) {
        wakeup.nextAt = now + 4 * SPACING;
        return;
      }
      const custody = (flow.frozen as Frozen | null)?.custody;
      // While custody is being delivered the far peer's RCV.NXT is the base of custody.
      const isAlone = custody === undefined || custody.isEmpty;
      // What is delivered asks for an answer itself.
      const seq = !isAlone ? custody.base : wakeup.asks ? (peer.rcvNxt - 1) | 0 : peer.rcvNxt;
      if (!synthesizer.ack(flow, flow.near, seq, near.rcvNxt, near.rcvWnd, peer.tsVal, NOTE['ack-sync'])) {
        wakeup.nextAt = now + SPACING;
        return;
      }
      this.#tendNear(flow, wakeup, now);
      wakeup.synced = true;
      wakeup.roundAt = now;
      wakeup.nextAt = now + (wakeup.asks && wakeup.round === 0 ? Math.max(ANSWER_MIN, near.srtt * 1.5) : SPACING);
      if (wakeup.received || wakeup.isShut) this.#endRound(flow, wakeup, now);
      return;
    }
    if (!this.#mayWake(flow, now)) {
      wakeup.nextAt = now + 4 * SPACING;
      return;
    }
    this.#wake(flow, near.rcvNxt);
    wakeup.sent++;
    if (wakeup.sent < BURST) {
      wakeup.nextAt = now + SPACING;
      return;
    }
    this.#endRound(flow, wakeup, now);
  }

  /** The far peer's SND.UNA may be any of some numbers: all of them are quoted, and none is acknowledged beyond the oldest. */
  #quote(flow: Flow, wakeup: Wakeup, now: Micros): void {
    const near = flow.halves[flow.near];
    const peer = flow.halves[flow.near === 0 ? 1 : 0];
    if (!wakeup.synced) {
      // Whoever masquerades has to see the near endpoint speak first. Where nothing else is delivered it asks for an answer.
      const custody = (flow.frozen as Frozen | null)?.custody;
      const seq = custody === undefined || custody.isEmpty ? (peer.rcvNxt - 1) | 0 : custody.base;
      const ack = ackForFar(flow);
      const { synthesizer } = this.#context;
      const isBusy = this.#isCrowded(peer.port, now);
      if (isBusy || !synthesizer.ack(flow, flow.near, seq, ack, near.rcvWnd, peer.tsVal, NOTE.question)) {
        wakeup.nextAt = now + 4 * SPACING;
        return;
      }
      this.#tendNear(flow, wakeup, now);
      wakeup.synced = true;
      wakeup.roundAt = now;
    }
    for (let again = wakeup.sent === 0 ? QUOTED_AT_ONCE : 1; again > 0; again--) {
      for (let i = 0; i <= wakeup.quotes.length; i++) {
        if (!this.#mayWake(flow, now)) {
          wakeup.nextAt = now + 4 * SPACING;
          return;
        }
        this.#wake(flow, wakeup.quotes[i] ?? near.rcvNxt);
      }
      wakeup.sent++;
    }
    wakeup.nextAt = now + SPACING;
    if (wakeup.sent < BURST) return;
    wakeup.sent = 0;
    wakeup.synced = false;
    if (this.#context.pacerOf(peer.port).aliveSince <= wakeup.roundAt) {
      // All of it has arrived: what follows may acknowledge everything.
      wakeup.quotes = NO_QUOTES;
      return;
    }
    wakeup.round++;
    const next = ROUNDS[wakeup.round];
    if (next === undefined) flow.wakeup = null;
    else wakeup.nextAt = Math.max(wakeup.nextAt, wakeup.startedAt + next);
  }

  /** Whether one more message may leave now. */
  #mayWake(flow: Flow, now: Micros): boolean {
    const far = flow.near === 0 ? 1 : 0;
    const word = flow.index * KEY_WORDS + 4 * far + (flow.family === 6 ? 3 : 0);
    const bucket = this.#hosts[this.#context.table.keys[word]! & (HOST_BUCKETS - 1)]!;
    return !this.#isCrowded(flow.halves[far].port, now) && this.#total.take(now) && bucket.take(now);
  }

  /** One message that undoes a back-off of the far peer, if `una` is its SND.UNA. */
  #wake(flow: Flow, una: number): void {
    const far = flow.near === 0 ? 1 : 0;
    const { synthesizer, counters } = this.#context;
    if (!synthesizer.unreachable(flow, far, una, flow.halves[far].rcvNxt, NOTE['wake-up'])) return;
    counters[COUNTER.wakeups]! += 1;
  }

  #endRound(flow: Flow, wakeup: Wakeup, now: Micros): void {
    const peer = flow.halves[flow.near === 0 ? 1 : 0];
    // A round that began after the link was known to carry packets has been received: no more are needed.
    if (this.#context.pacerOf(peer.port).aliveSince <= wakeup.roundAt) wakeup.received = true;
    wakeup.round++;
    wakeup.sent = 0;
    wakeup.synced = false;
    const next = ROUNDS[wakeup.round];
    if (next === undefined || (wakeup.received && this.#waitsFor(flow) === 0)) flow.wakeup = null;
    else wakeup.nextAt = Math.max(now + SPACING, wakeup.startedAt + next);
  }

  /** Whether the path has not answered yet and has been sent enough. */
  #isCrowded(port: number, now: Micros): boolean {
    const pacer = this.#context.pacerOf(port);
    return pacer.aliveSince === NEVER && !pacer.unproven.take(now);
  }

  /** Bytes that the near endpoint has sent, the far peer has not acknowledged, and the arena still holds from the left edge on. */
  #waitsFor(flow: Flow): number {
    if (flow.phase !== FLOWING || flow.lostMask !== 0) return 0;
    const near = flow.halves[flow.near];
    const una = flow.halves[flow.near === 0 ? 1 : 0].rcvNxt;
    if (!seqGt(near.sndNxt, una)) return 0;
    return Math.max(0, seqDiff(this.#context.arena.coveredTo(near, una, near.sndNxt), una));
  }

  /** What a round after the first does for the near endpoint. */
  #tendNear(flow: Flow, wakeup: Wakeup, now: Micros): void {
    if (wakeup.round === 0) return;
    const far = flow.near === 0 ? 1 : 0;
    const near = flow.halves[flow.near];
    const peer = flow.halves[far];
    // The window update of the thaw may have been lost on the surviving side; a sender in persist state would
    // otherwise find out with its next probe only, up to two minutes later.
    const isQuiet = near.lastDataAt < wakeup.startedAt;
    if (isQuiet && flow.phase === FLOWING && flow.lostMask === 0) {
      const { synthesizer } = this.#context;
      synthesizer.ack(flow, far, near.rcvNxt, peer.rcvNxt, peer.rcvWnd, near.tsVal, NOTE['window-update']);
    }
    if (this.#waitsFor(flow) > 0) this.#repeatHead(flow, now);
  }

  /** Sends the near endpoint's first unacknowledged bytes again, when an acknowledgement should have come by now. */
  #repeatHead(flow: Flow, now: Micros): void {
    const { arena, counters, synthesizer, isSound } = this.#context;
    const near = flow.halves[flow.near];
    const peer = flow.halves[flow.near === 0 ? 1 : 0];
    if (now - arena.headSentAt(near) < PATIENCE * near.srtt) return;
    arena.discardUnsound(near, isSound);
    const limit = near.segmentSize > 0 ? near.segmentSize : REPEAT_MAX;
    const length = Math.min(this.#waitsFor(flow), limit, REPEAT_MAX);
    if (length === 0) return;
    const una = peer.rcvNxt;
    arena.copy(near, una, (una + length) | 0, this.#scratch, 0);
    const { rcvWnd } = near;
    const ack = ackForFar(flow);
    const note = NOTE['head-replay'];
    const { tsVal } = peer;
    const urgent = urgentOffset(near, una);
    const bytes = this.#scratch;
    if (!synthesizer.data(flow, flow.near, una, ack, rcvWnd, tsVal, PSH, bytes, 0, length, 0, note, urgent)) return;
    counters[COUNTER.headReplays]! += 1;
    // Which copy is acknowledged cannot be told (Karn, RFC 6298 3).
    near.ambiguous = true;
    near.ambiguousTo = near.sndNxt;
  }
}
