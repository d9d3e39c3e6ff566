/**
 * Invariant 8, and with it 1, 2, 4, 5, 6 and the bounds of 7: any random schedule of traffic, loss, reordering and outages
 * ends, once the link is up, with every stream intact and no flow frozen. What the invariants forbid on the way is
 * judged by the observer and by the endpoints, packet by packet.
 *
 * TCPFREEZE_SIM_RUNS sets how many; TCPFREEZE_SIM_SEED where to begin, to repeat one; TCPFREEZE_SIM_EXPLAIN=1 makes a
 * failing run smaller and prints what is left of it, with its last packets.
 */
import { describe, expect, it } from 'vitest';
import { explain } from '../sim/explain.ts';
import { REGRESSIONS } from '../sim/regressions/seeds.ts';
import { runScenario } from '../sim/run.ts';
import { makeScenario } from '../sim/scenario.ts';
import { itForSeeds } from '../sim/seeds.ts';

const RUNS = Number(process.env.TCPFREEZE_SIM_RUNS ?? 250);
const FIRST = Number(process.env.TCPFREEZE_SIM_SEED ?? 1);
/** Pieces, so that a failure shows early and the reporter lives. */
const SLICE = 250;

function failuresOf(seed: number): string[] {
  const { complaints } = runScenario(makeScenario(seed));
  if (complaints.length === 0) return [];
  if (process.env.TCPFREEZE_SIM_EXPLAIN !== undefined) console.log(explain(makeScenario(seed)));
  return [`TCPFREEZE_SIM_SEED=${seed} TCPFREEZE_SIM_RUNS=1: ${complaints.slice(0, 3).join(' | ')}`];
}

describe('random outages', () => {
  itForSeeds('end with every stream intact', { first: FIRST, count: RUNS, slice: SLICE }, failuresOf);
});

describe('seeds that once failed', () => {
  it.each(REGRESSIONS)('$seed: $why', ({ seed }) => {
    expect(failuresOf(seed)).toEqual([]);
  });
});
