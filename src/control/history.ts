/**
 * The latest events, as the public JSON has them, and whoever follows them.
 */
import { type EventName, eventKind, type Severity } from '../base/event-table.ts';
import type { EngineEvent } from '../engine/commands.ts';

/** About 300 bytes each: 3 MB at most. */
export const HISTORY_CAPACITY = 10_000;

/** Part of the capacity that events of severity debug may take: single flows must not push out what happened to links. */
const DEBUG_SHARE = 0.2;

/** An event for people and programs: times ISO 8601, durations seconds. */
export interface EventJson {
  readonly time: string;
  readonly name: EventName;
  /** Stable number of the name, and how much it matters: src/base/event-table.ts. */
  readonly code: number;
  readonly severity: Severity;
  readonly message: string;
  readonly link?: string;
  readonly flow?: string;
  readonly reason?: string;
  readonly figures?: Readonly<Record<string, number>>;
}

/** @param time of the event on the wall clock */
export function toEventJson(event: Omit<EngineEvent, 'at'>, time: Date): EventJson {
  const { name, message, link, flow, reason, figures } = event;
  const { code, severity } = eventKind(name);
  return {
    time: time.toISOString(),
    name,
    code,
    severity,
    message,
    ...(link === undefined ? {} : { link }),
    ...(flow === undefined ? {} : { flow }),
    ...(reason === undefined ? {} : { reason }),
    ...(figures === undefined ? {} : { figures: inSeconds(figures) }),
  };
}

/** Figures named `...Micros` become seconds under the shorter name; counts and bytes stay. */
function inSeconds(figures: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) =>
      name.endsWith('Micros') ? [name.slice(0, -'Micros'.length), value / 1e6] : [name, value],
    ),
  );
}

/** The newest events of one kind, each with its place in the order of all. */
class Ring {
  readonly #entries: { readonly order: number; readonly event: EventJson }[] = [];
  readonly #capacity: number;
  #recorded = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(order: number, event: EventJson): void {
    this.#entries[this.#recorded % this.#capacity] = { order, event };
    this.#recorded += 1;
  }

  get entries(): readonly { readonly order: number; readonly event: EventJson }[] {
    return this.#entries;
  }
}

export class EventHistory {
  readonly #debug: Ring;
  readonly #others: Ring;
  #recorded = 0;
  readonly #counts = new Map<string, number>();
  readonly #listeners = new Set<(event: EventJson) => void>();

  /** @param capacity 2 or more; the oldest events of a kind make room */
  constructor(capacity: number = HISTORY_CAPACITY) {
    const debug = Math.max(1, Math.floor(capacity * DEBUG_SHARE));
    this.#debug = new Ring(debug);
    this.#others = new Ring(capacity - debug);
  }

  record(event: EventJson): void {
    (event.severity === 'debug' ? this.#debug : this.#others).add(this.#recorded, event);
    this.#recorded += 1;
    const key = `${event.name} ${event.severity}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    for (const listener of this.#listeners) listener(event);
  }

  /** Oldest first. */
  list(): EventJson[] {
    const all = [...this.#debug.entries, ...this.#others.entries];
    return all.sort((a, b) => a.order - b.order).map(({ event }) => event);
  }

  /** How often each event was told, by `name severity`. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** @returns the function that ends it */
  follow(listener: (event: EventJson) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
