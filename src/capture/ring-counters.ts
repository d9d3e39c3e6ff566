/** Counters of one capture, in the ring's memory: the datapath counts, everybody reads. */

/** Interfaces that are told apart; further links of a larger router share the last one. */
export const INTERFACES_MAX = 32;

/** One value per interface each. */
const RING_COUNTERS = ['seen', 'accepted', 'dropped'] as const;
export const COUNT_SEEN = 0;
export const COUNT_ACCEPTED = 1;
export const COUNT_DROPPED = 2;
export type RingCounter = typeof COUNT_SEEN | typeof COUNT_ACCEPTED | typeof COUNT_DROPPED;

export const COUNTERS_BYTES_OF_RING: number = RING_COUNTERS.length * INTERFACES_MAX * 8;

/** Index of a counter. */
export function counterAt(counter: RingCounter, interfaceIndex: number): number {
  return counter * INTERFACES_MAX + interfaceIndex;
}

/** A counter over all interfaces. */
export function total(counters: Float64Array, counter: RingCounter): number {
  let sum = 0;
  for (let i = 0; i < INTERFACES_MAX; i++) sum += counters[counterAt(counter, i)]!;
  return sum;
}
