/** Random scenarios by number, in pieces: a failure shows early, and the reporter lives. */
import { expect, it } from 'vitest';

/** Complaints of so many seeds are enough to see what is wrong. */
const FAILING_MAX = 5;

export interface Seeds {
  readonly first: number;
  readonly count: number;
  /** Seeds per test. */
  readonly slice: number;
  /** Of one test; vitest's own where not given. */
  readonly timeoutMillis?: number;
}

/**
 * One test per slice of seeds.
 * @param what what every seed has to do
 * @param failuresOf runs one seed. @returns how to repeat it and what was wrong; nothing when all is well
 */
export function itForSeeds(what: string, seeds: Seeds, failuresOf: (seed: number) => readonly string[]): void {
  const end = seeds.first + seeds.count;
  for (let from = seeds.first; from < end; from += seeds.slice) {
    const to = Math.min(from + seeds.slice, end);
    it(`${what}: seeds ${from} to ${to - 1}`, { timeout: seeds.timeoutMillis }, () => {
      const failures: string[] = [];
      for (let seed = from; seed < to && failures.length < FAILING_MAX; seed++) failures.push(...failuresOf(seed));
      expect(failures).toEqual([]);
    });
  }
}
