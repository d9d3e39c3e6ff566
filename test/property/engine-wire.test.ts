/** Invariants 3 and 7: an engine that may not freeze is a wire; calling its timers early or twice changes nothing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runScenario } from '../sim/run.ts';
import { makeScenario, type Scenario } from '../sim/scenario.ts';

const RUNS = Math.max(20, Math.floor(Number(process.env.TCPFREEZE_SIM_RUNS ?? 0) / 15));

/** Outages that the engine hears of but may not act on; commands would rightly be refused. */
function withoutCommands(scenario: Scenario): Scenario {
  const outages = scenario.outages.filter(
    (outage) => outage.mode === 'cut' && outage.kind !== 'command' && outage.kind !== 'prefix',
  );
  return { ...scenario, engine: { ...scenario.engine, freezing: false }, outages };
}

describe('an engine that may not freeze', () => {
  it('forwards every packet byte for byte and adds none', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const { network, complaints } = runScenario(withoutCommands(makeScenario(seed)));
        expect(complaints).toEqual([]);
        expect(network.gateway?.altered).toBe(0);
        expect(network.gateway?.counter('transmits')).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('timers', () => {
  it('called early or twice change nothing that leaves the gateway', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const scenario = makeScenario(seed);
        const once = runScenario(scenario);
        const often = runScenario(scenario, { extraTimeouts: 0.3 });
        expect(often.complaints).toEqual(once.complaints);
        expect(often.network.gateway?.digest).toBe(once.network.gateway?.digest);
        expect(often.endedAt).toBe(once.endedAt);
      }),
      { numRuns: RUNS },
    );
  });
});
