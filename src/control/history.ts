/**
 * The latest events, as the public JSON has them, and whoever follows them.
 */
import type { EngineEvent } from '../engine/commands.ts';

/** About 300 bytes each: 3 MB at most. */
export const HISTORY_CAPACITY = 10_000;

/** An event for people and programs: times ISO 8601, durations seconds. */
export interface EventJson {
  readonly time: string;
  readonly name: string;
  readonly message: string;
  readonly link?: string;
  readonly flow?: string;
  readonly reason?: string;
  readonly figures?: Readonly<Record<string, number>>;
}

/** @param time of the event on the wall clock */
export function toEventJson(event: Omit<EngineEvent, 'at'>, time: Date): EventJson {
  const { name, message, link, flow, reason, figures } = event;
  return {
    time: time.toISOString(),
    name,
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

export class EventHistory {
  readonly #ring: EventJson[] = [];
  readonly #capacity: number;
  /** Events ever recorded; the next one's place is this modulo the capacity. */
  #recorded = 0;
  readonly #listeners = new Set<(event: EventJson) => void>();

  /** @param capacity 1 or more; the oldest events make room */
  constructor(capacity: number = HISTORY_CAPACITY) {
    this.#capacity = capacity;
  }

  record(event: EventJson): void {
    this.#ring[this.#recorded % this.#capacity] = event;
    this.#recorded += 1;
    for (const listener of this.#listeners) listener(event);
  }

  /** Oldest first. */
  list(): EventJson[] {
    const start = this.#recorded % this.#capacity;
    return this.#recorded <= this.#capacity
      ? this.#ring.slice()
      : [...this.#ring.slice(start), ...this.#ring.slice(0, start)];
  }

  /** @returns the function that ends it */
  follow(listener: (event: EventJson) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
