/**
 * The path of every segment that is not simply passing: its flow is opening into a loss, held, being handed back, closing or left
 * alone. The phase table (freeze/phases.ts) decides, the parts of freeze/ act.
 */
import { COUNTER } from '../base/counters.ts';
import { FAMILY } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import { ADVANCED_ACK, IMPLAUSIBLE, isExactReset, lastTracked, track } from '../flow/tracker.ts';
import type { Frozen } from '../freeze/frozen.ts';
import * as phases from '../freeze/phases.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff, seqLt } from '../wire/seq.ts';
import { RST, SYN } from '../wire/tcp-flags.ts';
import type { EngineParts } from './assembly.ts';
import { CONSUME, type Disposition, DROP, FORWARD } from './disposition.ts';
import { segmentKind } from './kind.ts';
import { ANOTHER, FITS, prove } from './proof.ts';
import { dropRecalled } from './recall.ts';
import { isTrusted } from './trust.ts';

const DROPS = FAMILY.drops;

/** A sequence number this far from what is expected is no probe (largest window, RFC 7323 2.3). */
const PROBE_DISTANCE = 65_535 * 2 ** 14;

export class TablePath {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** One segment of `flow`, sent by half `direction`. */
  handle(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): Disposition {
    const counters = this.#parts.counters;
    const { note } = this.#parts.context;
    note.ack = packet.ack;
    note.window = packet.window;
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    const side =
      flow.lostMask === 0 && !isHeld ? phases.SIDE_ANY : direction === flow.near ? phases.SIDE_NEAR : phases.SIDE_FAR;
    const kind = segmentKind(flow, side, packet);
    const action = phases.actionFor(flow.phase, side, kind);
    if (flow.phase === BYPASS) {
      flow.lastSeenAt = now;
      return action === phases.ACT_BYPASS ? FORWARD : this.#drop(DROPS.lost, NOTE['no-link']);
    }
    if (isHeld && !isTrusted(packet, counters)) return this.#drop(DROPS.unsound, NOTE.unsound);
    if (isHeld && ((flow.frozen as Frozen).unproven & (direction + 1)) !== 0) {
      const proof = prove(flow, flow.frozen as Frozen, direction, packet, now);
      if (proof !== FITS) return this.#foreign(flow, direction, proof === ANOTHER, now);
      // The far peer is there; whether its own data waits in a back-off is not known.
      if (side === phases.SIDE_FAR && flow.phase === HANDBACK && flow.terms.wakeup) {
        this.#parts.waker.start(flow, now, false);
        this.#parts.context.reschedule(flow);
      }
    }
    if (action === phases.ACT_NEXT) {
      // Of another connection: nothing of it is to be learnt for this one.
      this.#parts.holder.onNearSyn(flow, packet);
      return CONSUME;
    }
    const wasOpening = flow.phase === OPENING;
    const found = track(flow, direction, packet, now);
    if ((found & IMPLAUSIBLE) !== 0) return this.#implausible(flow, side, packet, now);
    if (side !== phases.SIDE_ANY) this.#parts.watch.onLife(flow, direction, now);
    if (wasOpening && direction === 1 && (packet.flags & SYN) !== 0) this.#parts.watch.onAnswered(flow, now);
    if (wasOpening && flow.phase === FLOWING) this.#parts.handshakes.mark(flow, now);
    if (wasOpening && flow.phase !== OPENING && flow.lostMask !== 0) {
      // The handshake completes into a loss: what was parked is answered, and the flow is held like any other.
      this.#parts.freezer.release(flow);
      this.#parts.settler.settle(flow, now);
      if (side !== phases.SIDE_NEAR) return FORWARD;
      note.code = NOTE.absorbed;
      return CONSUME;
    }
    const frozen = flow.frozen as Frozen | null;
    switch (action) {
      case phases.ACT_FORWARD:
        if (packet.payloadLength > 0 && flow.phase !== CLOSING && flow.halves[direction === 0 ? 1 : 0].rcvKnown)
          this.#parts.arena.retain(flow.halves[direction], packet, now);
        if ((packet.flags & RST) !== 0) onReset(flow, flow.halves[direction], packet);
        return FORWARD;
      case phases.ACT_PARK:
        // A damaged copy must not take the place of a sound one; its sender repeats it anyway.
        if (!isTrusted(packet, counters)) return DROP;
        this.#parts.holder.park(flow, packet);
        return CONSUME;
      case phases.ACT_TAKE:
        this.#parts.holder.onNearData(flow, packet, now);
        return CONSUME;
      case phases.ACT_ANSWER:
        if (flow.phase === HANDBACK) this.#parts.handback.answer(flow);
        else this.#parts.holder.onNearProbe(flow, now);
        return CONSUME;
      case phases.ACT_HOLD_RESET:
        this.#parts.holder.onNearReset(flow, packet, now);
        return CONSUME;
      case phases.ACT_LATE:
        // What the gateway has ended is over for the near endpoint, and custody that could be acknowledged is gone.
        if (frozen?.ended === true) return this.#drop(DROPS.late, NOTE.absorbed);
        this.#parts.holder.onFarData(flow, packet);
        return this.#parts.context.isReachable(flow, flow.near) ? FORWARD : this.#drop(DROPS.unreachable, note.code);
      case phases.ACT_END: {
        const endpoint = flow.halves[flow.near];
        if (!isExactReset(endpoint, packet)) {
          counters[COUNTER.outOfWindow]! += 1;
          return this.#drop(DROPS.outOfWindow, NOTE['out-of-window']);
        }
        this.#parts.settler.endHandback(flow, now);
        this.#parts.holder.onFarReset(flow, now);
        this.#parts.freezer.release(flow);
        flow.phase = CLOSING;
        return FORWARD;
      }
      case phases.ACT_CLOCK: {
        if (packet.payloadLength > 0) this.#parts.waker.stop(flow);
        else this.#parts.waker.onFarAck(flow, packet, now);
        if (flow.thawedAt !== NEVER && (packet.payloadLength > 0 || (found & ADVANCED_ACK) !== 0))
          this.#parts.chronicle.arrived(flow, now);
        if ((found & ADVANCED_ACK) !== 0)
          this.#parts.context.pacerOf(flow.halves[direction].port).onDelivered(lastTracked.acked, now);
        const ends = this.#parts.handback.onFar(flow, packet, found, now);
        if (flow.frozen === null) {
          this.#parts.settler.handedBack(flow, frozen?.thawedAt ?? now, now);
          if (frozen?.dribbled === true && flow.phase === FLOWING) this.#parts.waker.ward(flow, now);
        }
        if (ends && packet.payloadLength > 0) this.#parts.arena.retain(flow.halves[direction], packet, now);
        if (!ends) return CONSUME;
        return this.#parts.context.isReachable(flow, flow.near) ? FORWARD : this.#drop(DROPS.unreachable, note.code);
      }
      case phases.ACT_FRESH: {
        const end = (packet.seq + packet.segLength) | 0;
        // Below CE, or a probe of a window that is still shut: the gateway's affair.
        if (frozen !== null && (!seqLt(frozen.custody.end, end) || frozen.offeredEdge === packet.seq)) {
          this.#parts.handback.answer(flow);
          return CONSUME;
        }
        if (packet.payloadLength > 0) this.#parts.arena.retain(flow.halves[direction], packet, now);
        return FORWARD;
      }
      default:
        if (flow.phase === FROZEN && side === phases.SIDE_FAR) {
          this.#parts.holder.onFarAck(flow);
          return this.#drop(DROPS.late, note.code);
        }
        counters[COUNTER.absorbed]! += 1;
        return isHeld ? this.#drop(DROPS.absorbed, NOTE.absorbed) : this.#drop(DROPS.lost, NOTE['no-link']);
    }
  }

  /** @param reason index of the counter of the reason; @param code what a capture says of it */
  #drop(reason: number, code: number): Disposition {
    this.#parts.counters[reason]! += 1;
    this.#parts.context.note.code = code;
    return DROP;
  }

  /** A segment that does not fit a flow restored from the journal passes unchanged; two that answer each other end that flow. */
  #foreign(flow: Flow, direction: 0 | 1, isAnother: boolean, now: Micros): Disposition {
    const isReachable = this.#parts.context.isReachable(flow, direction === 0 ? 1 : 0);
    if (isAnother) dropRecalled(this.#parts, flow, 'its ports belong to another connection', now);
    return isReachable ? FORWARD : this.#drop(DROPS.lost, NOTE['no-link']);
  }

  /** A segment that cannot belong to the connection leaves no mark; in a held flow it does not pass either. */
  #implausible(flow: Flow, side: number, packet: Packet, now: Micros): Disposition {
    this.#parts.counters[COUNTER.outOfWindow]! += 1;
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    const isPassing = !isHeld && !(flow.lostMask !== 0 && side === phases.SIDE_NEAR);
    if (isPassing) return FORWARD;
    if (!isHeld) return this.#drop(DROPS.lost, NOTE['out-of-window']);
    this.#parts.context.note.code = NOTE['out-of-window'];
    // Of a restored flow not everything is known until both ends have spoken (proof.ts).
    if ((flow.frozen as Frozen).unproven !== 0) {
      const addressee = side === phases.SIDE_NEAR ? (flow.near === 0 ? 1 : 0) : flow.near;
      return this.#parts.context.isReachable(flow, addressee) ? FORWARD : this.#drop(DROPS.lost, NOTE['no-link']);
    }
    // Some stacks probe with whole segments beyond the window: one answer, nothing taken.
    const frozen = flow.frozen as Frozen;
    const distance = Math.abs(seqDiff(packet.seq, frozen.custody.end));
    if (side === phases.SIDE_NEAR && distance < PROBE_DISTANCE && (packet.flags & (SYN | RST)) === 0) {
      if (flow.phase === HANDBACK) this.#parts.handback.answer(flow);
      else this.#parts.holder.onNearProbe(flow, now);
      this.#parts.context.note.code = NOTE.stray;
      return CONSUME;
    }
    return this.#drop(DROPS.outOfWindow, NOTE['out-of-window']);
  }
}

/** A reset that its receiver acts upon ends the flow (RFC 5961 3.2). */
export function onReset(flow: Flow, sender: Half, packet: Packet): void {
  const isExact = isExactReset(flow.halves[sender === flow.halves[0] ? 1 : 0], packet);
  if (isExact || (sender.sndKnown && packet.seq === sender.sndNxt)) flow.phase = CLOSING;
}
