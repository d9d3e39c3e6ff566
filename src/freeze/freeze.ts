/**
 * Freeze: holding the endpoint on the surviving side of a loss, and giving the connection back.
 *
 * Purpose.  A sender whose peer has vanished goes into RTO back-off and finally gives up. A sender whose peer has closed its
 *           window waits in persist state, with its congestion state intact, for as long as its probes are answered. So
 *           the gateway closes the window in the far peer's name. Linux keeps its congestion state only when nothing is
 *           in flight; hence custody: what is in flight is acknowledged too, and delivered later by the gateway.
 * Limits.   Custody per flow and in total (custody.ts); one Frozen record per flow.
 * States.   FLOWING -> freeze -> FROZEN -> thaw -> HANDBACK (custody held) or FLOWING -> ... -> FLOWING (handback.ts).
 * Timers.   Refresh: an unsolicited ACK every REFRESH per frozen flow. Denied flows: a last resort before their sender
 *           gives up. Wake-up rounds after the thaw (wakeup.ts).
 * Data.     engine -> freeze/thaw/onTimer for scopes and time; engine -> onNear*, onFar* by the phase table (phases.ts).
 * References. theory of operation 3, 5, 6; RFC 9293 3.8.6.1; RFC 7323 4; RFC 5961 3; RFC 6069.
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { CLOSING, FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import type { Packet } from '../wire/packet.ts';
import { removeSackBelow, setAck, setWindow } from '../wire/rewrite.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { FIN } from '../wire/tcp-flags.ts';
import type { FreezeContext } from './context.ts';
import { Custody } from './custody.ts';
import { Frozen } from './frozen.ts';
import { Replay } from './replay.ts';
import type { Waker } from './wakeup.ts';

/** Theory of operation 3.5: kernels before the 2023 fix give up without one, and conntrack forgets after 5 minutes. */
const REFRESH: Micros = 55_000_000;
/** Linux gives up after about 924 s of retransmissions (tcp_retries2 = 15); denied flows get a closed window before that. */
const DENIED_GIVE_UP: Micros = 800_000_000;
/** How soon an ACK that found no room is tried again. */
const RETRY: Micros = 1_000;
/** Largest head segment or SYN of which a copy is kept. */
const HEAD_COPY_MAX = 2_048;
/** MSS when nothing is known (RFC 9293 3.7.1), per family. */
const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
/** Timestamps option with its padding (RFC 7323 appendix A). */
const TIMESTAMPS_LENGTH = 12;

export class Freezer {
  readonly #context: FreezeContext;
  readonly #waker: Waker;
  /** Flows whose handback begins; the handback scheduler takes them from here. */
  readonly #beginHandback: (flow: Flow) => void;

  constructor(context: FreezeContext, waker: Waker, beginHandback: (flow: Flow) => void) {
    this.#context = context;
    this.#waker = waker;
    this.#beginHandback = beginHandback;
  }

  /**
   * The endpoint opposite of `near` is lost: hold `near` (theory of operation 3). Also called for a flow in HANDBACK whose
   * link was lost again; what is left of its custody then stays custody.
   */
  freeze(flow: Flow, near: 0 | 1, now: Micros): void {
    const { arena, budget, counters } = this.#context;
    flow.near = near;
    flow.wakeup = null;
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    const earlier = flow.frozen as Frozen | null;
    const una = peer.rcvNxt;
    const frozen = earlier ?? new Frozen(new Custody(budget, una), 0);
    frozen.replay = null;
    flow.frozen = frozen;
    flow.frozenSince = now;
    if (flow.phase === OPENING) return;
    flow.phase = FROZEN;
    counters[COUNTER.freezes]! += 1;
    frozen.mute = !endpoint.sndKnown || !endpoint.rcvKnown || !peer.rcvKnown || !peer.sndKnown;
    if (frozen.mute) return;
    const { custody } = frozen;
    frozen.inFlight = Math.max(0, seqDiff(endpoint.sndNxt, una));
    frozen.advanced = false;
    const before = custody.end;
    arena.discardUnsound(endpoint, this.#context.isSound);
    const wanted = seqDiff(dataEndOf(endpoint), custody.dataEnd);
    const held =
      wanted > 0 ? seqDiff(arena.coveredTo(endpoint, custody.dataEnd, dataEndOf(endpoint)), custody.dataEnd) : 0;
    // All or nothing, unless custody has begun already: a closed window with data in flight is worse than none.
    if (wanted > 0 && Math.min(held, wanted) > custody.room && custody.isEmpty) {
      this.#deny(flow, frozen, now);
      return;
    }
    frozen.denied = false;
    frozen.giveUpAt = NEVER;
    this.#absorbRetained(endpoint, custody);
    if (custody.end === endpoint.sndNxt) arena.forget(endpoint);
    frozen.refreshAt = now + REFRESH;
    if (custody.end !== before) {
      // RFC 7323 4.3: echo the segment that holds the left edge, in its first transmission, so that a sender whose
      // RTO has fired can tell that the RTO was spurious.
      const tsEcr = this.#firstTsVal ?? endpoint.tsVal;
      this.#takenInto(frozen, seqDiff(custody.end, before));
      // A full outbox only postpones the ACK.
      if (!this.#say(flow, tsEcr)) frozen.refreshAt = now + RETRY;
    } else if (custody.end === endpoint.sndNxt || !custody.isEmpty) {
      counters[COUNTER.zeroWindowAcks]! += 1;
      if (!this.#say(flow, endpoint.tsVal)) frozen.refreshAt = now + RETRY;
    }
    this.#context.reschedule(flow);
    // Otherwise bytes are missing at the left edge: the sender's retransmission will bring them.
  }

  #firstTsVal: number | null = null;

  /** Takes into custody what the arena holds from the end of custody on, and the FIN when all data before it is held. */
  #absorbRetained(endpoint: Half, custody: Custody): void {
    const { arena } = this.#context;
    this.#firstTsVal = null;
    if (custody.fin) return;
    const from = custody.dataEnd;
    const dataEnd = dataEndOf(endpoint);
    const covered = seqLt(from, dataEnd) ? arena.coveredTo(endpoint, from, dataEnd) : from;
    const end = seqGt(covered, dataEnd) ? dataEnd : covered;
    const count = Math.min(seqDiff(end, from), custody.room);
    if (count > 0) {
      this.#firstTsVal = arena.firstTsVal(endpoint, from, endpoint.tsVal);
      const target = custody.extend(count);
      arena.copy(endpoint, from, (from + count) | 0, target.bytes, target.at);
    }
    if (endpoint.finSent && custody.dataEnd === endpoint.finSeq) custody.fin = true;
  }

  #takenInto(frozen: Frozen, bytes: number): void {
    const { counters } = this.#context;
    frozen.advanced = true;
    counters[COUNTER.custodyAcks]! += 1;
    counters[COUNTER.custodyBytesTaken]! += bytes;
  }

  /** No custody: no closed window either (theory of operation 3.3). */
  #deny(flow: Flow, frozen: Frozen, now: Micros): void {
    const { counters } = this.#context;
    counters[COUNTER.custodyRefused]! += 1;
    frozen.denied = true;
    frozen.refreshAt = NEVER;
    frozen.giveUpAt = now + DENIED_GIVE_UP;
    this.#context.reschedule(flow);
  }

  /** Raw window to show the near endpoint while frozen. */
  #windowOf(flow: Flow, frozen: Frozen): number {
    const endpoint = flow.halves[flow.near];
    const peer = flow.halves[flow.near === 0 ? 1 : 0];
    // While bytes before the end of what was sent are missing, a closed window would bring one segment per RTO (Linux
    // retransmits nothing else beyond it); an open one lets the sender recover at the speed of the surviving side.
    if (frozen.custody.end === endpoint.sndNxt || frozen.custody.room === 0 || peer.rcvWndShift < 0) return 0;
    return Math.max(0, seqDiff(peer.rightEdge, frozen.custody.end)) >>> peer.rcvWndShift;
  }

  /** The current ACK in the far peer's name. */
  #say(flow: Flow, tsEcr: number): boolean {
    const frozen = flow.frozen as Frozen;
    if (!this.#context.isReachable(flow, flow.near)) return false;
    const endpoint = flow.halves[flow.near];
    const far = flow.near === 0 ? 1 : 0;
    const window = Math.min(0xffff, this.#windowOf(flow, frozen));
    return this.#context.synthesizer.ack(flow, far, endpoint.rcvNxt, frozen.custody.end, window, tsEcr);
  }

  /** FROZEN, near side, no payload, SEG.SEQ below CE: a probe or keepalive of any form. */
  onNearProbe(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen;
    const { counters } = this.#context;
    if (frozen.mute) {
      counters[COUNTER.absorbed]! += 1;
      return;
    }
    counters[COUNTER.probesAnswered]! += 1;
    this.#say(flow, packet.tsAt >= 0 ? packet.tsVal : 0);
  }

  /** FROZEN, near side, payload or FIN. */
  onNearData(flow: Flow, packet: Packet, now: Micros): void {
    const frozen = flow.frozen as Frozen;
    const { arena, counters, synthesizer } = this.#context;
    if (frozen.mute) {
      counters[COUNTER.absorbed]! += 1;
      return;
    }
    const endpoint = flow.halves[flow.near];
    if (frozen.denied) {
      this.#keepHead(flow, frozen, packet);
      if (packet.seq === frozen.custody.base && this.#context.isReachable(flow, flow.near)) {
        synthesizer.unreachable(flow, flow.near, packet.seq, packet.ack);
        counters[COUNTER.icmpToNear]! += 1;
      } else counters[COUNTER.absorbed]! += 1;
      return;
    }
    const { custody } = frozen;
    const before = custody.end;
    if (!custody.fin) {
      if (!this.#context.isSound(packet.start, packet.length)) {
        counters[COUNTER.unsound]! += 1;
        return;
      }
      if (seqLe(packet.seq, custody.dataEnd)) this.#take(endpoint, frozen, packet);
      // Beyond a gap: keep it, it will be absorbed when the gap is filled.
      else if (seqDiff(packet.seq, custody.end) < custody.room && packet.payloadLength > 0) {
        arena.retain(endpoint, packet, now);
      }
      this.#absorbRetained(endpoint, custody);
    }
    if (custody.end === endpoint.sndNxt) arena.forget(endpoint);
    if (custody.end !== before) this.#takenInto(frozen, seqDiff(custody.end, before));
    else counters[COUNTER.probesAnswered]! += 1;
    this.#say(flow, packet.tsAt >= 0 ? packet.tsVal : 0);
  }

  /** Appends the new bytes of an in-order segment, as far as they are to be taken. */
  #take(endpoint: Half, frozen: Frozen, packet: Packet): void {
    const { custody } = frozen;
    const skip = seqDiff(custody.dataEnd, packet.seq);
    const fresh = packet.payloadLength - skip;
    // One byte beyond a window that is known to be closed is a probe (BSD, Windows): it is answered, not acknowledged.
    if (packet.segLength === 1 && skip === 0 && frozen.advanced && seqDiff(endpoint.sndNxt, custody.end) === 1) {
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
    this.#context.counters[COUNTER.absorbed]! += 1;
    if (frozen === null || packet.length > HEAD_COPY_MAX) return;
    frozen.head = packet.bytes.slice(packet.start, packet.start + packet.length);
  }

  /** Near side, RST: an exact one ends the connection for its sender; the far peer is told after custody. */
  onNearReset(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen;
    const endpoint = flow.halves[flow.near];
    // Its sequence number is the sender's SND.NXT, which is CE, or further when data was under way.
    if (seqGe(packet.seq, frozen.custody.end) && seqLe(packet.seq, endpoint.sndNxt)) frozen.nearReset = true;
    else this.#context.counters[COUNTER.outOfWindow]! += 1;
  }

  /** FROZEN, far side, pure ACK: shortens custody, opens nothing. */
  onFarAck(flow: Flow): void {
    const frozen = flow.frozen as Frozen;
    this.#context.counters[COUNTER.lateFromFar]! += 1;
    if (!frozen.mute) frozen.custody.release(flow.halves[flow.near === 0 ? 1 : 0].rcvNxt);
  }

  /** FROZEN, far side, data: passes with custody acknowledged and the window shut. */
  onFarData(flow: Flow, packet: Packet): void {
    const frozen = flow.frozen as Frozen;
    this.onFarAck(flow);
    if (frozen.mute || frozen.denied) return;
    const ce = frozen.custody.end;
    if (seqGt(ce, packet.ack)) setAck(packet, ce);
    removeSackBelow(packet, ce);
    setWindow(packet, Math.min(0xffff, this.#windowOf(flow, frozen)));
  }

  /** An exact RST of the far peer: what is in custody can no longer be delivered. */
  onFarReset(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen !== null) {
      const lost = frozen.custody.discard();
      if (lost > 0) {
        this.#context.counters[COUNTER.undeliverableBytes]! += lost;
        this.#context.report(
          'flow-reset',
          flow,
          `far peer reset the connection; ${lost} bytes could not be delivered`,
          { bytes: lost },
          now,
        );
      }
    }
    this.release(flow);
    flow.phase = CLOSING;
  }

  /** Forgets the frozen state of a flow that ends. */
  release(flow: Flow): void {
    (flow.frozen as Frozen | null)?.custody.discard();
    flow.frozen = null;
    flow.wakeup = null;
    flow.frozenSince = NEVER;
    this.#context.reschedule(flow);
  }

  /** The loss is over: give the flow back (theory of operation 5). */
  thaw(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null) return;
    const { counters, synthesizer } = this.#context;
    const near = flow.near;
    const far = near === 0 ? 1 : 0;
    const endpoint = flow.halves[near];
    const peer = flow.halves[far];
    if (flow.phase === OPENING) {
      if (frozen.head !== null && synthesizer.copy(frozen.head)) counters[COUNTER.headReplays]! += 1;
      flow.frozen = null;
      flow.frozenSince = NEVER;
      return;
    }
    counters[COUNTER.thaws]! += 1;
    const { custody } = frozen;
    if (!frozen.mute) this.#waker.start(flow, now);
    if (custody.isEmpty || frozen.mute) {
      if (frozen.nearReset) {
        synthesizer.reset(flow, near, peer.rcvNxt, endpoint.rcvNxt);
        flow.phase = CLOSING;
        flow.wakeup = null;
      } else {
        flow.phase = FLOWING;
        if (frozen.denied) {
          if (frozen.head !== null && synthesizer.copy(frozen.head)) counters[COUNTER.headReplays]! += 1;
          // The sender may be in a back-off of its own.
          synthesizer.unreachable(flow, near, peer.rcvNxt, endpoint.rcvNxt);
        } else if (!frozen.mute) {
          // The far peer's last genuine window; when that was 0 it was its own doing, and stays.
          synthesizer.ack(flow, far, endpoint.rcvNxt, custody.end, peer.rcvWnd, endpoint.tsVal);
        }
      }
      flow.frozen = null;
      flow.frozenSince = NEVER;
    } else {
      flow.phase = HANDBACK;
      frozen.refreshAt = NEVER;
      frozen.offeredEdge = custody.end;
      const mss = peer.mss > 0 ? peer.mss : DEFAULT_MSS[flow.family];
      const mssPayload = mss - (endpoint.timestamps ? TIMESTAMPS_LENGTH : 0);
      const segment = Math.max(1, endpoint.segmentSize > 0 ? Math.min(endpoint.segmentSize, mssPayload) : mssPayload);
      frozen.replay = new Replay(custody.base, segment, endpoint.deliveryRate, frozen.inFlight, endpoint.srtt, now);
      this.#beginHandback(flow);
    }
    this.#context.reschedule(flow);
  }

  /** When `onTimer` wants to be called for this flow. */
  deadlineOf(flow: Flow): Micros {
    const frozen = flow.frozen as Frozen | null;
    const own = frozen === null ? NEVER : Math.min(frozen.refreshAt, frozen.giveUpAt);
    return Math.min(own, this.#waker.deadlineOf(flow));
  }

  onTimer(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen !== null && flow.phase === FROZEN) {
      if (frozen.refreshAt <= now) {
        frozen.refreshAt = now + REFRESH;
        this.#context.counters[COUNTER.refreshes]! += 1;
        this.#say(flow, flow.halves[flow.near].tsVal);
      }
      if (frozen.giveUpAt <= now) {
        frozen.giveUpAt = NEVER;
        frozen.denied = false;
        frozen.refreshAt = now + REFRESH;
        this.#context.counters[COUNTER.zeroWindowAcks]! += 1;
        this.#say(flow, flow.halves[flow.near].tsVal);
      }
    }
    this.#waker.onTimer(flow, now);
    this.#context.reschedule(flow);
  }
}

/** Sequence number after the last data byte that `half` has sent, its FIN not counted. */
function dataEndOf(half: Half): number {
  return half.finSent && seqLe(half.finSeq, half.sndNxt) ? half.finSeq : half.sndNxt;
}

function isFin(packet: Packet): boolean {
  return (packet.flags & FIN) !== 0;
}
