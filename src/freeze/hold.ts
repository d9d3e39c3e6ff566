/**
 * Hold: what happens to the segments of a frozen flow. The near endpoint's are answered and never forwarded; late ones of the
 * far peer may bring data but open nothing (theory of operation 3.5, 3.6).
 */
import { COUNTER } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import type { Packet } from '../wire/packet.ts';
import { clampSackBelow, setAck, setWindow } from '../wire/rewrite.ts';
import { seqDiff, seqGt, seqLe, seqLt, seqMax } from '../wire/seq.ts';
import { ACK, FIN } from '../wire/tcp-flags.ts';
import { frozenWindow, sayFrozen } from './answer.ts';
import type { FreezeContext } from './context.ts';
import type { Custody } from './custody.ts';
import { endDribble } from './dribble.ts';
import type { Frozen } from './frozen.ts';
import { isTrickling, openTrickle } from './trickle.ts';

/** Largest head segment of which a copy is kept. */
const HEAD_COPY_MAX = 2_048;

/** A probe is overdue after so many times the interval before the last one, and no sooner than this. */
const OVERDUE_SHARE = 3;
export const OVERDUE_MIN: Micros = 2_000_000;
/** Theory of operation 3.5: kernels before the 2023 fix give up without one, and conntrack forgets after 5 minutes. */
export const REFRESH: Micros = 55_000_000;

export class Holder {
  readonly #context: FreezeContext;

  constructor(context: FreezeContext) {
    this.#context = context;
  }

  /** FROZEN, near side, no payload, SEG.SEQ below CE: a probe or keepalive of any form. */
  onNearProbe(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen;
    const { counters, note } = this.#context;
    if (frozen.mute || frozen.ended) {
      counters[COUNTER.absorbed]! += 1;
      note.code = NOTE.absorbed;
      return;
    }
    const opens = this.#heard(flow, frozen, false, now);
    counters[COUNTER.probesAnswered]! += 1;
    note.code = NOTE.probe;
    // TS.Recent as the far peer would have it: what lies before its window does not count (RFC 7323 5.3, R2 before R3).
    sayFrozen(this.#context, flow, flow.halves[flow.near].tsVal, opens ? NOTE.trickle : NOTE['probe-answer']);
  }

  /**
   * The near endpoint is there and has something to send. Its probes come at intervals that double (RFC 9293 3.8.6.1); when the next
   * one is long overdue, an ACK asks whether it is still there: a kernel that has forgotten the connection answers RST.
   * @param hasTaken it brought bytes that were taken
   * @returns whether the answer opens the window a little (trickle.ts)
   */
  #heard(flow: Flow, frozen: Frozen, hasTaken: boolean, now: Micros): boolean {
    const gap = now - frozen.probedAt;
    frozen.probed = true;
    frozen.probedAt = now;
    const { rcvWndShift, rightEdge } = flow.halves[flow.near === 0 ? 1 : 0];
    const segment = flow.halves[flow.near].segmentSize;
    const interval = Math.min(gap, now - frozen.takenAt);
    const opens = !hasTaken && openTrickle(frozen, interval, segment, rightEdge, rcvWndShift, now);
    if (opens) this.#context.counters[COUNTER.trickles]! += 1;
    if (hasTaken) frozen.takenAt = now;
    // Nothing unasked before that: it would put off the probe that is due (tcp_ack_probe).
    frozen.refreshAt = now + Math.min(REFRESH, Math.max(OVERDUE_MIN, OVERDUE_SHARE * gap));
    this.#context.reschedule(flow);
    return opens;
  }

  /** FROZEN, near side, payload or FIN. */
  onNearData(flow: Flow, packet: Packet, now: Micros): void {
    const frozen = flow.frozen as Frozen;
    const { arena, counters, synthesizer, note } = this.#context;
    if (frozen.mute || frozen.ended) {
      counters[COUNTER.absorbed]! += 1;
      note.code = NOTE.absorbed;
      return;
    }
    const endpoint = flow.halves[flow.near];
    if (frozen.custody.isDenied && packet.segLength > 1) frozen.denied = true;
    if (frozen.denied) {
      note.code = NOTE.denied;
      this.#keepHead(flow, frozen, packet);
      if (packet.seq === frozen.custody.base && this.#context.isReachable(flow, flow.near)) {
        synthesizer.unreachable(flow, flow.near, packet.seq, packet.ack);
        counters[COUNTER.icmpToNear]! += 1;
      } else counters[COUNTER.absorbed]! += 1;
      return;
    }
    const { custody } = frozen;
    const before = custody.end;
    const wasTrickling = isTrickling(frozen);
    const isDribbling = frozen.shown !== before;
    if (!custody.fin) {
      if (seqLe(packet.seq, custody.dataEnd)) this.#take(endpoint, frozen, packet);
      // Beyond a gap: keep it, it will be absorbed when the gap is filled.
      else if (seqDiff(packet.seq, custody.end) < custody.room && packet.payloadLength > 0) {
        note.code = NOTE.retained;
        arena.retain(endpoint, packet, now);
      }
      absorbRetained(this.#context, endpoint, custody);
    }
    if (custody.end === endpoint.sndNxt) arena.forget(endpoint);
    const taken = seqDiff(custody.end, before);
    const opens = this.#heard(flow, frozen, taken > 0, now);
    counters[COUNTER.custodyBytesTaken]! += taken;
    if (taken > 0) note.code = NOTE.custody;
    else if (note.code !== NOTE.retained) note.code = NOTE.probe;
    note.value = taken;
    if (wasTrickling) counters[COUNTER.trickledBytes]! += taken;
    if (taken > 0) this.#context.journal.mark(flow);
    // The first ACK after the loss has not left yet, and will say this, too.
    if (frozen.owed) return;
    // What was under way when the dribble began is acknowledged with the rest.
    if (isDribbling && taken > 0) return;
    // A retransmission means that the dribble came too late: show everything, echoing a TSval of before it.
    const tsEcr = isDribbling ? frozen.flightTsVal : packet.tsAt >= 0 ? packet.tsVal : 0;
    endDribble(frozen);
    this.#context.reschedule(flow);
    if (taken > 0) {
      frozen.advanced = true;
      frozen.owedTsEcr = tsEcr;
      if (custody.durable !== custody.end) return;
    } else counters[COUNTER.probesAnswered]! += 1;
    const answer = opens ? NOTE.trickle : NOTE['probe-answer'];
    sayFrozen(this.#context, flow, tsEcr, taken > 0 ? NOTE['custody-ack'] : answer);
  }

  /** Appends the new bytes of an in-order segment, as far as they are to be taken. */
  #take(endpoint: Half, frozen: Frozen, packet: Packet): void {
    const { custody } = frozen;
    const skip = seqDiff(custody.dataEnd, packet.seq);
    const fresh = packet.payloadLength - skip;
    // One byte beyond a window that is known to be closed is a probe (BSD, Windows): it is answered, not acknowledged.
    if (
      packet.segLength === 1 &&
      skip === 0 &&
      frozen.advanced &&
      seqDiff(endpoint.sndNxt, custody.end) === 1 &&
      !isTrickling(frozen)
    ) {
      if (!isFin(packet)) {
        endpoint.sndNxt = custody.end;
        return;
      }
    }
    const count = Math.min(fresh, custody.room);
    if (count > 0) {
      const target = custody.extend(count);
      const from = packet.payloadAt + skip;
      target.bytes.set(packet.bytes.subarray(from, from + count), target.at);
    }
  }

  /** Denied flows: the newest copy of the segment at the left edge, for the thaw. */
  #keepHead(flow: Flow, frozen: Frozen, packet: Packet): void {
    if (packet.seq !== flow.halves[flow.near === 0 ? 1 : 0].rcvNxt || packet.length > HEAD_COPY_MAX) return;
    frozen.head = packet.bytes.slice(packet.start, packet.start + packet.length);
  }

  /** OPENING, near side: keep the newest SYN for the thaw (theory of operation: none is ever answered). */
  park(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen | null;
    const { counters, parking, note } = this.#context;
    counters[COUNTER.absorbed]! += 1;
    note.code = NOTE.parked;
    if (frozen === null) return;
    const copy = parking.copy(flow, frozen, packet);
    counters[copy === null ? COUNTER.synsRefused : COUNTER.synsParked]! += 1;
    if (copy !== null) frozen.head = copy;
  }

  /**
   * FROZEN or HANDBACK, near side, SYN: its sender is through with the connection, and wants the ports for another. The newest is
   * kept; it goes out when the far peer has been told the end of the old one.
   */
  onNearSyn(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen;
    const { counters, parking, note } = this.#context;
    counters[COUNTER.absorbed]! += 1;
    note.code = NOTE.parked;
    // While the connection is alive at its sender, only somebody else would send a SYN for it.
    const isOver = frozen.ended || frozen.nearReset || flow.halves[flow.near].finSent;
    if (!isOver || (packet.flags & ACK) !== 0) return;
    const copy = parking.copy(flow, frozen, packet);
    counters[copy === null ? COUNTER.synsRefused : COUNTER.synsParked]! += 1;
    if (copy !== null) frozen.nextSyn = copy;
  }

  /** Near side, RST: an exact one ends the connection for its sender; the far peer is told after custody. */
  onNearReset(flow: Flow, packet: Packet, now: Micros): void {
    const frozen = flow.frozen as Frozen;
    if (frozen.ended || frozen.nearReset) return;
    const endpoint = flow.halves[flow.near];
    // SEG.SEQ is what the sender may use under the window it was shown: between the shown ACK, which it takes with the
    // window closed (tcp_acceptable_seq), and its SND.NXT.
    if (seqLt(packet.seq, frozen.shown) || seqGt(packet.seq, endpoint.sndNxt)) {
      this.#context.counters[COUNTER.outOfWindow]! += 1;
      this.#context.note.code = NOTE['out-of-window'];
      return;
    }
    this.#context.note.code = NOTE['reset-held'];
    // A reset without ACK is how a kernel answers a segment that belongs to nothing (RFC 9293 3.10.7.1): the connection went without
    // a word. After a FIN that is how FIN-WAIT-2 of a closed socket ends; otherwise its sender has given up.
    const isForgotten = (packet.flags & ACK) === 0 && packet.seq === frozen.shown;
    if (!(isForgotten && frozen.custody.fin)) {
      frozen.nearReset = true;
      this.#context.journal.mark(flow);
      if (!frozen.mute) this.#tellNearEnd(flow, isForgotten, now);
    }
    // Nobody is left to talk to: further ACKs would only earn further resets.
    endDribble(frozen);
    frozen.refreshAt = NEVER;
    frozen.trickleEvery = 0;
    frozen.trickleOpen = false;
    this.#context.reschedule(flow);
  }

  /** A reset of the near endpoint soon after the thaw: without ACK it answers what the gateway said, and nobody is there any more. */
  onThawedReset(flow: Flow, packet: Packet, now: Micros): void {
    if ((packet.flags & ACK) === 0) this.#tellNearEnd(flow, true, now);
  }

  /** The near endpoint has ended the connection while it was frozen: named, counted, and remembered for the next ones. */
  #tellNearEnd(flow: Flow, isForgotten: boolean, now: Micros): void {
    const { counters, report, suspects, table } = this.#context;
    const bytes = flow.frozen?.custodyBytes ?? 0;
    const durationMicros = now - flow.heldSince;
    if (!isForgotten) {
      counters[COUNTER.nearResets]! += 1;
      const text = `the application reset the connection ${inSeconds(durationMicros)} s after the freeze`;
      report('flow-near-reset', flow, text, { bytes, durationMicros }, now);
      return;
    }
    counters[COUNTER.nearTimeouts]! += 1;
    // It was alive when it was last heard, and gone when it was asked again.
    const leastMicros = Math.max(0, Math.min(now, flow.lastSeenAt) - flow.heldSince);
    suspects.add(flow, table, Math.max(leastMicros, 1));
    const text = `the near endpoint gave up between ${inSeconds(leastMicros)} and ${inSeconds(durationMicros)} s after the freeze (user timeout?)`;
    report('flow-timed-out', flow, text, { bytes, durationMicros, leastMicros }, now);
  }

  /**
   * FROZEN, far side, pure ACK: shortens custody, opens nothing, and hurries no dribble: a sender that is shown everything
   * is idle, and restarts from the initial window when it may go on.
   */
  onFarAck(flow: Flow): void {
    const frozen = flow.frozen as Frozen;
    this.#context.counters[COUNTER.lateFromFar]! += 1;
    this.#context.note.code = NOTE['late-ack'];
    if (frozen.mute) return;
    frozen.custody.release(flow.halves[flow.near === 0 ? 1 : 0].rcvNxt);
  }

  /** FROZEN, far side, data: passes with custody acknowledged and the window shut. */
  onFarData(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen;
    this.onFarAck(flow);
    const { note } = this.#context;
    note.code = NOTE['late-data'];
    if (frozen.mute || frozen.denied) return;
    if (seqGt(frozen.shown, packet.ack)) setAck(packet, frozen.shown);
    note.isCut = clampSackBelow(packet, frozen.custody.end);
    setWindow(packet, frozenWindow(flow, frozen, seqMax(packet.ack, frozen.shown)));
  }

  /** An exact RST of the far peer: what is in custody can no longer be delivered. The caller ends the flow. */
  onFarReset(flow: Flow, now: Micros): void {
    const lost = (flow.frozen as Frozen | null)?.custody.discard() ?? 0;
    if (lost === 0) return;
    this.#context.counters[COUNTER.undeliverableBytes]! += lost;
    const message = `far peer reset the connection; ${lost} bytes could not be delivered`;
    this.#context.report('flow-reset', flow, message, { bytes: lost }, now);
  }
}

/** Takes into custody what the arena holds from the end of custody on, and the FIN when all data before it is held. */
export function absorbRetained(context: FreezeContext, endpoint: Half, custody: Custody): void {
  const { arena } = context;
  if (custody.fin) return;
  const from = custody.dataEnd;
  const dataEnd = dataEndOf(endpoint);
  const covered = seqLt(from, dataEnd) ? arena.coveredTo(endpoint, from, dataEnd) : from;
  const end = seqGt(covered, dataEnd) ? dataEnd : covered;
  const count = Math.min(seqDiff(end, from), custody.room);
  if (count > 0) {
    const target = custody.extend(count);
    arena.copy(endpoint, from, (from + count) | 0, target.bytes, target.at);
  }
  if (endpoint.finSent && custody.dataEnd === endpoint.finSeq) custody.fin = true;
}

/** Sequence number after the last data byte that `half` has sent, its FIN not counted. */
export function dataEndOf(half: Half): number {
  return half.finSent && seqLe(half.finSeq, half.sndNxt) ? half.finSeq : half.sndNxt;
}

function inSeconds(micros: Micros): string {
  return (micros / MICROS_PER_SECOND).toFixed(1);
}

function isFin(packet: Packet): boolean {
  return (packet.flags & FIN) !== 0;
}
