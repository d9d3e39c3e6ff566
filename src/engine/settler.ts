/**
 * Settler: brings flows in line with what is lost. A link or scope that changes makes every flow be looked at again, in batches,
 * so that one event never blocks packets for long; a flow whose own situation changes is looked at alone.
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { CLOSING, FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { isFinished } from '../flow/tracker.ts';
import type { Drainer } from '../freeze/drain.ts';
import type { Freezer } from '../freeze/freeze.ts';
import type { Handback } from '../freeze/handback.ts';
import type { Pacer } from '../freeze/pacer.ts';
import type { Link } from '../link/monitor.ts';
import type { Admission } from './admission.ts';
import type { EventQueue } from './event-queue.ts';

/** Flows settled per call; a thousand freezes take a few milliseconds. */
const BATCH = 1_024;

export interface SettlerParts {
  readonly table: FlowTable;
  readonly admission: Admission;
  readonly freezer: Freezer;
  readonly handback: Handback;
  readonly drainer: Drainer;
  readonly counters: Float64Array;
  readonly events: EventQueue;
  pacerOf(port: number): Pacer;
  /** The flow's timers changed. */
  reschedule(flow: Flow): void;
}

export class Settler {
  readonly #parts: SettlerParts;
  /** Flows whose loss mask has to be looked at again. */
  #unsettled: Flow[] = [];

  constructor(parts: SettlerParts) {
    this.#parts = parts;
  }

  /** Whether `settleSome` has more to do. */
  get isPending(): boolean {
    return this.#unsettled.length > 0;
  }

  onVerdict(link: Link, now: Micros): void {
    this.#parts.events.push({
      at: now,
      name: link.isLost ? 'link-lost' : 'link-restored',
      message: link.isLost ? `link ${link.name} lost: ${link.reason}` : `link ${link.name} restored`,
      link: link.name,
      reason: link.reason,
    });
    this.#parts.pacerOf(link.port).aliveSince = NEVER;
    this.settleAll(now);
  }

  /** Looks at every flow again; the work beyond the first batch is done in later turns. */
  settleAll(now: Micros): void {
    this.#unsettled = [];
    this.#parts.table.forEach((flow) => {
      this.#unsettled.push(flow);
    });
    this.settleSome(now);
  }

  settleSome(now: Micros): void {
    const batch = this.#unsettled.splice(0, BATCH);
    const counters = this.#parts.counters;
    const before = [
      counters[COUNTER.freezes]!,
      counters[COUNTER.thaws]!,
      counters[COUNTER.custodyBytesTaken]!,
    ] as const;
    for (const flow of batch) if (this.#parts.table.isLive(flow)) this.settle(flow, now);
    const froze = counters[COUNTER.freezes]! - before[0];
    const thawed = counters[COUNTER.thaws]! - before[1];
    const bytes = counters[COUNTER.custodyBytesTaken]! - before[2];
    if (froze > 0) {
      const message = `${froze} flows frozen, ${bytes} bytes in custody`;
      this.#parts.events.push({ at: now, name: 'flows-frozen', message, figures: { flows: froze, bytes } });
    }
    if (thawed > 0) {
      this.#parts.events.push({
        at: now,
        name: 'flows-thawed',
        message: `${thawed} flows thawed`,
        figures: { flows: thawed },
      });
    }
  }

  /** Brings a flow's phase in line with what is lost now. */
  settle(flow: Flow, now: Micros): void {
    const mask = this.#parts.admission.lostMaskOf(flow);
    const was = flow.lostMask;
    flow.lostMask = mask;
    const isBack = flow.phase === FROZEN && (mask & (2 - flow.near)) === 0;
    if (isBack || (flow.phase === OPENING && was !== 0 && mask === 0)) {
      this.#parts.freezer.thaw(flow, now, this.#parts.drainer.thawWindow(flow, now));
    }
    if (mask === 0) {
      if (flow.phase === FLOWING && flow.frozen !== null) this.#parts.freezer.release(flow);
      return;
    }
    const isFarLost = (mask & (2 - flow.near)) !== 0;
    if (flow.phase === HANDBACK) {
      // Loss of the near side does not stop the delivery; the flow is looked at again when that is complete.
      if (isFarLost) {
        this.endHandback(flow, now);
        this.#parts.freezer.freeze(flow, flow.near, now);
      }
    } else if (flow.phase === FLOWING || flow.phase === OPENING) {
      if (flow.frozen !== null) return;
      const near = this.#parts.admission.nearOf(flow, mask);
      flow.frozen = this.#parts.drainer.take(flow, near);
      this.#parts.freezer.freeze(flow, near, now);
    } else if (flow.phase !== FROZEN) flow.near = this.#parts.admission.nearOf(flow, mask);
  }

  endHandback(flow: Flow, now: Micros): void {
    const summary = this.#parts.handback.end(flow, now);
    if (summary === null) return;
    this.#parts.events.push({
      at: now,
      name: 'handback-complete',
      message: `custody of ${summary.flows} flows delivered`,
      figures: { flows: summary.flows, bytes: summary.bytes, durationMicros: summary.micros },
    });
  }

  handedBack(flow: Flow, now: Micros): void {
    this.endHandback(flow, now);
    flow.frozenSince = NEVER;
    if (flow.phase === FLOWING && isFinished(flow)) flow.phase = CLOSING;
    this.#parts.reschedule(flow);
    this.settle(flow, now);
  }
}
