/**
 * Easing: opening the window of a sender that was drained and has kept its congestion window (freeze/drain.ts). The path is empty,
 * so nothing clocks what it sends: offered the whole window, it would put all of it on the wire at once. Measured on Linux
 * 6.18 with CUBIC, a queue of 400 packets: cwnd 735, 235 of them lost. So the window grows at the rate at which the flow was
 * delivered before, from the gateway, until the far peer's own ACKs come round and take over.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { NOTE } from '../flow/note.ts';
import { FLOWING } from '../flow/phase.ts';
import type { Packet } from '../wire/packet.ts';
import { setWindow } from '../wire/rewrite.ts';
import { seqDiff } from '../wire/seq.ts';
import type { FreezeContext } from './context.ts';
import type { Frozen } from './frozen.ts';

/** Initial window of RFC 6928. */
const INITIAL_SEGMENTS = 10;
/** One step of the window; a sender's burst of that length fits every queue. */
const STEP: Micros = 4_000;
/** Without an ACK of the far peer for this long, more data would not help. */
const PATIENCE: Micros = 2_000_000;

interface Easing {
  readonly generation: number;
  readonly near: 0 | 1;
  /** The far peer's ACK at the thaw. */
  readonly una: number;
  readonly startedAt: Micros;
  /** Bytes beyond `una` that are offered now. */
  offered: number;
  nextAt: Micros;
}

export class Easer {
  readonly #context: FreezeContext;
  readonly #easings = new Map<Flow, Easing>();
  /** When `run` has something to do. */
  deadline: Micros = NEVER;

  constructor(context: FreezeContext) {
    this.#context = context;
  }

  get isActive(): boolean {
    return this.#easings.size > 0;
  }

  /**
   * The flow is about to be thawed.
   * @returns raw window to offer at the thaw: the far peer's own, or the beginning of it
   */
  begin(flow: Flow, now: Micros): number {
    const { near } = flow;
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    const frozen = flow.frozen as Frozen | null;
    // Or late ACKs have delivered all of its custody while it was being dribbled: it has kept its window as well.
    const hasKeptWindow = frozen !== null && (frozen.drained || frozen.dribbleAt !== NEVER);
    const isDrained = hasKeptWindow && frozen.custody.isEmpty && !frozen.denied && !frozen.nearReset;
    if (!isDrained || peer.rcvWndShift < 0 || endpoint.deliveryRate === 0) return peer.rcvWnd;
    const offered = INITIAL_SEGMENTS * endpoint.segmentSize;
    if (offered >= peer.windowBytes()) return peer.rcvWnd;
    const { generation } = flow;
    const nextAt = now + STEP;
    this.#easings.set(flow, { generation, near, una: peer.rcvNxt, startedAt: now, offered, nextAt });
    this.deadline = Math.min(this.deadline, nextAt);
    return offered >>> peer.rcvWndShift;
  }

  /** A segment of a flow in FLOWING passes; already tracked. */
  onPacket(flow: Flow, direction: 0 | 1, packet: Packet): void {
    const easing = this.#easings.get(flow);
    if (easing === undefined || direction === easing.near) return;
    if (!this.#isEasing(flow, easing)) {
      this.#easings.delete(flow);
      return;
    }
    const peer = flow.halves[direction];
    const room = Math.max(0, easing.offered - seqDiff(packet.ack, easing.una)) >>> peer.rcvWndShift;
    if (room >= packet.window) return;
    this.#context.note.code = NOTE.eased;
    setWindow(packet, room);
  }

  /** Opens the windows that are due a little further. */
  run(now: Micros): void {
    if (this.deadline > now) return;
    let next = NEVER;
    for (const [flow, easing] of this.#easings) {
      if (!this.#isEasing(flow, easing) || now - easing.startedAt > PATIENCE) {
        this.#easings.delete(flow);
        continue;
      }
      if (easing.nextAt <= now) this.#step(flow, easing, now);
      next = Math.min(next, easing.nextAt);
    }
    this.deadline = next;
  }

  #step(flow: Flow, easing: Easing, now: Micros): void {
    const { near } = easing;
    const far = near === 0 ? 1 : 0;
    const endpoint = flow.halves[near];
    const peer = flow.halves[far];
    easing.offered += endpoint.deliveryRate * (now - easing.nextAt + STEP);
    easing.nextAt = now + STEP;
    const whole = peer.windowBytes();
    const isWhole = easing.offered >= whole;
    if (isWhole) this.#easings.delete(flow);
    const window = isWhole ? peer.rcvWnd : easing.offered >>> peer.rcvWndShift;
    const note = NOTE['window-update'];
    this.#context.synthesizer.ack(flow, far, endpoint.rcvNxt, peer.rcvNxt, window, endpoint.tsVal, note);
  }

  /** Until the far peer has acknowledged something new, or the flow has gone another way. */
  #isEasing(flow: Flow, easing: Easing): boolean {
    if (easing.generation !== flow.generation || !this.#context.table.isLive(flow)) return false;
    return (
      flow.phase === FLOWING && flow.lostMask === 0 && flow.halves[easing.near === 0 ? 1 : 0].rcvNxt === easing.una
    );
  }
}
