/**
 * Handback: replays custody on every link at once, clocks the near endpoints with the far peers' ACKs, and ends the
 * translation as soon as a far peer has everything (theory of operation 5.1 to 5.4).
 *
 * Scheduling. Flows being handed back are visited round robin, one segment each per visit, so that within a link's former
 *             rate all of one priority make progress together; a later priority gets what an earlier one leaves. `deadline` is when the next segment or retransmission is due.
 * Clock.      The near endpoint may send into the window that the far peer offered, but no more than was in flight at the
 *             loss: edge = ackP + min(far window, in flight). What custody still occupies of that is not offered again.
 * Pace.       Custody and the near endpoint's fresh data share one pace: the window opens behind the last replayed byte, by
 *             what would be sent next if it were replayed as well. Opened at once with every ACK, fresh data doubled the rate
 *             at which the bottleneck's queue filled, overtook custody, and was lost where the queue was short (13 to 250
 *             retransmissions in a third of the runs with cwnd near the path's limit).
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { urgentOffset } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import { CLOSING, FLOWING, HANDBACK } from '../flow/phase.ts';
import { ADVANCED_ACK, UPDATED_WINDOW } from '../flow/tracker.ts';
import type { Packet } from '../wire/packet.ts';
import { clampSackBelow, setAck, setWindow } from '../wire/rewrite.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { FIN, PSH } from '../wire/tcp-flags.ts';
import type { FreezeContext } from './context.ts';
import { endDribble } from './dribble.ts';
import type { Frozen } from './frozen.ts';
import { succeed } from './parking.ts';
import type { Replay } from './replay.ts';
import { ackForFar } from './wakeup.ts';

/** Headers on the wire per replayed segment, for pacing: Ethernet, IPv4 and TCP with timestamps. */
const WIRE_OVERHEAD = 66;
/** Least piece of window that is opened at once: two segments earn one delayed ACK. */
const CREDIT_SEGMENTS = 2;
/** Or as much as is sent in this time: an ACK per millisecond is enough for a fast path. */
const CREDIT_MICROS: Micros = 1_000;

export class Handback {
  readonly #context: FreezeContext;
  #flows: Flow[] = [];
  #first = 0;
  /** When `run` has something to do next. */
  deadline: Micros = NEVER;
  // Figures of the handbacks since the list was last empty, for one summary.
  #startedAt: Micros = 0;
  #count = 0;
  #bytes = 0;

  constructor(context: FreezeContext) {
    this.#context = context;
  }

  /** Flows being handed back. */
  get flows(): readonly Flow[] {
    return this.#flows;
  }

  begin(flow: Flow, now: Micros): void {
    if (this.#flows.length === 0) {
      this.#startedAt = now;
      this.#count = 0;
      this.#bytes = 0;
    }
    // In the order of their turns; within one, as they come.
    let at = this.#flows.length;
    while (at > 0 && this.#flows[at - 1]!.terms.turn > flow.terms.turn) at--;
    this.#flows.splice(at, 0, flow);
    this.#count++;
    this.#bytes += (flow.frozen as Frozen).custody.length;
    this.deadline = now;
  }

  /** The flow is frozen again, has ended, or is complete. Returns a summary when it was the last one. */
  end(flow: Flow, now: Micros): { flows: number; bytes: number; micros: Micros } | null {
    const at = this.#flows.indexOf(flow);
    if (at < 0) return null;
    this.#flows.splice(at, 1);
    if (this.#flows.length > 0) return null;
    this.deadline = NEVER;
    return { flows: this.#count, bytes: this.#bytes, micros: now - this.#startedAt };
  }

  /** Sends what may be sent at `now` on every link, and sets `deadline`. */
  run(now: Micros): void {
    let next = NEVER;
    // Turn by turn: what a later turn sends is what the earlier ones leave of a link's pace.
    for (let from = 0; from < this.#flows.length; ) {
      const { turn } = this.#flows[from]!.terms;
      let to = from + 1;
      while (to < this.#flows.length && this.#flows[to]!.terms.turn === turn) to++;
      next = Math.min(next, this.#round(from, to - from, now));
      from = to;
    }
    this.#first++;
    this.deadline = next;
  }

  /** The flows of one turn, `count` of them, round robin. @returns when they want to be served again */
  #round(from: number, count: number, now: Micros): Micros {
    let next = NEVER;
    let progress = true;
    // One segment per flow and pass; the last pass moves nothing and only collects deadlines.
    while (progress) {
      progress = false;
      next = NEVER;
      for (let i = 0; i < count; i++) {
        const flow = this.#flows[from + ((this.#first + i) % count)]!;
        const wait = this.#step(flow, now);
        if (wait <= now) progress = true;
        else if (wait < next) next = wait;
      }
    }
    return next;
  }

  /** Sends at most one segment of `flow`; returns when it wants the next turn (`now` when a segment was sent). */
  #step(flow: Flow, now: Micros): Micros {
    const frozen = flow.frozen as Frozen | null;
    const replay = frozen?.replay ?? null;
    if (frozen === null || replay === null || flow.phase !== HANDBACK) return NEVER;
    const { custody } = frozen;
    const near = flow.near;
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    if ((frozen.unproven & (2 - near)) !== 0) return this.#ask(flow, replay, now);
    if (replay.rtoAt <= now) {
      replay.onTimeout(now);
      if ((frozen.unproven & (near + 1)) !== 0) this.#askNear(flow, frozen);
    }
    // Without the scale: what fits the largest unscaled window, unless it is shut.
    const unscaled = peer.rcvWnd === 0 ? custody.base : (custody.base + 65_535) | 0;
    const edge = peer.rcvWndShift < 0 ? unscaled : peer.rightEdge;
    const from = replay.choose(custody.dataEnd, custody.fin, edge);
    if (replay.chosenLength < 0) return Math.min(replay.rtoAt, this.#openWindow(flow, frozen, replay, now));
    const pacer = this.#context.pacerOf(peer.port);
    const paced = Math.max(replay.nextSendAt, pacer.nextSendAt);
    if (paced > now) return Math.min(paced, replay.rtoAt);
    const length = replay.chosenLength;
    const last = ((from + length) | 0) === custody.dataEnd;
    const flags = (last ? PSH : 0) | (last && custody.fin ? FIN : 0);
    const at = custody.offsetOf(from);
    const isAgain = seqLt(from, replay.sndNxt) && !replay.filling;
    const sent = this.#context.synthesizer.data(
      flow,
      near,
      from,
      ackForFar(flow),
      endpoint.rcvWnd,
      peer.tsVal,
      flags,
      custody.bytes,
      at,
      at + length,
      0,
      isAgain ? NOTE['replay-again'] : NOTE.replay,
      urgentOffset(endpoint, from),
    );
    // A full outbox is drained by the shell in this very turn.
    if (!sent) return now + 500;
    const { counters } = this.#context;
    counters[COUNTER.replayedBytes]! += length;
    if (isAgain) counters[COUNTER.retransmittedBytes]! += length;
    if (last && custody.fin) replay.finSent = true;
    replay.onSent(from, length, now);
    this.#context.onReplayed(flow, near === 0 ? 1 : 0, isAgain, now);
    pacer.onSent(length + WIRE_OVERHEAD, now);
    return now;
  }

  /** A restored flow: a keepalive (RFC 9293 3.8.4) asks whether the far peer still has the connection. */
  #ask(flow: Flow, replay: Replay, now: Micros): Micros {
    if (replay.askAt > now) return replay.askAt;
    const endpoint = flow.halves[flow.near];
    const peer = flow.halves[flow.near === 0 ? 1 : 0];
    const seq = (peer.rcvNxt - 1) | 0;
    this.#context.synthesizer.ack(flow, flow.near, seq, endpoint.rcvNxt, endpoint.rcvWnd, peer.tsVal, NOTE.question);
    return replay.onAsked(now);
  }

  /**
   * A restored flow whose far peer takes nothing: what the near endpoint has acknowledged since the crash may be missing, and the far peer drops what
   * acknowledges too little (RFC 5961 5.2). A segment from before its window makes it say so, whatever its timestamp.
   */
  #askNear(flow: Flow, frozen: Frozen): void {
    const far = flow.near === 0 ? 1 : 0;
    if (!this.#context.isReachable(flow, flow.near)) return;
    const endpoint = flow.halves[flow.near];
    const window = rawWindow(frozen.offeredEdge, frozen.custody.end, flow.halves[far].rcvWndShift);
    const seq = (endpoint.rcvNxt - 1) | 0;
    this.#context.synthesizer.ack(flow, far, seq, frozen.shown, window, endpoint.tsVal, NOTE.question);
  }

  /**
   * Offers the near endpoint the next piece of window, when custody has all been sent and the pace allows.
   * @returns when to try again; NEVER when only an ACK of the far peer can change anything
   */
  #openWindow(flow: Flow, frozen: Frozen, replay: Replay, now: Micros): Micros {
    const near = flow.near;
    const far = near === 0 ? 1 : 0;
    const endpoint = flow.halves[near];
    const peer = flow.halves[far];
    const allowed = seqDiff(frozen.allowedEdge, frozen.offeredEdge);
    // Silly window avoidance: an edge is told when it is worth a segment (RFC 9293 3.8.6.2.2).
    if (!replay.heard || allowed < replay.segment || !this.#context.isReachable(flow, near)) return NEVER;
    // The ACK that opens the window says all of custody: the journal has to hold it first.
    if (frozen.custody.durable !== frozen.custody.end) return NEVER;
    const pacer = this.#context.pacerOf(peer.port);
    const paced = Math.max(replay.nextSendAt, pacer.nextSendAt);
    if (paced > now) return paced;
    const credit = Math.min(allowed, Math.max(CREDIT_SEGMENTS * replay.segment, replay.rate * CREDIT_MICROS));
    const edge = (frozen.offeredEdge + credit) | 0;
    const ce = frozen.custody.end;
    const window = rawWindow(edge, ce, peer.rcvWndShift);
    // The rest of a dribble is acknowledged by the very ACK that opens the window, so that the sender is never seen idle
    // (freeze/dribble.ts).
    if (!this.#context.synthesizer.ack(flow, far, endpoint.rcvNxt, ce, window, frozen.flightTsVal, NOTE['ack-clock']))
      return now + 500;
    endDribble(frozen);
    this.#context.reschedule(flow);
    frozen.offeredEdge = edge;
    replay.onCredit(credit, now);
    pacer.onSent(credit, now);
    return now;
  }

  /**
   * HANDBACK, far side: takes what the packet acknowledges.
   * @param found bits that `track` returned for it
   * @returns true when the packet (perhaps rewritten) is to be forwarded, false when it is consumed
   */
  onFar(flow: Flow, packet: Packet, found: number, now: Micros): boolean {
    const { note } = this.#context;
    const frozen = flow.frozen as Frozen;
    const replay = frozen.replay!;
    const near = flow.near;
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    const { custody } = frozen;
    const ack = peer.rcvNxt;
    const ce = custody.end;
    for (let i = 0; i < packet.sackCount; i++) {
      const left = packet.view.getInt32(packet.sackAt + 8 * i);
      const right = packet.view.getInt32(packet.sackAt + 8 * i + 4);
      // Below the cumulative ACK it is a D-SACK; what lies beyond custody is the near endpoint's affair.
      const end = seqGt(right, custody.dataEnd) ? custody.dataEnd : right;
      if (seqGt(left, ack) && seqLt(left, end)) replay.scoreboard.add(left, end);
    }
    // With SACK the scoreboard tells what is missing; duplicate ACKs alone would also count the near endpoint's fresh
    // data, which arrives out of order while custody is under way. Without SACK they count only while there is none.
    const isDuplicate =
      !peer.sackPermitted &&
      packet.segLength === 0 &&
      (found & (ADVANCED_ACK | UPDATED_WINDOW)) === 0 &&
      packet.ack === ack &&
      endpoint.sndNxt === ce;
    custody.release(seqGt(ack, ce) ? ce : ack);
    replay.onAck(seqGt(ack, ce) ? ce : ack, isDuplicate, endpoint.srtt, now);
    this.deadline = now;
    if (seqGe(ack, ce)) {
      // Everything is delivered: from here on the gateway is a wire again, this very packet included.
      this.#context.journal.ended(frozen, frozen.nearReset ? NEVER : now);
      flow.frozen = null;
      flow.phase = FLOWING;
      this.#context.counters[COUNTER.handbacks]! += 1;
      if (frozen.nearReset) {
        this.#context.synthesizer.reset(flow, near, ack, endpoint.rcvNxt);
        flow.phase = CLOSING;
      }
      succeed(this.#context, flow, frozen);
      note.code = NOTE['handed-back'];
      note.isCut = clampSackBelow(packet, ce);
      return !frozen.nearReset;
    }
    frozen.allowedEdge = this.#edge(frozen, ack, peer.rightEdge, peer.rcvWndShift);
    if (packet.segLength > 0 || seqLt(packet.seq, endpoint.rcvNxt)) {
      if (seqLt(packet.ack, frozen.shown)) setAck(packet, frozen.shown);
      note.code = NOTE['handback-data'];
      note.isCut = clampSackBelow(packet, ce);
      setWindow(packet, rawWindow(frozen.offeredEdge, ce, peer.rcvWndShift));
      return true;
    }
    note.code = NOTE.clock;
    return false;
  }

  /** Answers the near endpoint with custody acknowledged and the window it has now. */
  answer(flow: Flow): void {
    const frozen = flow.frozen as Frozen;
    const endpoint = flow.halves[flow.near];
    const far = flow.near === 0 ? 1 : 0;
    const ce = frozen.custody.end;
    this.#context.counters[COUNTER.probesAnswered]! += 1;
    this.#context.note.code = NOTE.probe;
    this.#context.synthesizer.ack(
      flow,
      far,
      endpoint.rcvNxt,
      frozen.shown,
      rawWindow(frozen.offeredEdge, ce, flow.halves[far].rcvWndShift),
      endpoint.tsVal,
      NOTE['probe-answer'],
    );
  }

  /** Right edge that the near endpoint may fill; it never moves back. */
  #edge(frozen: Frozen, ack: number, rightEdge: number, shift: number): number {
    if (shift < 0) return frozen.offeredEdge;
    const byFlight = (ack + frozen.inFlight) | 0;
    const edge = seqLt(byFlight, rightEdge) ? byFlight : rightEdge;
    return seqGt(edge, frozen.offeredEdge) ? edge : frozen.offeredEdge;
  }
}

/** Raw window field for a right edge, rounded down to the window scale; never negative. */
function rawWindow(edge: number, ack: number, shift: number): number {
  if (shift < 0 || seqLe(edge, ack)) return 0;
  return Math.min(0xffff, seqDiff(edge, ack) >>> shift);
}
