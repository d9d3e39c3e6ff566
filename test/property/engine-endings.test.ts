/**
 * Connections that end, and rules that end them: resets, hosts that restart, limits, classes, trickle, shares and denied custody,
 * over the random days of engine-outages. Whatever happens, no packet breaks an invariant, every byte that arrives is the right
 * one in the right place, connections that nobody ended are whole, and nothing stays frozen.
 *
 * TCPFREEZE_SIM_RUNS sets how many; TCPFREEZE_SIM_SEED where to begin.
 */
import { describe } from 'vitest';
import { seconds } from '../../src/base/time.ts';
import { withEndings } from '../sim/endings.ts';
import { runScenario } from '../sim/run.ts';
import { makeScenario } from '../sim/scenario.ts';
import { itForSeeds } from '../sim/seeds.ts';

const RUNS = Number(process.env.TCPFREEZE_SIM_RUNS ?? 60);
const FIRST = Number(process.env.TCPFREEZE_SIM_SEED ?? 1);
const SLICE = 250;

function failuresOf(seed: number): string[] {
  const { complaints } = runScenario(withEndings(makeScenario(seed), [], seconds(60)));
  if (complaints.length === 0) return [];
  return [`TCPFREEZE_SIM_SEED=${seed} TCPFREEZE_SIM_RUNS=1: ${complaints.slice(0, 3).join(' | ')}`];
}

describe('random endings', () => {
  itForSeeds('harm nobody else', { first: FIRST, count: RUNS, slice: SLICE, timeoutMillis: 600_000 }, failuresOf);
});
