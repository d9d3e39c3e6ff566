/** What a person or program is shown of the engine: its links and its flows as they are now. */
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING, PHASE_NAMES } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { FlowCounts, FlowSnapshot, LinkSnapshot, PhaseCounts, Reply } from './commands.ts';

export interface SnapshotParts {
  readonly table: FlowTable;
  readonly monitor: LinkMonitor;
  readonly budget: CustodyBudget;
}

/** Links with their verdicts and evidence, flows by phase, bytes in custody. */
export function statusOf(parts: SnapshotParts): Reply {
  const all = noFlows();
  const byClass = new Map<string, number[]>();
  parts.table.forEach((flow) => {
    const name = classOf(flow);
    let counts = byClass.get(name);
    if (counts === undefined) {
      counts = noFlows();
      byClass.set(name, counts);
    }
    counts[flow.phase]!++;
    all[flow.phase]!++;
  });
  const flows: FlowCounts = { total: parts.table.size, ...phaseCounts(all) };
  const classes = Object.fromEntries([...byClass].map(([name, counts]) => [name, phaseCounts(counts)]));
  const links: LinkSnapshot[] = parts.monitor.links.map((link) => ({
    name: link.name,
    role: link.role,
    state: link.isLost ? 'lost' : 'up',
    since: link.since,
    reason: link.reason,
    evidence: link.standing(),
  }));
  return { kind: 'status', links, flows, classes, custodyBytes: parts.budget.used };
}

function noFlows(): number[] {
  return new Array<number>(PHASE_NAMES.length).fill(0);
}

function phaseCounts(counts: readonly number[]): PhaseCounts {
  return {
    opening: counts[OPENING]!,
    flowing: counts[FLOWING]!,
    frozen: counts[FROZEN]!,
    handback: counts[HANDBACK]!,
    closing: counts[CLOSING]!,
    bypass: counts[BYPASS]!,
  };
}

function classOf(_flow: Flow): string {
  return 'temporary';
}

/** @param frozenOnly only flows that are held or being handed back */
export function flowsOf(table: FlowTable, frozenOnly: boolean): FlowSnapshot[] {
  const list: FlowSnapshot[] = [];
  table.forEach((flow) => {
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    if (frozenOnly && !isHeld) return;
    list.push({
      id: flow.id,
      family: flow.family,
      originator: endpointText(table, flow, 0),
      responder: endpointText(table, flow, 1),
      phase: PHASE_NAMES[flow.phase]!,
      near: isHeld ? (flow.near === 0 ? 'originator' : 'responder') : null,
      frozenSince: isHeld ? flow.frozenSince : null,
      custodyBytes: flow.frozen?.custodyBytes ?? 0,
      class: classOf(flow),
      bypassReason: flow.bypassReason,
    });
  });
  return list;
}

/** `ip:port`, IPv6 addresses in brackets. */
export function endpointText(table: FlowTable, flow: Flow, half: 0 | 1): string {
  const words = flow.family === 4 ? 1 : 4;
  const bytes = new Uint8Array(4 * words);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words; i++) view.setInt32(4 * i, table.keys[flow.index * KEY_WORDS + 4 * half + i]!);
  const text = formatAddressBytes(bytes);
  const port = half === 0 ? flow.originatorPort : flow.responderPort;
  return flow.family === 6 ? `[${text}]:${port}` : `${text}:${port}`;
}
