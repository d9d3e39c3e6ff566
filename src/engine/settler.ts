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
import type { Frozen } from '../freeze/frozen.ts';
import type { Handback } from '../freeze/handback.ts';
import type { Pacer } from '../freeze/pacer.ts';
import type { Link } from '../link/monitor.ts';
import type { Admission } from './admission.ts';
import type { Chronicle } from './chronicle.ts';
import type { EventQueue } from './event-queue.ts';
import type { Rulebook } from './rulebook.ts';

/** Flows settled per call; a thousand freezes take a few milliseconds. */
const BATCH = 1_024;

export interface SettlerParts {
  readonly table: FlowTable;
  readonly admission: Admission;
  readonly freezer: Freezer;
  readonly handback: Handback;
  readonly drainer: Drainer;
  readonly rulebook: Rulebook;
  readonly counters: Float64Array;
  readonly events: EventQueue;
  readonly chronicle: Chronicle;
  pacerOf(port: number): Pacer;
  /** The flow's timers changed. */
  reschedule(flow: Flow): void;
}

export class Settler {
  readonly #parts: SettlerParts;
  /** Flows whose loss mask has to be looked at again. */
  #unsettled: Flow[] = [];
  /** Freezes, thaws, bytes taken and refusals since the last summary. */
  #sum = [0, 0, 0, 0];

  constructor(parts: SettlerParts) {
    this.#parts = parts;
  }

  /** Whether `settleSome` has more to do. */
  get isPending(): boolean {
    return this.#unsettled.length > 0;
  }

  /** The verdict on a link has changed. */
  onLink(link: Link, now: Micros): void {
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
    const before = this.#tally();
    for (const flow of batch) if (this.#parts.table.isLive(flow)) this.settle(flow, now);
    this.#tally().forEach((count, i) => {
      this.#sum[i]! += count - before[i]!;
    });
    if (!this.isPending) this.#summarize(now);
  }

  #tally(): readonly number[] {
    const { counters } = this.#parts;
    return [COUNTER.freezes, COUNTER.thaws, COUNTER.custodyBytesTaken, COUNTER.custodyRefused].map((i) => counters[i]!);
  }

  /** One event for all flows of a change, however many they are. */
  #summarize(at: Micros): void {
    const { events, chronicle } = this.#parts;
    const [froze = 0, thawed = 0, bytes = 0, denied = 0] = this.#sum;
    this.#sum = [0, 0, 0, 0];
    if (froze > 0) {
      const without = denied > 0 ? `, ${denied} flows without custody` : '';
      const message = `${froze} flows frozen, ${bytes} bytes in custody${without}`;
      const figures = { flows: froze, bytes, ...(denied > 0 ? { denied } : {}) };
      events.push({ at, name: 'flows-frozen', message, figures });
    }
    if (thawed > 0) {
      events.push({ at, name: 'flows-thawed', message: `${thawed} flows thawed`, figures: { flows: thawed } });
    }
    chronicle.ownUp(at);
  }

  /** Brings a flow's phase in line with what is lost now. */
  settle(flow: Flow, now: Micros): void {
    const mask = this.#parts.admission.lostMaskOf(flow);
    const was = flow.lostMask;
    flow.lostMask = mask;
    const isBack = flow.phase === FROZEN && (mask & (2 - flow.near)) === 0;
    if (isBack || (flow.phase === OPENING && was !== 0 && mask === 0)) {
      this.#thaw(flow, now);
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
        this.#freeze(flow, flow.near, now);
      }
    } else if (flow.phase === FLOWING || flow.phase === OPENING) {
      if (flow.frozen !== null) return;
      // The rules may have changed since the flow began.
      if (flow.edition !== this.#parts.rulebook.edition) this.#parts.rulebook.assign(flow, this.#parts.table.keys);
      if (!flow.terms.freeze) {
        this.#parts.admission.bypass(flow, 'policy', now);
        return;
      }
      const near = this.#parts.admission.nearOf(flow, mask);
      const isShut = this.#parts.drainer.isShut(flow);
      flow.frozen = this.#parts.drainer.take(flow, near);
      this.#freeze(flow, near, now);
      if (isShut && flow.frozen !== null) (flow.frozen as Frozen).isShut = true;
    } else if (flow.phase !== FROZEN) flow.near = this.#parts.admission.nearOf(flow, mask);
  }

  #freeze(flow: Flow, near: 0 | 1, now: Micros): void {
    this.#parts.freezer.freeze(flow, near, now);
    if (flow.phase !== FROZEN) return;
    const cause = this.#parts.admission.causeOf(flow, near);
    (flow.frozen as Frozen).cause = cause;
    this.#parts.chronicle.frozen(flow, cause, now);
  }

  #thaw(flow: Flow, now: Micros): void {
    const frozen = flow.frozen as Frozen | null;
    const wasFrozen = flow.phase === FROZEN;
    const since = flow.frozenSince;
    this.#parts.freezer.thaw(flow, now, this.#parts.drainer.thawWindow(flow, now));
    if (frozen === null || !wasFrozen) return;
    frozen.thawedAt = now;
    this.#parts.chronicle.thawed(flow, frozen.cause, since, frozen.custodyBytes, now);
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

  handedBack(flow: Flow, since: Micros, now: Micros): void {
    this.#parts.chronicle.handedBack(flow, since, now);
    this.endHandback(flow, now);
    flow.frozenSince = NEVER;
    if (flow.phase === FLOWING && isFinished(flow)) flow.phase = CLOSING;
    this.#parts.reschedule(flow);
    this.settle(flow, now);
  }
}
