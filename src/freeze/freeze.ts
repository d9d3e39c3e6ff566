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
import { MICROS_PER_SECOND, type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import { CLOSING, FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import { seqDiff, seqGe } from '../wire/seq.ts';
import { sayFrozen } from './answer.ts';
import type { FreezeContext } from './context.ts';
import { Custody } from './custody.ts';
import { beginDribble, dribble, endDribble } from './dribble.ts';
import { Frozen } from './frozen.ts';
import { absorbRetained, dataEndOf, OVERDUE_MIN, REFRESH } from './hold.ts';
import { Insist } from './insist.ts';
import { succeed } from './parking.ts';
import { Replay } from './replay.ts';
import { mustEndDribble, trickleInterval } from './trickle.ts';
import type { Waker } from './wakeup.ts';

/** Linux gives up after about 924 s of retransmissions (tcp_retries2 = 15); denied flows get a closed window before that. */
const DENIED_GIVE_UP: Micros = 800_000_000;
/** A far peer that has not said within this time that it still has a restored connection has none: Linux's own patience. */
const UNPROVEN_GIVE_UP: Micros = 924_000_000;
/** How soon an ACK that found no room is tried again. */
const RETRY: Micros = 1_000;
/** MSS when nothing is known (RFC 9293 3.7.1), per family. */
const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
/** IP and TCP headers without options, per family. */
const IP_TCP_HEADERS = { 4: 40, 6: 60 } as const;
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
    const { arena, budget, counters, journal } = this.#context;
    flow.near = near;
    flow.wakeup = null;
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    const earlier = flow.frozen as Frozen | null;
    const una = peer.rcvNxt;
    const frozen = earlier ?? new Frozen(new Custody(budget, una, flow.host), 0);
    const { terms } = flow;
    frozen.replay = null;
    flow.frozen = frozen;
    flow.frozenSince = now;
    flow.heldSince = now;
    if (flow.phase === OPENING) return;
    flow.phase = FROZEN;
    counters[COUNTER.freezes]! += 1;
    if (!frozen.ended) this.#setLimit(flow, frozen, now);
    frozen.mute = !endpoint.sndKnown || !endpoint.rcvKnown || !peer.rcvKnown || !peer.sndKnown;
    if (frozen.mute) {
      this.#context.reschedule(flow);
      return;
    }
    frozen.isHeld = true;
    journal.mark(flow);
    const { custody } = frozen;
    custody.isDenied = !terms.custody;
    frozen.inFlight = Math.max(0, seqDiff(endpoint.sndNxt, una));
    frozen.advanced = false;
    const before = custody.end;
    if (earlier === null) frozen.shown = before;
    arena.discardUnsound(endpoint, this.#context.isSound);
    const wanted = seqDiff(dataEndOf(endpoint), custody.dataEnd);
    const held =
      wanted > 0 ? seqDiff(arena.coveredTo(endpoint, custody.dataEnd, dataEndOf(endpoint)), custody.dataEnd) : 0;
    // All or nothing, unless custody has begun already: a closed window with data in flight is worse than none.
    const missing = Math.min(held, wanted) - custody.room;
    if (missing > 0 && terms.custody) this.#context.relieve(flow, missing, now);
    if (wanted > 0 && (custody.isDenied || Math.min(held, wanted) > custody.room) && custody.isEmpty) {
      this.#deny(flow, frozen, now);
      return;
    }
    frozen.denied = false;
    frozen.giveUpAt = NEVER;
    frozen.flightTsVal = arena.firstTsVal(endpoint, custody.dataEnd, endpoint.tsVal);
    absorbRetained(this.#context, endpoint, custody);
    const isComplete = custody.end === endpoint.sndNxt;
    if (isComplete) arena.forget(endpoint);
    frozen.refreshAt = now + REFRESH;
    frozen.dribbleAt = NEVER;
    // RFC 7323 4.3: echo the segment at the left edge, in its first transmission, so that a sender whose RTO has
    // fired can tell that the RTO was spurious.
    frozen.owedTsEcr = custody.end === before ? endpoint.tsVal : frozen.flightTsVal;
    if (custody.end !== before) {
      counters[COUNTER.custodyBytesTaken]! += seqDiff(custody.end, before);
      frozen.advanced = true;
    }
    frozen.owedTo = custody.end;
    frozen.owed = custody.durable !== custody.end;
    if (!frozen.owed) this.#announce(flow, frozen, now);
    this.#context.reschedule(flow);
  }

  /** The first word to the near endpoint after the loss, once everything it is based on is durable. */
  #announce(flow: Flow, frozen: Frozen, now: Micros): void {
    const endpoint = flow.halves[flow.near];
    const { custody } = frozen;
    const isComplete = custody.end === endpoint.sndNxt;
    // A sender that has retransmitted already must see all of it acknowledged at once: an ACK that stops behind a
    // retransmission would let RACK (RFC 8985) declare everything sent before that retransmission lost.
    const mayDribble = isComplete && !endpoint.ambiguous;
    if (mayDribble) beginDribble(frozen, frozen.shown, endpoint.segmentSize, endpoint.srtt, now);
    else frozen.shown = custody.end;
    // Bytes missing at the left edge are brought by the sender's retransmission; an ACK before that would say nothing.
    const note = custody.isEmpty ? NOTE['zero-window'] : NOTE['custody-ack'];
    if ((isComplete || !custody.isEmpty) && !sayFrozen(this.#context, flow, frozen.owedTsEcr, note)) {
      // A full outbox only postpones the ACK.
      frozen.refreshAt = now + RETRY;
    }
  }

  /** More of the flow's custody is durable: says what has waited for it. */
  onDurable(flow: Flow, frozen: Frozen, now: Micros): void {
    // What the gateway has ended meanwhile gets no answer any more: its custody is gone.
    if (flow.phase !== FROZEN || frozen.denied || frozen.ended) return;
    if (!frozen.owed) {
      // A dribble says by itself how far it is. Measured without that: what was under way when it began came in 88 batches, and the
      // sender got 88 ACKs of one and the same number, which is loss to one without SACK (RFC 5681 3.2).
      if (frozen.dribbleAt === NEVER) sayFrozen(this.#context, flow, frozen.owedTsEcr, NOTE['custody-ack']);
    } else if (seqGe(frozen.custody.durable, frozen.owedTo)) {
      frozen.owed = false;
      this.#announce(flow, frozen, now);
    }
    this.#context.reschedule(flow);
  }

  /** The journal has failed: what is not durable stays, or becomes again, the near endpoint's. @returns bytes given up */
  onJournalFailed(flow: Flow, frozen: Frozen, now: Micros): number {
    const { custody } = frozen;
    if (custody.durable === custody.end) return 0;
    const dropped = custody.truncate();
    frozen.owed = false;
    frozen.dribbleAt = NEVER;
    frozen.shown = custody.end;
    if (flow.phase !== FROZEN) return dropped;
    if (custody.isEmpty) this.#deny(flow, frozen, now);
    else sayFrozen(this.#context, flow, frozen.owedTsEcr);
    this.#context.reschedule(flow);
    return dropped;
  }

  /** The flow was restored from the journal: its limits run since it was frozen. */
  resume(flow: Flow, frozen: Frozen): void {
    if (!frozen.ended) this.#setLimit(flow, frozen, flow.frozenSince);
    frozen.custody.isDenied = !flow.terms.custody;
    this.#context.reschedule(flow);
  }

  /** When the flow's time is over, and how often its sender may send a little meanwhile. */
  #setLimit(flow: Flow, frozen: Frozen, now: Micros): void {
    const { suspects, table } = this.#context;
    frozen.limit = this.#context.limitOf(flow);
    frozen.limitAt = now + frozen.limit.micros;
    const { userTimeout } = flow.halves[flow.near];
    const suspected = suspects.limitOf(flow, flow.near, table);
    frozen.trickleEvery = trickleInterval(flow.terms.trickle, userTimeout, suspected);
    frozen.trickleOpen = false;
    frozen.takenAt = now;
    frozen.probed = false;
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

  /** Forgets the frozen state of a flow that ends. */
  release(flow: Flow): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen !== null) this.#context.journal.ended(frozen, NEVER);
    frozen?.custody.discard();
    if (frozen !== null) this.#context.parking.leave(flow, frozen);
    flow.frozen = null;
    flow.wakeup = null;
    flow.frozenSince = NEVER;
    this.#context.reschedule(flow);
  }

  /**
   * The loss is over: give the flow back (theory of operation 5).
   * @param window raw window to offer where nothing is in custody: the far peer's last genuine one, or part of it (easing.ts)
   */
  thaw(flow: Flow, now: Micros, window: number): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null) return;
    const { counters, synthesizer } = this.#context;
    const near = flow.near;
    const far = near === 0 ? 1 : 0;
    const endpoint = flow.halves[near];
    const peer = flow.halves[far];
    if (flow.phase === OPENING) {
      if (frozen.head !== null && synthesizer.copy(flow, near, frozen.head)) counters[COUNTER.headReplays]! += 1;
      const { head } = frozen;
      this.release(flow);
      if (head !== null) {
        flow.wakeup = new Insist(false, head, now);
        this.#context.reschedule(flow);
      }
      return;
    }
    counters[COUNTER.thaws]! += 1;
    const { custody } = frozen;
    frozen.limitAt = NEVER;
    frozen.trickleOpen = false;
    // A far peer that has to prove itself first is woken when it has (engine/proof.ts).
    const isUnproven = (frozen.unproven & (far + 1)) !== 0;
    const mayWake = !frozen.mute && !frozen.ended && !(isUnproven && !custody.isEmpty);
    // What the far peer was seen to send arrived before the loss; nothing of it can have been lost since.
    const isShut = frozen.isShut && peer.sndNxt === endpoint.rcvNxt;
    if (mayWake && flow.terms.wakeup) this.#waker.start(flow, now, isShut);
    if (custody.isEmpty || frozen.mute) {
      if (frozen.nearReset) {
        if (!frozen.mute) synthesizer.reset(flow, near, peer.rcvNxt, endpoint.rcvNxt);
        flow.phase = CLOSING;
        const syn = succeed(this.#context, flow, frozen);
        flow.wakeup = frozen.mute ? null : new Insist(true, syn, now);
      } else {
        flow.phase = FLOWING;
        if (frozen.denied) {
          if (frozen.head !== null && synthesizer.copy(flow, near, frozen.head)) counters[COUNTER.headReplays]! += 1;
          // The sender may be in a back-off of its own.
          synthesizer.unreachable(flow, near, peer.rcvNxt, endpoint.rcvNxt);
        } else if (!frozen.mute) {
          // A window that the far peer had closed itself stays closed.
          const note = NOTE['window-update'];
          synthesizer.ack(flow, far, endpoint.rcvNxt, custody.end, window, endpoint.tsVal, note);
        }
      }
      this.#context.journal.ended(frozen, frozen.nearReset ? NEVER : now);
      flow.frozen = null;
      flow.frozenSince = NEVER;
      if (flow.phase === FLOWING) succeed(this.#context, flow, frozen);
    } else {
      flow.phase = HANDBACK;
      frozen.owed = false;
      frozen.refreshAt = NEVER;
      frozen.offeredEdge = custody.end;
      frozen.allowedEdge = custody.end;
      const segment = replaySegment(flow, endpoint, peer, this.#context.mtuOf(peer.port));
      const { deliveryRate, srtt, minRtt } = endpoint;
      const { base, length } = custody;
      frozen.replay = new Replay(base, segment, deliveryRate, frozen.inFlight, length, srtt, minRtt, now);
      if (isUnproven) frozen.giveUpAt = now + UNPROVEN_GIVE_UP;
      this.#beginHandback(flow);
    }
    this.#context.reschedule(flow);
  }

  /** When `onTimer` wants to be called for this flow. */
  deadlineOf(flow: Flow): Micros {
    const frozen = flow.frozen as Frozen | null;
    const own = frozen === null ? NEVER : timersOf(frozen);
    return Math.min(own, this.#waker.deadlineOf(flow));
  }

  onTimer(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen !== null && frozen.dribbleAt <= now) {
      // Goes on during handback until the far peer is heard: the path may be silent for a while after link-up.
      if (flow.phase === FROZEN && mustEndDribble(frozen, flow.frozenSince, now)) endDribble(frozen);
      else dribble(frozen, flow.halves[flow.near].segmentSize, now);
      frozen.refreshAt = flow.phase === FROZEN ? now + REFRESH : NEVER;
      sayFrozen(this.#context, flow, frozen.flightTsVal, NOTE['custody-ack']);
    }
    if (frozen !== null && flow.phase === HANDBACK && frozen.giveUpAt <= now) {
      frozen.giveUpAt = NEVER;
      if (frozen.unproven !== 0) {
        this.#context.abandon(flow, 'the far peer does not answer', now);
        return;
      }
    }
    if (frozen !== null && flow.phase === FROZEN) {
      if (frozen.limitAt <= now) {
        const { micros, by } = frozen.limit;
        this.#context.giveUp(flow, `limit of ${micros / MICROS_PER_SECOND} s by the ${by}`, now);
        return;
      }
      if (frozen.refreshAt <= now) {
        // A sender that has stopped probing is asked after at intervals that double: it may have given up (hold.ts).
        const silence = now - frozen.probedAt;
        frozen.refreshAt = now + Math.min(REFRESH, frozen.probed ? Math.max(OVERDUE_MIN, silence) : REFRESH);
        this.#context.counters[COUNTER.refreshes]! += 1;
        sayFrozen(this.#context, flow, flow.halves[flow.near].tsVal, NOTE.refresh);
      }
      if (frozen.giveUpAt <= now) {
        frozen.giveUpAt = NEVER;
        frozen.denied = false;
        frozen.lastResort = true;
        frozen.refreshAt = now + REFRESH;
        sayFrozen(this.#context, flow, flow.halves[flow.near].tsVal);
      }
    }
    this.#waker.onTimer(flow, now);
    this.#context.reschedule(flow);
  }
}

function timersOf(frozen: Frozen): Micros {
  return Math.min(frozen.refreshAt, frozen.giveUpAt, frozen.dribbleAt, frozen.limitAt);
}

/** @param mtu of the path; @param timestamps whether segments carry them; at least 1 */
export function segmentOfMtu(family: 4 | 6, mtu: number, timestamps: boolean): number {
  return Math.max(1, mtu - IP_TCP_HEADERS[family] - (timestamps ? TIMESTAMPS_LENGTH : 0));
}

/**
 * Payload bytes per replayed segment: what was seen to pass, within the far peer's MSS where it is known, and within the MTU of
 * the link that came back, which may be another than before.
 */
function replaySegment(flow: Flow, endpoint: Half, peer: Half, mtu: number): number {
  const options = endpoint.timestamps ? TIMESTAMPS_LENGTH : 0;
  const byMtu = segmentOfMtu(flow.family, mtu, endpoint.timestamps);
  const byMss = (peer.mss > 0 ? peer.mss : DEFAULT_MSS[flow.family]) - options;
  const { segmentSize } = endpoint;
  if (segmentSize === 0) return Math.max(1, Math.min(byMss, byMtu));
  return Math.max(1, Math.min(segmentSize, byMtu, peer.mss > 0 ? byMss : segmentSize));
}
