/**
 * A short day with everything in it: at least three connections of random options, of which one is left alone, one is reset and one
 * loses the host at one end; a wire that loses packets; at least one cut; random rules; sometimes the gateway itself dies.
 * Little data and slow wires, so that outages meet traffic under way and yet many days pass in a second.
 */
import { millis, seconds } from '../../src/base/time.ts';
import { withEndings } from './endings.ts';
import { ARENA, type GatewayMemory, makeMemory } from './gateway.ts';
import { type Crash, type DaySize, Dice, makeScenario, type Outage, type Scenario } from './scenario.ts';

const SHORT: DaySize = {
  mostBytes: 16_000,
  rates: [20_000, 1_000_000],
  buffers: [3_000, 60_000],
  flows: [3, 3, 3, 4],
  outages: [1, 1, 2],
};

/** While something is held, while it is handed back, or whenever. */
function makeCrash(dice: Dice, outages: readonly Outage[]): Crash {
  const outage = dice.pick(outages);
  const at = dice.pick([
    outage.at + outage.noticed + dice.between(0, millis(20)),
    outage.at + dice.between(0, outage.lasts),
    outage.at + Math.max(outage.lasts, outage.noticed) + dice.between(0, millis(300)),
    dice.between(0, seconds(10)),
  ]);
  return { at, down: dice.chance(0.5) ? dice.between(0, millis(300)) : dice.between(0, seconds(4)) };
}

/** The engine's memory for schedules, one after the other: making it anew would take as long as all the rest. */
export function makeScheduleMemory(): GatewayMemory {
  return makeMemory(ARENA, 128 * 1024);
}

/** The same seed makes the same schedule for ever, until the draws of scenario.ts change. */
export function makeSchedule(seed: number): Scenario {
  const day = makeScenario(seed, SHORT);
  const dice = new Dice(seed ^ 0x0ddba11);
  const lossy = { ...day.wan, loss: Math.max(day.wan.loss, dice.pick([0.005, 0.01, 0.03])) };
  // One that meets the transfers, cuts the wire, and becomes known; a planned one stays what it is, and cuts, too.
  const [drawn, ...others] = day.outages;
  const first: Outage = {
    ...drawn!,
    at: Math.min(drawn!.at, dice.spread(millis(5), seconds(1))),
    mode: drawn!.mode === 'planned' ? 'planned' : 'cut',
    kind: drawn!.kind === 'none' ? 'carrier' : drawn!.kind,
  };
  const outages = [first, ...others];
  const crashes = dice.chance(0.25) ? Array.from({ length: dice.between(1, 4) }, () => makeCrash(dice, outages)) : [];
  const journal = crashes.length > 0 || dice.chance(0.2);
  // In some the few connections of the schedule are a flood already (engine/doorkeeper.ts).
  const newcomers = dice.chance(0.2) ? { newcomersPerSecond: 0.25 } : {};
  const engine = { ...day.engine, ...newcomers, maxFlows: 16, journal };
  return withEndings(
    { ...day, wan: lossy, outages, engine, crashes, arenaBytes: ARENA },
    ['none', 'reset', 'restart'],
    seconds(20),
  );
}
