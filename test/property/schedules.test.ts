/**
 * Short days with everything in them (sim/schedule.ts): segments, options, closes, resets, losses, cuts, restarts of endpoints and of the
 * gateway, random rules. `npm run schedules -- --count 200000` runs as many as wanted; a few, and those that once failed, run here.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { GatewayMemory } from '../sim/gateway.ts';
import { SCHEDULES } from '../sim/regressions/schedules.ts';
import { runScenario } from '../sim/run.ts';
import type { Scenario } from '../sim/scenario.ts';
import { makeSchedule, makeScheduleMemory } from '../sim/schedule.ts';

const COUNT = 600;

let memory: GatewayMemory;
beforeAll(() => {
  memory = makeScheduleMemory();
});

function complaintsOf(seed: number): string[] {
  return runScenario(makeSchedule(seed), { memory }).complaints.slice(0, 3);
}

describe('schedules', () => {
  it('have each of their ingredients', () => {
    const all: Scenario[] = [];
    for (let seed = 1; seed <= 200; seed++) all.push(makeSchedule(seed));
    for (const { flows, wan, outages, engine } of all) {
      const ends = flows.map(({ lan, wan }) => [lan, wan].find(({ abortsAt }) => abortsAt !== undefined)?.vanishes);
      expect(ends.slice(0, 3)).toEqual([undefined, false, true]);
      expect(wan.loss).toBeGreaterThan(0);
      expect(outages[0]!.mode).not.toBe('spurious');
      expect(engine.policy).toHaveLength(flows.length);
    }
    const share = (has: (day: Scenario) => boolean): number => all.filter(has).length / all.length;
    expect(share(({ crashes }) => (crashes ?? []).length > 0)).toBeGreaterThan(0.15);
    expect(share(({ outages }) => outages.some(({ mode }) => mode === 'planned'))).toBeGreaterThan(0.05);
    expect(
      share(({ flows }) => flows.some(({ lan, wan }) => lan.closes === true && wan.closes === true)),
    ).toBeGreaterThan(0.5);
  });

  it(`keep every promise: seeds 1 to ${COUNT}`, () => {
    const failures: string[] = [];
    let frozen = 0;
    for (let seed = 1; seed <= COUNT && failures.length < 5; seed++) {
      const { complaints, network } = runScenario(makeSchedule(seed), { memory });
      if (complaints.length > 0) failures.push(`seed ${seed}: ${complaints.slice(0, 3).join(' | ')}`);
      if ((network.gateway?.counter('freezes') ?? 0) > 0) frozen++;
    }
    expect(failures).toEqual([]);
    expect(frozen).toBeGreaterThan(COUNT / 2);
  });

  it.each(SCHEDULES)('$seed: $why', ({ seed }) => {
    expect(complaintsOf(seed)).toEqual([]);
  });
});
