/**
 * Makes a failing scenario smaller while it keeps failing: fewer flows and outages, cleaner wires, plainer hosts. What is
 * left is what the failure needs.
 */
import { ARENA, GATEWAY } from './gateway.ts';
import type { FlowConfig } from './network.ts';
import type { Scenario } from './scenario.ts';
import { CLEAN } from './wire.ts';

type Change = (scenario: Scenario) => Scenario;

function without<T>(list: readonly T[], index: number): readonly T[] {
  return list.filter((_item, at) => at !== index);
}

function withFlow(scenario: Scenario, index: number, change: (flow: FlowConfig) => FlowConfig): Scenario {
  return { ...scenario, flows: scenario.flows.map((flow, at) => (at === index ? change(flow) : flow)) };
}

function candidates(scenario: Scenario): Change[] {
  const changes: Change[] = [];
  for (let index = 0; index < scenario.flows.length; index++) {
    if (scenario.flows.length > 1) changes.push((it) => ({ ...it, flows: without(it.flows, index) }));
  }
  for (let index = 0; index < scenario.outages.length; index++) {
    changes.push((it) => ({ ...it, outages: without(it.outages, index) }));
  }
  for (const side of ['lan', 'wan'] as const) {
    changes.push((it) => ({ ...it, [side]: CLEAN }));
    changes.push((it) => ({ ...it, [side]: { ...it[side], loss: 0 } }));
    changes.push((it) => ({ ...it, [side]: { ...it[side], reorder: 0 } }));
    changes.push((it) => ({ ...it, [side]: { ...it[side], duplicate: 0 } }));
  }
  changes.push((it) => ({ ...it, arenaBytes: ARENA }));
  changes.push((it) => ({ ...it, engine: { ...it.engine, custodyBytesPerFlow: GATEWAY.custodyBytesPerFlow } }));
  changes.push((it) => ({ ...it, engine: { ...it.engine, gso: false } }));
  changes.push((it) => ({ ...it, engine: { ...it.engine, vnetHeaderLength: 0, gso: false } }));
  for (let index = 0; index < scenario.flows.length; index++) {
    for (const side of ['lan', 'wan'] as const) {
      const plainer = [
        { deeds: [] },
        { deeds: scenario.flows[index]?.[side].deeds?.slice(0, 1) ?? [] },
        { closes: false },
        { probe: 'linux', windowRule: 'linux' },
        { rfc6069: true },
        { mss: 1448, burst: 1448 },
        { burst: scenario.flows[index]?.[side].mss ?? 1448 },
        { timestamps: false },
        { sack: true },
        { windowScale: 7 },
        { delayedAck: 0 },
        { keepIdle: Number.POSITIVE_INFINITY },
        { receiveBuffer: 256 * 1024 },
        { opensAt: 0 },
        { partialChecksum: false },
      ] as const;
      for (const plain of plainer) {
        changes.push((it) => withFlow(it, index, (flow) => ({ ...flow, [side]: { ...flow[side], ...plain } })));
      }
    }
  }
  return changes;
}

/** @param fails must be repeatable */
export function minimize(scenario: Scenario, fails: (candidate: Scenario) => boolean): Scenario {
  let best = scenario;
  for (let round = 0; round < 4; round++) {
    const before = best;
    for (const change of candidates(best)) {
      const candidate = change(best);
      if (JSON.stringify(candidate) !== JSON.stringify(best) && fails(candidate)) best = candidate;
    }
    if (best === before) break;
  }
  return best;
}
