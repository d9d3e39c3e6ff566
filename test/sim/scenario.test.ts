/** Scenarios without a gateway: the hosts must get through by themselves, or they could not judge one. */
import { describe, expect, it } from 'vitest';
import { runScenario } from './run.ts';
import { makeScenario } from './scenario.ts';

describe('random days without a gateway', () => {
  it('end with every stream intact, after long sleeps', () => {
    const failures: string[] = [];
    let timeouts = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const { network, complaints } = runScenario(makeScenario(seed), { plain: true });
      if (complaints.length > 0) failures.push(`${seed}: ${complaints.slice(0, 3).join(' | ')}`);
      for (const flow of network.flows) timeouts += flow.lan.sender.stats.timeouts + flow.wan.sender.stats.timeouts;
    }
    expect(failures).toEqual([]);
    expect(timeouts).toBeGreaterThan(300);
  });

  it('are the same every time', () => {
    const once = runScenario(makeScenario(11), { plain: true });
    const again = runScenario(makeScenario(11), { plain: true });
    expect(again.endedAt).toBe(once.endedAt);
    expect(again.network.wires.wanOut.sent).toBe(once.network.wires.wanOut.sent);
  });
});
