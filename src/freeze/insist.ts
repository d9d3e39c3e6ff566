/**
 * Insisting: what has to reach the far peer at link-up and has no sender any more that would repeat it: the RST of a connection that
 * ended during the outage, and a SYN that was parked. Right after a link event the path may carry nothing yet (measured: an RST
 * sent in the millisecond of link-up was lost whenever the next hop had to be resolved again), so it is repeated on the
 * schedule of the wake-up until one was sent after the path was known to carry packets.
 */
import type { Micros } from '../base/time.ts';

/** Repetitions after link-up. */
const ROUNDS: readonly Micros[] = [100_000, 300_000, 700_000, 1_500_000, 3_100_000];

export class Insist {
  /** An RST is due. */
  readonly reset: boolean;
  /** A SYN, sent after it. */
  readonly syn: Uint8Array | null;
  nextAt: Micros;
  sentAt: Micros;
  readonly #startedAt: Micros;
  #round = 0;

  constructor(reset: boolean, syn: Uint8Array | null, now: Micros) {
    this.reset = reset;
    this.syn = syn;
    this.#startedAt = now;
    this.sentAt = now;
    this.nextAt = now + ROUNDS[0]!;
  }

  /**
   * It was sent again.
   * @returns false when that was the last time
   */
  again(now: Micros): boolean {
    this.sentAt = now;
    this.#round++;
    const next = ROUNDS[this.#round];
    if (next === undefined) return false;
    this.nextAt = Math.max(now + 1_000, this.#startedAt + next);
    return true;
  }
}
