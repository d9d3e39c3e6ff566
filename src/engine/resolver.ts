/**
 * Resolver: keeps address resolution from standing between a question and its answer.
 *
 * A neighbour that was lost for longer than its kernel entry lasts has FAILED. What is sent to it then waits for the kernel's
 * broadcasts, one a second (net/core/neighbour.c, retrans_time), and the first of them that it hears is what its return waits for: 0.5 s
 * on average, 1 s at worst (measured: a host that was plugged in again noticed after 1.0 to 1.1 s in every second run). So as
 * long as it is asked whether it is back, its entry is set to PROBE with the hardware address that it had: questions then go to
 * it directly for the 3 s until it FAILS again. In between the kernel has its broadcast, in case another device has
 * the address now.
 *
 * Limits. MAX_WAITING neighbours at a time; further ones are resolved by the kernel alone.
 */
import { type Micros, millis, NEVER } from '../base/time.ts';
import type { ResolveRequest } from '../link/events.ts';
import type { Neighbour } from '../link/neighbours.ts';

/** Between FAILED and PROBE: the next question makes the kernel broadcast, and this is for the answer. */
const BROADCAST: Micros = millis(300);
const MAX_WAITING = 64;

export class Resolver {
  readonly #waiting = new Map<Neighbour, Micros>();
  readonly #queue: ResolveRequest[] = [];
  readonly #nameOf: (port: number) => string;
  /** Whether the neighbour, or the link that it leads to, is being asked whether it is back. */
  isAsked: (neighbour: Neighbour) => boolean = () => false;
  deadline: Micros = NEVER;

  /** @param nameOf interface of a port */
  constructor(nameOf: (port: number) => string) {
    this.#nameOf = nameOf;
  }

  /** The kernel has given up on it. */
  onFailed(neighbour: Neighbour, now: Micros): void {
    if (neighbour.hardware === null || this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.set(neighbour, now + BROADCAST);
    this.deadline = Math.min(this.deadline, now + BROADCAST);
  }

  run(now: Micros): void {
    if (this.deadline > now) return;
    this.deadline = NEVER;
    for (const [neighbour, at] of this.#waiting) {
      if (at > now) {
        this.deadline = Math.min(this.deadline, at);
        continue;
      }
      this.#waiting.delete(neighbour);
      const { port, address, hardware, state } = neighbour;
      if (hardware === null || state !== 'failed' || !this.isAsked(neighbour)) continue;
      if (this.#queue.length < MAX_WAITING) this.#queue.push({ name: this.#nameOf(port), address, hardware });
    }
  }

  /** The next request for the shell, or undefined. */
  poll(): ResolveRequest | undefined {
    return this.#queue.shift();
  }
}
