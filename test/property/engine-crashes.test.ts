/**
 * Invariant 8 with restarts: the gateway's process dies at any moment, the journal keeps what was synced and any part of the rest, the
 * kernel forwards until the next process takes over, and still every stream arrives intact and nothing is left frozen. Each
 * scenario is one of the random outages, with crashes thrown in; invariant 1 is judged packet by packet throughout.
 *
 * TCPFREEZE_CRASH_RUNS sets how many, TCPFREEZE_CRASH_SEED where to begin, TCPFREEZE_SIM_EXPLAIN=1 shows the last packets.
 */
import { describe } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { millis, seconds } from '../../src/base/time.ts';
import type { Network } from '../sim/network.ts';
import { runScenario } from '../sim/run.ts';
import { makeScenario, type Scenario } from '../sim/scenario.ts';
import { itForSeeds } from '../sim/seeds.ts';
import { traceInto } from '../sim/trace.ts';

const RUNS = Number(process.env.TCPFREEZE_CRASH_RUNS ?? 60);
const FIRST = Number(process.env.TCPFREEZE_CRASH_SEED ?? 1);
const SLICE = 50;
const LINES_MAX = 400_000;

/** One to four crashes, most of them while something is held or handed back. */
function planCrashes(network: Network, scenario: Scenario): void {
  const dice = new Prng(scenario.seed ^ 0x5eed);
  for (let left = 1 + dice.nextBelow(4); left > 0; left--) {
    const outage = scenario.outages[dice.nextBelow(scenario.outages.length)]!;
    const places = [
      outage.at + outage.noticed + dice.nextBelow(millis(20)),
      outage.at + dice.nextFloat() * outage.lasts,
      outage.at + Math.max(outage.lasts, outage.noticed) + dice.nextBelow(millis(300)),
      dice.nextFloat() * seconds(10),
    ];
    const at = Math.round(places[dice.nextBelow(places.length)]!);
    const down = dice.nextBelow(2) === 0 ? dice.nextBelow(millis(300)) : dice.nextBelow(seconds(4));
    network.at(at, () => network.crash(down));
  }
}

function failuresOf(seed: number): string[] {
  const made = makeScenario(seed);
  const scenario = { ...made, engine: { ...made.engine, journal: true } };
  const lines: string[] = [];
  const isExplaining = process.env.TCPFREEZE_SIM_EXPLAIN !== undefined;
  const { complaints, network } = runScenario(scenario, {
    prepare: (network) => {
      planCrashes(network, scenario);
      if (isExplaining) traceInto(network, lines, LINES_MAX);
    },
  });
  if (complaints.length === 0) return [];
  if (isExplaining) {
    const at = Number(/^\d+/.exec(complaints[0] ?? '')?.[0] ?? network.now) / 1e6;
    const until = lines.findIndex((line) => Number.parseFloat(line) > at);
    console.log(JSON.stringify(scenario));
    for (const event of network.gateway?.events ?? []) console.log(`${event.at} us ${event.name} ${event.message}`);
    console.log(
      lines.slice(Math.max(0, (until < 0 ? lines.length : until) - 80), until < 0 ? undefined : until + 5).join('\n'),
    );
  }
  return [`TCPFREEZE_CRASH_SEED=${seed} TCPFREEZE_CRASH_RUNS=1: ${complaints.slice(0, 3).join(' | ')}`];
}

describe('crashes at random moments', () => {
  itForSeeds('end with every stream intact', { first: FIRST, count: RUNS, slice: SLICE }, failuresOf);
});
