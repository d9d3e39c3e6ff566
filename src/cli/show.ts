/** What the commands print for people. Pure: data in, text out. */
import { EVENT_NAMES, eventKind } from '../base/event-table.ts';
import type { FlowJson, StatusJson } from '../control/api.ts';
import type { EventJson } from '../control/history.ts';
import { agoText, bytesText, durationText, table } from './table.ts';

/** @param now wall-clock milliseconds */
export function statusText(status: StatusJson, now: number): string {
  const { flows, links, counters, resources } = status;
  const linkRows = links.map((link) => [
    link.name,
    link.role,
    link.state,
    agoText(link.since, now),
    link.reason,
    link.evidence.join(', '),
  ]);
  const phases = Object.entries(flows).filter(([name]) => name !== 'total');
  const counted = Object.entries(counters).filter(([, value]) => value !== 0);
  return [
    `tcpfreeze ${status.version}, up ${durationText(status.uptime)}, device ${status.tun ?? 'none'}`,
    '',
    table([['LINK', 'ROLE', 'STATE', 'FOR', 'REASON', 'EVIDENCE'], ...linkRows]),
    '',
    `flows    ${flows.total} (${phases.map(([name, count]) => `${name} ${count}`).join(', ')})`,
    `custody  ${bytesText(status.custodyBytes)} of ${bytesText(resources.maxCustodyBytes)}`,
    `hosts    ${resources.hosts} (most flows of one ${resources.busiestHostFlows} of ${resources.flowsPerHost}), parked SYNs ${resources.parkedSyns} of ${resources.maxParkedSyns}`,
    ...status.degraded.map((line) => `without  ${line}`),
    '',
    table([['COUNTER', 'VALUE'], ...counted.map(([name, value]) => [name, String(value)])], [1]),
  ].join('\n');
}

/** @param now wall-clock milliseconds */
export function flowsText(flows: readonly FlowJson[], now: number): string {
  const header = [
    'ID',
    'ORIGINATOR',
    'RESPONDER',
    'PHASE',
    'NEAR',
    'FROZEN FOR',
    'CUSTODY',
    'CLASS',
    'LIMIT',
    'BYPASSED FOR',
  ];
  const rows = flows.map((flow) => [
    flow.id,
    flow.originator,
    flow.responder,
    flow.phase,
    flow.near ?? '-',
    flow.frozenSince === null ? '-' : agoText(flow.frozenSince, now),
    bytesText(flow.custodyBytes),
    flow.class,
    flow.limit === null ? '-' : `${durationText(flow.limit)} (${flow.limitBy})`,
    flow.bypassReason ?? '-',
  ]);
  return table([header, ...rows], [6]);
}

export function eventText(event: EventJson): string {
  const where = [event.link, event.flow].filter((part) => part !== undefined).join(' ');
  const figures = Object.entries(event.figures ?? {}).map(([name, value]) => `${name}=${value}`);
  return [event.time, event.severity.padEnd(5), event.name.padEnd(20), where, event.message, ...figures]
    .filter((part) => part !== '')
    .join('  ');
}

/** Every event there is, by code. */
export function eventListText(): string {
  const rows = EVENT_NAMES.map((name) => {
    const { code, severity, meaning, figures } = eventKind(name);
    return [String(code), name, severity, meaning, figures.join(', ')];
  });
  return table([['CODE', 'EVENT', 'SEVERITY', 'MEANING', 'FIGURES'], ...rows]);
}
