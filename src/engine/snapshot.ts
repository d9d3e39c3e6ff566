/** What a person or program is shown of the engine: its links and its flows as they are now. */
import { NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import type { HostTable } from '../flow/hosts.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING, PHASE_NAMES } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Limit } from '../freeze/context.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Parking } from '../freeze/parking.ts';
import type { Suspects } from '../freeze/trickle.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { Admission } from './admission.ts';
import type {
  FlowCounts,
  FlowSnapshot,
  HostSnapshot,
  LinkSnapshot,
  PhaseCounts,
  Reply,
  ResourceSnapshot,
} from './commands.ts';
import { limitOf } from './limit.ts';
import type { Verdicts } from './verdicts.ts';

export interface SnapshotParts {
  readonly table: FlowTable;
  readonly verdicts: Verdicts;
  readonly budget: CustodyBudget;
  readonly parking: Parking;
  readonly suspects: Suspects;
  readonly hosts: HostTable;
  readonly admission: Admission;
  readonly arenaBytes: number;
}

function scaleOf(half: Half): number | null {
  return half.rcvWndShift < 0 ? null : half.rcvWndShift;
}

/** Links with their verdicts and evidence, flows by phase, bytes in custody. */
export function statusOf(parts: SnapshotParts): Reply {
  const all = noFlows();
  const byClass = new Map<string, number[]>();
  parts.table.forEach((flow) => {
    const name = flow.terms.class;
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
  const links: LinkSnapshot[] = parts.verdicts.monitor.links.map((link) => ({
    name: link.name,
    role: link.role,
    state: link.isLost ? 'lost' : 'up',
    since: link.since,
    reason: link.reason,
    evidence: link.standing(),
  }));
  const resources: ResourceSnapshot = {
    flows: parts.table.size,
    maxFlows: parts.table.capacity,
    hosts: parts.hosts.size,
    busiestHostFlows: parts.hosts.busiest,
    flowsPerHost: parts.admission.flowsAllowed,
    custodyBytes: parts.budget.used,
    maxCustodyBytes: parts.budget.total,
    maxCustodyBytesPerFlow: parts.budget.perFlow,
    parkedSyns: parts.parking.used,
    maxParkedSyns: parts.parking.limit,
    halfOpen: flows.opening,
    suspects: parts.suspects.size,
    arenaBytes: parts.arenaBytes,
  };
  const hosts: HostSnapshot[] = parts.verdicts.hosts.lost.map((host) => ({
    address: host.address,
    link: parts.verdicts.monitor.links[host.port]?.name ?? '',
    since: host.since,
    reason: host.reason,
    evidence: host.standing(),
  }));
  return { kind: 'status', links, hosts, flows, classes, custodyBytes: parts.budget.used, resources };
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

/** @param frozenOnly only flows that are held or being handed back */
export function flowsOf(parts: SnapshotParts, frozenOnly: boolean): FlowSnapshot[] {
  const { table } = parts;
  const list: FlowSnapshot[] = [];
  table.forEach((flow) => {
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    if (frozenOnly && !isHeld) return;
    const frozen = flow.frozen as Frozen | null;
    const limit = flow.phase === FROZEN && frozen !== null ? frozen.limit : expectedLimit(parts, flow);
    list.push({
      id: flow.id,
      family: flow.family,
      originator: endpointText(table, flow, 0),
      responder: endpointText(table, flow, 1),
      phase: PHASE_NAMES[flow.phase]!,
      near: isHeld ? (flow.near === 0 ? 'originator' : 'responder') : null,
      frozenSince: isHeld ? flow.frozenSince : null,
      custodyBytes: flow.frozen?.custodyBytes ?? 0,
      class: flow.terms.class,
      priority: flow.terms.priority,
      rule: flow.terms.rule < 0 ? null : flow.terms.rule,
      limit: limit.micros === NEVER ? null : limit.micros,
      limitBy: limit.by,
      deadline: flow.phase === FROZEN && frozen !== null && frozen.limitAt !== NEVER ? frozen.limitAt : null,
      trickling: flow.phase === FROZEN && (frozen?.trickleEvery ?? 0) > 0,
      bypassReason: flow.bypassReason,
      windowScales: [scaleOf(flow.halves[0]), scaleOf(flow.halves[1])],
    });
  });
  return list;
}

/** The limit that would rule if the flow were frozen now: because of its lost side, or of what lies beyond the uplink. */
function expectedLimit({ admission, verdicts, suspects, table }: SnapshotParts, flow: Flow): Limit {
  const near = admission.nearOf(flow, flow.lostMask === 0 ? 3 : flow.lostMask);
  return limitOf(flow, near, suspects.limitOf(flow, near, table), verdicts.monitor);
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
