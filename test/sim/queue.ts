/**
 * The clock of the simulation: a binary heap of things to do, ordered by time and, at equal times, by insertion.
 * Time only moves when the next thing is taken out, so a day of outages costs what its packets cost.
 */
import { type Micros, NEVER } from '../../src/base/time.ts';

interface Entry {
  readonly at: Micros;
  readonly order: number;
  readonly run: () => void;
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export class EventQueue {
  now: Micros = 0;
  #heap: Entry[] = [];
  #order = 0;

  /** Have `run` called at `at`, in whole microseconds; a time in the past means now, because time never goes back. */
  schedule(at: Micros, run: () => void): void {
    if (at === NEVER) return;
    const entry: Entry = { at: Math.max(Math.ceil(at), this.now), order: this.#order++, run };
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  /** When the next thing happens, NEVER if nothing is left. */
  nextAt(): Micros {
    return this.#heap[0]?.at ?? NEVER;
  }

  /** Advance to the next thing and do it. Returns false if there was none. */
  step(): boolean {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined) return false;
    if (heap.length > 0) {
      let index = 0;
      for (;;) {
        let child = 2 * index + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
        if (!isBefore(heap[child]!, last)) break;
        heap[index] = heap[child]!;
        index = child;
      }
      heap[index] = last;
    }
    this.now = top.at;
    top.run();
    return true;
  }
}
