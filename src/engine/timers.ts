/**
 * Deadlines of flows: a binary heap of flows ordered by `flow.deadline`, each knowing its place. Only flows that wait for
 * something are in it, so an idle table costs nothing.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';

export class FlowTimers {
  readonly #heap: Flow[] = [];

  /** Earliest deadline, NEVER when none. */
  get next(): Micros {
    return this.#heap[0]?.deadline ?? NEVER;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Sets or clears (NEVER) a flow's deadline. */
  set(flow: Flow, deadline: Micros): void {
    const at = flow.heapIndex;
    if (at < 0) {
      if (deadline === NEVER) return;
      flow.deadline = deadline;
      this.#heap.push(flow);
      this.#up(this.#heap.length - 1, flow);
      return;
    }
    if (deadline === NEVER) {
      flow.deadline = NEVER;
      flow.heapIndex = -1;
      const last = this.#heap.pop()!;
      if (last !== flow) this.#place(at, last);
      return;
    }
    flow.deadline = deadline;
    this.#place(at, flow);
  }

  /** The flow whose deadline is due at `now`, or null; it stays until its deadline is set anew. */
  due(now: Micros): Flow | null {
    const flow = this.#heap[0];
    return flow !== undefined && flow.deadline <= now ? flow : null;
  }

  #place(at: number, flow: Flow): void {
    const parent = this.#heap[(at - 1) >> 1];
    if (at > 0 && parent !== undefined && parent.deadline > flow.deadline) this.#up(at, flow);
    else this.#down(at, flow);
  }

  #up(from: number, flow: Flow): void {
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#heap[parentAt]!;
      if (parent.deadline <= flow.deadline) break;
      this.#heap[at] = parent;
      parent.heapIndex = at;
      at = parentAt;
    }
    this.#heap[at] = flow;
    flow.heapIndex = at;
  }

  #down(from: number, flow: Flow): void {
    let at = from;
    const count = this.#heap.length;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= count) break;
      const right = childAt + 1;
      if (right < count && this.#heap[right]!.deadline < this.#heap[childAt]!.deadline) childAt = right;
      const child = this.#heap[childAt]!;
      if (child.deadline >= flow.deadline) break;
      this.#heap[at] = child;
      child.heapIndex = at;
      at = childAt;
    }
    this.#heap[at] = flow;
    flow.heapIndex = at;
  }
}
