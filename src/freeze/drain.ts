/**
 * Drain: the lead time of a planned freeze (theory of operation 5, last paragraph). The link still works. Both ends are told a
 * window of zero at once, and every ACK that passes says the same, so what is in flight arrives, is acknowledged, and
 * nothing follows it. When the link then goes, no custody is needed, and both ends wait in persist state.
 *
 * Kept back. A Linux sender with nothing in flight restarts from the initial window when its window opens late (freeze/dribble.ts).
 *            So the near endpoint is not shown the far peer's last ACKs at once: the bytes have arrived, nothing depends on
 *            the gateway, and their acknowledgement keeps the sender from looking idle, first here, then in the freeze.
 * Limits.    One record per flow of the scope, for as long as the lead lasts.
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { NOTE } from '../flow/note.ts';
import { FLOWING } from '../flow/phase.ts';
import type { Packet } from '../wire/packet.ts';
import { setAck, setWindow } from '../wire/rewrite.ts';
import { seqDiff, seqGt, seqLe, seqMax } from '../wire/seq.ts';
import { ACK, RST, SYN } from '../wire/tcp-flags.ts';
import type { FreezeContext } from './context.ts';
import { Custody } from './custody.ts';
import { dribble, endDribble, KEPT_SEGMENTS, MIN_SEGMENTS, startDribble } from './dribble.ts';
import { Easer } from './easing.ts';
import { Frozen } from './frozen.ts';

/** Both ends of the flow lie beyond the planned loss; nobody is left to be held. */
const BOTH = 3;

class Drain {
  readonly generation: number;
  readonly near: 0 | 1;
  /** What the freeze takes over; `shown` is the highest ACK that the near endpoint has seen. */
  readonly frozen: Frozen;
  /** Bytes whose acknowledgement is kept back; 0: none. */
  keep = 0;
  /** The acknowledgement is being kept back now. */
  isKeeping = false;
  /** TSecr of the first ACK that was kept back. */
  tsEcr = 0;

  constructor(generation: number, near: 0 | 1, frozen: Frozen) {
    this.generation = generation;
    this.near = near;
    this.frozen = frozen;
  }
}

/** What is going to be lost. */
export interface Lead {
  /** Bits of the endpoints of `flow` that will be beyond the loss: 1 originator, 2 responder; 0: not concerned. */
  lostMaskOf(flow: Flow): number;
}

export class Drainer {
  readonly #context: FreezeContext;
  readonly #leads = new Set<Lead>();
  readonly #drains = new Map<Flow, Drain>();
  readonly #easer: Easer;
  #showAt: Micros = NEVER;

  constructor(context: FreezeContext) {
    this.#context = context;
    this.#easer = new Easer(context);
  }

  /** When `run` has something to do. */
  get deadline(): Micros {
    return Math.min(this.#showAt, this.#easer.deadline);
  }

  /** Whether packets have to be shown to `onPacket`. */
  get isActive(): boolean {
    return this.#leads.size > 0 || this.#drains.size > 0 || this.#easer.isActive;
  }

  /**
   * The lead begins: every concerned flow is told a window of zero at both ends.
   * @returns number of flows that drain
   */
  begin(lead: Lead): number {
    this.#leads.add(lead);
    let count = 0;
    this.#context.table.forEach((flow) => {
      if (lead.lostMaskOf(flow) !== 0 && this.#drainOf(flow) !== null) count++;
    });
    return count;
  }

  /** The lead is over, and its flows are being frozen (`take`). */
  end(lead: Lead): void {
    this.#leads.delete(lead);
  }

  /** The freeze will not come after all: both ends of the concerned flows get their windows back. */
  cancel(lead: Lead): void {
    this.#leads.delete(lead);
    for (const [flow, drain] of this.#drains) {
      if (this.#leads.size > 0 && this.#maskOf(flow) !== 0) continue;
      this.#drains.delete(flow);
      if (!this.#isDraining(flow, drain)) continue;
      this.#tell(flow, 0, flow.halves[1].rcvNxt, false, null);
      this.#tell(flow, 1, flow.halves[0].rcvNxt, false, null);
    }
  }

  /** Every flow that was to be frozen is: forgets the records of those that were not. */
  settled(): void {
    if (this.#leads.size > 0) return;
    this.#drains.clear();
    this.#showAt = NEVER;
  }

  /** Whether a lead has shut both ends of the flow. */
  isShut(flow: Flow): boolean {
    const drain = this.#drains.get(flow);
    return drain !== undefined && this.#isDraining(flow, drain);
  }

  /**
   * The flow is being frozen.
   * @param near endpoint to be held
   * @returns the state to go on with where acknowledgements are kept back, else null
   */
  take(flow: Flow, near: 0 | 1): Frozen | null {
    const drain = this.#drains.get(flow);
    if (drain === undefined) return null;
    this.#drains.delete(flow);
    const { frozen } = drain;
    const una = flow.halves[near === 0 ? 1 : 0].rcvNxt;
    if (!this.#isDraining(flow, drain) || drain.near !== near || !drain.isKeeping) return null;
    frozen.custody.base = una;
    frozen.dribbleAt = NEVER;
    frozen.drained = true;
    return frozen;
  }

  /** The flow is about to be thawed. @returns raw window to offer its near endpoint */
  thawWindow(flow: Flow, now: Micros): number {
    return this.#easer.begin(flow, now);
  }

  /**
   * A segment of a flow in FLOWING passes; already tracked.
   * @returns false when it is to be consumed: an ACK that would say nothing new
   */
  onPacket(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): boolean {
    if ((packet.flags & (ACK | SYN | RST)) !== ACK || flow.phase !== FLOWING) return true;
    this.#easer.onPacket(flow, direction, packet);
    const drain = this.#drainOf(flow);
    if (drain === null) return true;
    const { note } = this.#context;
    note.code = NOTE.drained;
    setWindow(packet, 0);
    if (direction === drain.near || drain.keep === 0) return true;
    const { frozen } = drain;
    const endpoint = flow.halves[drain.near];
    // Blocks tell of a loss: the sender needs the true picture to mend it.
    if (packet.sackCount > 0 || endpoint.ambiguous) {
      frozen.shown = seqMax(frozen.shown, packet.ack);
      return true;
    }
    const limit = drain.isKeeping ? frozen.shown : seqMax(frozen.shown, (endpoint.sndNxt - drain.keep) | 0);
    if (seqLe(packet.ack, limit)) {
      frozen.shown = seqMax(frozen.shown, packet.ack);
      return true;
    }
    if (!drain.isKeeping) {
      drain.isKeeping = true;
      drain.tsEcr = packet.tsEcr;
      startDribble(frozen, endpoint.srtt, now);
      this.#showAt = Math.min(this.#showAt, frozen.dribbleAt);
    }
    const isNew = seqGt(limit, frozen.shown);
    frozen.shown = limit;
    if (!isNew && packet.segLength === 0) {
      note.code = NOTE['ack-kept'];
      return false;
    }
    setAck(packet, limit);
    return true;
  }

  /** Shows what is due of the acknowledgements that are kept back, and opens windows that are being eased open. */
  run(now: Micros): void {
    this.#easer.run(now);
    if (this.#showAt > now) return;
    let next = NEVER;
    for (const [flow, drain] of this.#drains) {
      const { frozen } = drain;
      if (frozen.dribbleAt === NEVER) continue;
      if (!this.#isDraining(flow, drain)) {
        this.#drains.delete(flow);
        continue;
      }
      if (frozen.dribbleAt <= now) this.#show(flow, drain, now);
      next = Math.min(next, frozen.dribbleAt);
    }
    this.#showAt = next;
  }

  #show(flow: Flow, drain: Drain, now: Micros): void {
    const { frozen } = drain;
    const { segmentSize, sndNxt, srtt, ambiguous } = flow.halves[drain.near];
    const una = flow.halves[drain.near === 0 ? 1 : 0].rcvNxt;
    if (seqDiff(una, frozen.shown) <= segmentSize && una !== sndNxt) {
      // A slow link is still bringing acknowledgements.
      frozen.dribbleAt = now + srtt / 2;
      return;
    }
    frozen.custody.base = una;
    if (ambiguous || dribble(frozen, segmentSize, now)) {
      endDribble(frozen);
      drain.isKeeping = false;
      drain.keep = 0;
    }
    this.#tell(flow, drain.near, frozen.shown, true, drain.tsEcr);
  }

  #maskOf(flow: Flow): number {
    let mask = 0;
    for (const lead of this.#leads) mask |= lead.lostMaskOf(flow);
    return mask;
  }

  #isDraining(flow: Flow, drain: Drain): boolean {
    return drain.generation === flow.generation && this.#context.table.isLive(flow) && flow.phase === FLOWING;
  }

  /** The record of a flow, made when it is first met: at the start, or when it appears or is given back meanwhile. */
  #drainOf(flow: Flow): Drain | null {
    const known = this.#drains.get(flow);
    if (known !== undefined && known.generation === flow.generation) return known;
    const [originator, responder] = flow.halves;
    if (flow.phase !== FLOWING || flow.lostMask !== 0 || flow.frozen !== null) return null;
    if (!originator.sndKnown || !responder.sndKnown || !originator.rcvKnown || !responder.rcvKnown) return null;
    const mask = this.#maskOf(flow);
    if (mask === 0) return null;
    const near = mask === 1 ? 1 : 0;
    const endpoint = flow.halves[near];
    const una = flow.halves[near === 0 ? 1 : 0].rcvNxt;
    const frozen = new Frozen(new Custody(this.#context.budget, una, flow.host), 0);
    frozen.shown = una;
    const drain = new Drain(flow.generation, near, frozen);
    const inFlight = seqDiff(endpoint.sndNxt, una);
    const { segmentSize, srtt } = endpoint;
    if (mask !== BOTH && srtt > 0 && segmentSize > 0 && inFlight >= MIN_SEGMENTS * segmentSize) {
      drain.keep = Math.min(KEPT_SEGMENTS, Math.floor(inFlight / segmentSize) - 1) * segmentSize;
    }
    this.#drains.set(flow, drain);
    flow.mayTalkPast = true;
    this.#tell(flow, 0, responder.rcvNxt, true, null);
    this.#tell(flow, 1, originator.rcvNxt, true, null);
    return drain;
  }

  /**
   * Tells endpoint `to` an ACK in its peer's name.
   * @param isShut window 0; else the peer's own window
   * @param tsEcr null: the newest TSval of the addressee
   */
  #tell(flow: Flow, to: 0 | 1, ack: number, isShut: boolean, tsEcr: number | null): void {
    const addressee = flow.halves[to];
    const from = to === 0 ? 1 : 0;
    const window = isShut ? 0 : flow.halves[from].rcvWnd;
    if (isShut) this.#context.counters[COUNTER.zeroWindowAcks]! += 1;
    const note = isShut ? NOTE.drain : NOTE['window-update'];
    this.#context.synthesizer.ack(flow, from, addressee.rcvNxt, ack, window, tsEcr ?? addressee.tsVal, note);
  }
}
