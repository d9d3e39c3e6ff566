/** Connections that end, and rules that end them: resets, hosts that restart, limits, classes, trickle, shares, denied custody. */
import { type Micros, seconds } from '../../src/base/time.ts';
import { DEFAULT_RULE, FLOW_CLASSES, GIVE_UP_STYLES, type PolicyRule, PRIORITIES } from '../../src/policy/policy.ts';
import type { FlowConfig } from './network.ts';
import { Dice, type Scenario } from './scenario.ts';

/** How a connection ends before its time: not at all, by a reset, by a host that forgets it and refuses what comes then. */
export type Ending = 'none' | 'reset' | 'restart';

function makeRule(dice: Dice, match: PolicyRule['match']): PolicyRule {
  return {
    ...DEFAULT_RULE,
    match,
    freeze: dice.chance(0.95),
    class: dice.pick(FLOW_CLASSES),
    priority: dice.pick(PRIORITIES),
    maxOutage: dice.chance(0.3) ? dice.spread(seconds(0.05), seconds(60)) : null,
    keep: dice.spread(seconds(0.1), seconds(30)),
    custody: dice.chance(0.85),
    wakeup: dice.chance(0.8),
    trickle: dice.chance(0.4) ? dice.spread(seconds(0.2), seconds(8)) : dice.pick(['auto', 'off'] as const),
    parkSyn: dice.chance(0.8),
    giveUp: dice.pick(GIVE_UP_STYLES),
  };
}

function end(dice: Dice, flow: FlowConfig, ending: Ending, latest: Micros): FlowConfig {
  if (ending === 'none') return flow;
  const how = { abortsAt: dice.spread(seconds(0.02), latest), vanishes: ending === 'restart' };
  return dice.chance(0.5) ? { ...flow, lan: { ...flow.lan, ...how } } : { ...flow, wan: { ...flow.wan, ...how } };
}

/**
 * The same day with rules and endings.
 * @param endings of the first connections; those of the others are drawn
 * @param latest time of an ending
 */
export function withEndings(scenario: Scenario, endings: readonly Ending[], latest: Micros): Scenario {
  const dice = new Dice(scenario.seed ^ 0x5eed);
  const policy = scenario.flows.map(({ lanPort }) => makeRule(dice, { port: [{ from: lanPort, to: lanPort }] }));
  const { engine } = scenario;
  return {
    ...scenario,
    engine: {
      ...engine,
      policy,
      ports: engine.ports.map((port) =>
        dice.chance(0.1) ? { ...port, maxOutage: dice.spread(seconds(0.1), seconds(60)) } : port,
      ),
      custodyBytesTotal: dice.chance(0.3) ? dice.spread(2_000, 400_000) : engine.custodyBytesTotal,
      ...(dice.chance(0.2) ? { flowsPerHost: dice.between(1, 4) } : {}),
      parkedSyns: dice.chance(0.2) ? 1 : 16,
    },
    flows: scenario.flows.map((flow, index) =>
      end(dice, flow, endings[index] ?? dice.pick(['none', 'none', 'reset', 'restart'] as const), latest),
    ),
  };
}
