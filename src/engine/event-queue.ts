/** Events waiting for the shell; bounded, because a flood of events must not become a flood of memory. */
import type { EngineEvent } from './commands.ts';

const CAPACITY = 4_096;

export class EventQueue {
  readonly #events: EngineEvent[] = [];
  #dropped = 0;

  push(event: EngineEvent): void {
    if (this.#events.length < CAPACITY) this.#events.push(event);
    else this.#dropped++;
  }

  shift(): EngineEvent | undefined {
    const event = this.#events.shift();
    if (event !== undefined && this.#events.length === 0 && this.#dropped > 0) {
      this.#events.push({
        at: event.at,
        name: 'events-dropped',
        message: `${this.#dropped} events were dropped because nobody took them`,
        figures: { events: this.#dropped },
      });
      this.#dropped = 0;
    }
    return event;
  }
}
