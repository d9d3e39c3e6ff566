/**
 * Connections that end, and rules that end them: resets, hosts that restart, limits, classes, trickle, shares and denied custody,
 * over the random days of engine-outages. Whatever happens, no packet breaks an invariant, every byte that arrives is the right
 * one in the right place, connections that nobody ended are whole, and nothing stays frozen.
 *
 * TCPFREEZE_SIM_RUNS sets how many; TCPFREEZE_SIM_SEED where to begin.
 */
import { describe } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { type Micros, NEVER, seconds } from '../../src/base/time.ts';
import { DEFAULT_RULE, FLOW_CLASSES, GIVE_UP_STYLES, type PolicyRule, PRIORITIES } from '../../src/policy/policy.ts';
import { runScenario } from '../sim/run.ts';
import { makeScenario, type Scenario } from '../sim/scenario.ts';
import { itForSeeds } from '../sim/seeds.ts';

const RUNS = Number(process.env.TCPFREEZE_SIM_RUNS ?? 100);
const FIRST = Number(process.env.TCPFREEZE_SIM_SEED ?? 1);
const SLICE = 250;

function ending(seed: number): Scenario {
  const scenario = makeScenario(seed);
  const prng = new Prng(seed ^ 0x5eed);
  const chance = (probability: number): boolean => prng.nextFloat() < probability;
  const pick = <T>(choices: readonly T[]): T => choices[prng.nextBelow(choices.length)]!;
  const spread = (low: Micros, high: Micros): Micros => Math.floor(low * (high / low) ** prng.nextFloat());
  const rule = (match: PolicyRule['match']): PolicyRule => ({
    ...DEFAULT_RULE,
    match,
    freeze: chance(0.95),
    class: pick(FLOW_CLASSES),
    priority: pick(PRIORITIES),
    maxOutage: chance(0.3) ? spread(seconds(0.05), seconds(60)) : null,
    keep: spread(seconds(0.1), seconds(30)),
    custody: chance(0.85),
    wakeup: chance(0.8),
    trickle: chance(0.4) ? spread(seconds(0.2), seconds(8)) : pick(['auto', 'off']),
    parkSyn: chance(0.8),
    giveUp: pick(GIVE_UP_STYLES),
  });
  const policy = scenario.flows.map(({ lanPort }) => rule({ port: [{ from: lanPort ?? 1, to: lanPort ?? 65_535 }] }));
  const engine = {
    ...scenario.engine,
    policy,
    ports: scenario.engine.ports.map((port) =>
      chance(0.1) ? { ...port, maxOutage: spread(seconds(0.1), seconds(60)) } : port,
    ),
    custodyBytesTotal: chance(0.3) ? spread(2_000, 400_000) : scenario.engine.custodyBytesTotal,
    ...(chance(0.2) ? { flowsPerHost: prng.nextBelow(3) + 1 } : {}),
    parkedSyns: chance(0.2) ? 1 : 16,
  };
  const flows = scenario.flows.map((flow) => {
    if (!chance(0.6)) return flow;
    const end = { abortsAt: spread(seconds(0.02), seconds(60)), vanishes: chance(0.5) };
    return chance(0.5) ? { ...flow, lan: { ...flow.lan, ...end } } : { ...flow, wan: { ...flow.wan, ...end } };
  });
  return { ...scenario, engine, flows };
}

function failuresOf(seed: number): string[] {
  const scenario = ending(seed);
  const { network, complaints } = runScenario(scenario);
  // What runScenario says of connections that were ended on purpose is no complaint; everything else is.
  const ended = new Set<string>();
  const { gateway } = network;
  const abandoned = gateway?.events.some(({ name }) => name === 'flow-given-up') === true;
  network.flows.forEach((flow, i) => {
    const isEnded = [flow.lan, flow.wan].some((end) => end.config.abortsAt !== NEVER);
    // Without custody or tracking the gateway promises nothing but not to harm; a limit ends what it reaches.
    if (isEnded || abandoned) for (const side of ['lan', 'wan']) ended.add(`${side}${i} `);
  });
  const isExpected = (line: string): boolean =>
    [...ended].some((name) => line.startsWith(name)) && /failed: |sent \d+, \d+ arrived|never finished/.test(line);
  const found = complaints.filter((line) => !isExpected(line));
  return found.length === 0
    ? []
    : [`TCPFREEZE_SIM_SEED=${seed} TCPFREEZE_SIM_RUNS=1: ${found.slice(0, 3).join(' | ')}`];
}

describe('random endings', () => {
  itForSeeds('harm nobody else', { first: FIRST, count: RUNS, slice: SLICE, timeoutMillis: 600_000 }, failuresOf);
});
