/**
 * Chronicle: what is told of single flows. Their transitions become events of severity debug, at a bounded rate, because one
 * link takes thousands of flows along; what is left out is counted and owned up to. Durations go into histograms.
 */
import type { EventName } from '../base/event-table.ts';
import { type BypassReason, FAMILY, type LossCause, observe } from '../base/figures.ts';
import { MICROS_PER_SECOND, type Micros, NEVER, seconds } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { EventQueue } from './event-queue.ts';

/** Events of single flows per second, and how many may be saved up. */
const FLOW_EVENTS_PER_SECOND = 200;
/** Data later than this after a thaw says nothing about the thaw. */
const FIRST_BYTE_WITHIN: Micros = seconds(10);
/** A limit that was reached is told at most this often. */
const LIMIT_INTERVAL: Micros = seconds(10);
/** Losses of connections that come together are told together. */
const GATHER: Micros = seconds(1);

/** What is worth a line in the log, but one for all connections that it happens to. */
const GATHERED: Readonly<Partial<Record<EventName, readonly [name: EventName, what: string]>>> = {
  'flow-given-up': ['flows-given-up', 'frozen connections were given up'],
  'flow-timed-out': ['flows-timed-out', 'near endpoints gave up while they were frozen'],
  'flow-reset': ['flows-undeliverable', 'far peers have reset connections that were held'],
};

/** Happenings of one kind since `since`. */
interface Gathered {
  readonly name: EventName;
  readonly what: string;
  readonly since: Micros;
  flows: number;
  bytes: number;
}

/** How often a limit was reached since it was told. */
interface Reached {
  count: number;
  toldAt: Micros;
}

export class Chronicle {
  readonly #counters: Float64Array;
  readonly #events: EventQueue;
  #allowance = FLOW_EVENTS_PER_SECOND;
  #allowanceAt: Micros = 0;
  #leftOut = 0;
  readonly #table: Reached = { count: 0, toldAt: -NEVER };
  readonly #hosts: Reached = { count: 0, toldAt: -NEVER };
  readonly #forgeries: Reached = { count: 0, toldAt: -NEVER };
  readonly #newcomers: Reached = { count: 0, toldAt: -NEVER };
  readonly #gathered = new Map<EventName, Gathered>();
  /** When `run` has something to tell. */
  deadline: Micros = NEVER;

  constructor(counters: Float64Array, events: EventQueue) {
    this.#counters = counters;
    this.#events = events;
  }

  frozen(flow: Flow, cause: LossCause, now: Micros): void {
    this.#counters[FAMILY.freezes[cause]]! += 1;
    flow.thawedAt = NEVER;
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null || !this.#mayTell(now)) return;
    const bytes = frozen.custodyBytes;
    const near = flow.near === 0 ? 'originator' : 'responder';
    const message = frozen.denied
      ? `its ${near} waits without custody: ${frozen.inFlight} bytes in flight are not held`
      : `its ${near} waits, ${bytes} bytes in custody`;
    this.#tell(frozen.denied ? 'flow-denied' : 'flow-frozen', flow, message, { bytes }, now, cause);
  }

  /** The loss is over. @param since when the flow was frozen; @param bytes custody that is to be delivered now */
  thawed(flow: Flow, cause: LossCause, since: Micros, bytes: number, now: Micros): void {
    this.#counters[FAMILY.thaws[cause]]! += 1;
    flow.thawedAt = now;
    const outage = now - since;
    observe(this.#counters, 'freezeDuration', outage);
    if (!this.#mayTell(now)) return;
    const message = `thawed after ${(outage / MICROS_PER_SECOND).toFixed(3)} s, ${bytes} bytes to deliver`;
    this.#tell('flow-thawed', flow, message, { bytes, outageMicros: outage }, now, cause);
  }

  /** The last byte of custody was acknowledged. @param since when the handback began */
  handedBack(flow: Flow, since: Micros, now: Micros): void {
    observe(this.#counters, 'handbackDuration', now - since);
    if (!this.#mayTell(now)) return;
    const message = `custody delivered within ${((now - since) / MICROS_PER_SECOND).toFixed(3)} s`;
    this.#tell('flow-handed-back', flow, message, { durationMicros: now - since }, now);
  }

  /** Bytes get through again: custody was acknowledged, or the far peer sent data. Counts once per thaw. */
  arrived(flow: Flow, now: Micros): void {
    const elapsed = now - flow.thawedAt;
    flow.thawedAt = NEVER;
    if (elapsed >= 0 && elapsed <= FIRST_BYTE_WITHIN) observe(this.#counters, 'firstByte', elapsed);
  }

  bypassed(flow: Flow, reason: BypassReason, now: Micros): void {
    this.#counters[FAMILY.bypasses[reason]]! += 1;
    if (this.#mayTell(now)) this.#tell('flow-bypassed', flow, `left alone: ${reason}`, undefined, now, reason);
  }

  /** Anything else about one flow. */
  report(name: EventName, flow: Flow, message: string, figures: Readonly<Record<string, number>>, now: Micros): void {
    const gathered = GATHERED[name];
    if (gathered !== undefined) this.#gather(gathered[0], gathered[1], figures.bytes ?? 0, now);
    if (this.#mayTell(now)) this.#tell(name, flow, message, figures, now);
  }

  #gather(name: EventName, what: string, bytes: number, now: Micros): void {
    let entry = this.#gathered.get(name);
    if (entry === undefined) {
      entry = { name, what, since: now, flows: 0, bytes: 0 };
      this.#gathered.set(name, entry);
      this.deadline = Math.min(this.deadline, now + GATHER);
    }
    entry.flows += 1;
    entry.bytes += bytes;
  }

  /** Tells what was gathered long enough. */
  run(now: Micros): void {
    if (this.deadline > now) return;
    this.deadline = NEVER;
    for (const [key, { name, what, since, flows, bytes }] of this.#gathered) {
      if (now - since < GATHER) {
        this.deadline = Math.min(this.deadline, since + GATHER);
        continue;
      }
      this.#gathered.delete(key);
      const message = `${flows} ${what}, ${bytes} bytes undelivered`;
      this.#events.push({ at: now, name, message, figures: { flows, bytes } });
    }
    this.ownUp(now);
  }

  /** There was no room for a new flow. */
  refused(now: Micros): void {
    const flows = reached(this.#table, now);
    if (flows === 0) return;
    const message = `the flow table is full: ${flows} new connections are forwarded untracked (limits.maxFlows)`;
    this.#events.push({ at: now, name: 'flow-table-full', message, figures: { flows } });
  }

  /** A host has as many flows as it may have. */
  refusedHost(now: Micros): void {
    const flows = reached(this.#hosts, now);
    if (flows === 0) return;
    const message = `a host's share is used up: ${flows} new connections are forwarded untracked (limits.flowsPerHost)`;
    this.#events.push({ at: now, name: 'host-share-full', message, figures: { flows } });
  }

  /** A segment that cannot be of its connection was dropped: there are too many of them. */
  droppedForgery(now: Micros): void {
    const packets = reached(this.#forgeries, now);
    if (packets === 0) return;
    const message = `a flood of segments that cannot be of their connections: ${packets} dropped`;
    this.#events.push({ at: now, name: 'forgeries-dropped', message, figures: { packets } });
  }

  /** A new connection is not tracked before it shows a second segment. */
  deferred(now: Micros): void {
    const packets = reached(this.#newcomers, now);
    if (packets === 0) return;
    const message = `a flood of new connections: ${packets} first segments were not tracked`;
    this.#events.push({ at: now, name: 'newcomers-deferred', message, figures: { packets } });
  }

  /** Says how many events were left out, if any were. */
  ownUp(now: Micros): void {
    if (this.#leftOut === 0) return;
    const message = `${this.#leftOut} events of single flows were left out`;
    this.#events.push({ at: now, name: 'flow-events-left-out', message, figures: { events: this.#leftOut } });
    this.#leftOut = 0;
  }

  #mayTell(now: Micros): boolean {
    const earned = ((now - this.#allowanceAt) / MICROS_PER_SECOND) * FLOW_EVENTS_PER_SECOND;
    this.#allowance = Math.min(FLOW_EVENTS_PER_SECOND, this.#allowance + earned);
    this.#allowanceAt = now;
    // Some room is kept until the flood is over, so that it is owned up to in one event.
    if (this.#allowance < 1 || (this.#leftOut > 0 && this.#allowance < FLOW_EVENTS_PER_SECOND / 2)) {
      this.#leftOut += 1;
      return false;
    }
    this.ownUp(now);
    this.#allowance -= 1;
    return true;
  }

  #tell(
    name: EventName,
    flow: Flow,
    message: string,
    figures: Readonly<Record<string, number>> | undefined,
    at: Micros,
    reason?: string,
  ): void {
    const event = { at, name, message, flow: flow.id };
    this.#events.push({
      ...event,
      ...(reason === undefined ? {} : { reason }),
      ...(figures === undefined ? {} : { figures }),
    });
  }
}

/** Counts, and returns what is to be told now, or 0. */
function reached(limit: Reached, now: Micros): number {
  limit.count += 1;
  if (now - limit.toldAt < LIMIT_INTERVAL) return 0;
  const { count } = limit;
  limit.count = 0;
  limit.toldAt = now;
  return count;
}
