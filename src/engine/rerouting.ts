/**
 * Rerouting: connections follow the routes. A flow learns the links of its endpoints when it is admitted; when routes change (a
 * default route switches to the other uplink, a prefix moves behind another interface) it is looked at again, so that a
 * flow held for a lost link goes on over the one that serves it now, and the loss of that one is a loss for it.
 *
 * Not where addresses are translated: such a connection belongs to the uplink whose address it got, and over another
 * one the far peer would answer with a reset. It waits for its own.
 */
import { type Micros, millis, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { BYPASS, CLOSING, HANDBACK } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import type { PortConfig } from './config.ts';
import type { EventQueue } from './event-queue.ts';
import type { Settler } from './settler.ts';

/** Routes change in bursts, a whole table at a time; this long after the first change they are taken as they are. */
const BURST: Micros = millis(100);

export class Rerouting {
  readonly #table: FlowTable;
  readonly #monitor: LinkMonitor;
  readonly #events: EventQueue;
  readonly #settler: Settler;
  /** By port. */
  readonly #isTranslated: readonly boolean[];
  #version = 0;
  deadline: Micros = NEVER;

  /** @param ports in the order of the monitor's links */
  constructor(
    table: FlowTable,
    monitor: LinkMonitor,
    events: EventQueue,
    settler: Settler,
    ports: readonly PortConfig[],
  ) {
    this.#table = table;
    this.#monitor = monitor;
    this.#events = events;
    this.#settler = settler;
    this.#isTranslated = ports.map((port) => port.role === 'wan' && port.isTranslated === true);
  }

  /** A route was added or removed. */
  onRoute(now: Micros): void {
    if (this.#monitor.routes.version !== this.#version) this.deadline = Math.min(this.deadline, now + BURST);
  }

  run(now: Micros): void {
    if (this.deadline > now) return;
    this.deadline = NEVER;
    this.#version = this.#monitor.routes.version;
    let moved = 0;
    this.#table.forEach((flow) => {
      if (flow.phase === CLOSING || flow.phase === BYPASS) return;
      if (!this.#isMoved(flow)) return;
      // What is being delivered is delivered first; its pace is that of the link it began on.
      if (flow.phase === HANDBACK) this.deadline = now + BURST;
      else if (this.#move(flow)) moved++;
    });
    if (moved === 0) return;
    const message = `${moved} connections go over another link now`;
    this.#events.push({ at: now, name: 'flows-rerouted', message, figures: { flows: moved } });
    this.#settler.settleAll(now);
  }

  #isMoved(flow: Flow): boolean {
    return this.#portOf(flow, 0) !== flow.halves[0].port || this.#portOf(flow, 1) !== flow.halves[1].port;
  }

  #move(flow: Flow): boolean {
    const ports = [this.#portOf(flow, 0), this.#portOf(flow, 1)] as const;
    // Both ends behind the same link: the routes are half-way between two states.
    if (ports[0] >= 0 && ports[0] === ports[1]) return false;
    for (const half of [0, 1] as const) flow.halves[half].port = ports[half];
    return true;
  }

  /** The link that an endpoint lies behind now; the one that it was behind where nothing says so, or where it may not leave it. */
  #portOf(flow: Flow, half: 0 | 1): number {
    const before = flow.halves[half].port;
    const at = flow.index * KEY_WORDS + 4 * half;
    const now = this.#monitor.routes.lookup(flow.family, this.#table.keys, at);
    if (now < 0 || before < 0) return before < 0 ? now : before;
    const isBound = flow.family === 4 && (this.#isTranslated[before] === true || this.#isTranslated[now] === true);
    return isBound ? before : now;
  }
}
