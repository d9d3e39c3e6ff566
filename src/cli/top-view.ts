/** What `tcpfreeze top` shows, as lines of text, and what its keys do. Pure: data and keys in, text and state out. */
import { EVENTS } from '../base/event-table.ts';
import type { FlowJson, StatusJson } from '../control/api.ts';
import type { EventJson } from '../control/history.ts';
import { agoText, bytesText, durationText, table } from './table.ts';

export const SORTS = ['custody', 'frozen', 'phase', 'originator', 'responder', 'id'] as const;
export type Sort = (typeof SORTS)[number];

export const PHASE_FILTERS = ['all', 'frozen', 'handback', 'opening', 'flowing', 'closing', 'bypass'] as const;
export type PhaseFilter = (typeof PHASE_FILTERS)[number];

/** Refresh intervals, seconds. */
const INTERVALS: readonly number[] = [0.5, 1, 2, 5, 10];
/** Share of the rows that events may take, and how many they take at least. */
const EVENT_SHARE = 0.3;
const EVENTS_LEAST = 3;
const SEARCH_MAX = 64;

/** What the keys decide. */
export interface TopState {
  readonly sort: Sort;
  readonly isReversed: boolean;
  readonly phase: PhaseFilter;
  /** Flows whose endpoints, class or identifier contain it are shown. */
  readonly search: string;
  readonly isTyping: boolean;
  readonly isPaused: boolean;
  readonly showsDebug: boolean;
  /** First flow shown. */
  readonly offset: number;
  /** Seconds between two refreshes. */
  readonly interval: number;
}

export const TOP_START: TopState = {
  sort: 'custody',
  isReversed: false,
  phase: 'all',
  search: '',
  isTyping: false,
  isPaused: false,
  showsDebug: false,
  offset: 0,
  interval: 1,
};

export interface TopData {
  readonly status: StatusJson | null;
  readonly flows: readonly FlowJson[];
  /** Only held flows were asked for, because there are so many. */
  readonly heldOnly: boolean;
  /** Latest last. */
  readonly events: readonly EventJson[];
  /** Counters per second since the status before; absent at first. */
  readonly rates: Readonly<Record<string, number>> | null;
  /** Why there is no status, one line. */
  readonly problem: string | null;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A line and what makes it stand out. */
export interface Line {
  readonly text: string;
  readonly style?: 'head' | 'bad' | 'good' | 'dim';
}

/** @param size of the terminal; null: as long as it gets */
export function topLines(data: TopData, state: TopState, size: Size | null): Line[] {
  const lines = [titleOf(data), ...stateLines(data)];
  const flows = shownFlows(data.flows, state);
  const footer = size === null ? [] : [{ text: keysText(state), style: 'head' as const }];
  const events = data.events.filter((event) => state.showsDebug || event.severity !== 'debug');
  if (size === null) return [...lines, ...flowLines(flows, data, state, flows.length), ...eventLines(events, 10)];
  const room = Math.max(0, size.rows - lines.length - footer.length);
  const eventRows = Math.max(EVENTS_LEAST, Math.floor(room * EVENT_SHARE));
  // Heads of both lists, and an empty line between.
  const flowRows = Math.max(0, room - eventRows - 4);
  const middle = [...flowLines(flows, data, state, flowRows), ...eventLines(events, eventRows)];
  const all = [...lines, ...middle, ...Array<Line>(room).fill({ text: '' })];
  return [...all.slice(0, Math.max(0, size.rows - footer.length)), ...footer];
}

function titleOf({ status, now }: TopData): Line {
  const clock = new Date(now).toISOString().slice(11, 19);
  if (status === null) return { text: `tcpfreeze  ${clock} UTC`, style: 'head' };
  const { version, uptime, tun } = status;
  const device = tun === null ? 'datapath being restarted' : `device ${tun}`;
  return { text: `tcpfreeze ${version}  up ${durationText(uptime)}  ${device}  ${clock} UTC`, style: 'head' };
}

function stateLines({ status, rates, problem, now }: TopData): Line[] {
  if (status === null) return [{ text: problem ?? 'waiting for the gateway', style: 'bad' }];
  const rows = status.links.map(({ name, role, state, since, reason, evidence }) => [
    name,
    role,
    state === 'lost' ? 'LOST' : state,
    agoText(since, now),
    evidence.length === 0 ? reason : evidence.join(', '),
  ]);
  const [head = '', ...links] = table([['LINK', 'ROLE', 'STATE', 'FOR', 'EVIDENCE'], ...rows]).split('\n');
  const { total, ...phases } = status.flows;
  const counts = Object.entries(phases).map(([phase, count]) => `${phase} ${count}`);
  return [
    { text: '' },
    { text: head, style: 'head' },
    ...links.map((text, i) => ({ text, ...(status.links[i]?.state === 'lost' ? { style: 'bad' as const } : {}) })),
    { text: '' },
    { text: `flows ${total}: ${counts.join(', ')}; custody ${bytesText(status.custodyBytes)}` },
    { text: rates === null ? 'rates follow' : ratesText(rates) },
    { text: '' },
  ];
}

function ratesText(rates: Readonly<Record<string, number>>): string {
  const rate = (name: string): string => Math.round(rates[name] ?? 0).toString();
  const megabits = (((rates.bytes ?? 0) * 8) / 1e6).toFixed(1);
  return (
    `per second: ${rate('packets')} packets, ${megabits} Mbit, ${rate('transmits')} made, ` +
    `${rate('probesAnswered')} probes answered, ${bytesText(Math.round(rates.replayedBytes ?? 0))} replayed, ` +
    `${rate('dropped')} dropped`
  );
}

function frozenMillis(flow: FlowJson): number {
  return flow.frozenSince === null ? Number.POSITIVE_INFINITY : Date.parse(flow.frozenSince);
}

/** Most custody first, longest frozen first; everything else in the order of the alphabet. */
const ORDER: Readonly<Record<Sort, (a: FlowJson, b: FlowJson) => number>> = {
  custody: (a, b) => b.custodyBytes - a.custodyBytes,
  // Infinity less itself is no number: flows that are not frozen are equal.
  frozen: (a, b) => frozenMillis(a) - frozenMillis(b) || 0,
  phase: (a, b) => compare(a.phase, b.phase),
  originator: (a, b) => compare(a.originator, b.originator),
  responder: (a, b) => compare(a.responder, b.responder),
  id: (a, b) => compare(a.id, b.id),
};

function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** The flows that pass the filters, in order. */
export function shownFlows(flows: readonly FlowJson[], state: TopState): FlowJson[] {
  const { search, phase, sort, isReversed } = state;
  const wanted = flows.filter((flow) => {
    if (phase !== 'all' && flow.phase !== phase) return false;
    if (search === '') return true;
    return [flow.id, flow.originator, flow.responder, flow.class].some((text) => text.includes(search));
  });
  const sign = isReversed ? -1 : 1;
  return wanted.sort((a, b) => sign * (ORDER[sort](a, b) || compare(a.id, b.id)));
}

function flowLines(flows: readonly FlowJson[], data: TopData, state: TopState, rows: number): Line[] {
  const from = Math.min(state.offset, Math.max(0, flows.length - rows));
  const shown = flows.slice(from, from + rows);
  const cells = shown.map((flow) => [
    flow.id,
    flow.originator,
    flow.responder,
    flow.phase,
    flow.near ?? '-',
    flow.frozenSince === null ? '-' : agoText(flow.frozenSince, data.now),
    bytesText(flow.custodyBytes),
    flow.class,
  ]);
  const header = ['FLOW', 'ORIGINATOR', 'RESPONDER', 'PHASE', 'HELD', 'FROZEN', 'CUSTODY', 'CLASS'];
  const [head = '', ...body] = table([header, ...cells], [6]).split('\n');
  const what = data.heldOnly ? `${flows.length} held flows (too many to list all)` : `${flows.length} flows`;
  const range = flows.length > rows ? `, ${from + 1} to ${from + shown.length} shown` : '';
  return [
    { text: `${what}${range}`, style: 'dim' },
    { text: head, style: 'head' },
    ...body.map((text, i) => ({ text, ...styleOf(shown[i]!) })),
    { text: '' },
  ];
}

function styleOf(flow: FlowJson): Pick<Line, 'style'> {
  if (flow.phase === 'frozen') return { style: 'bad' };
  return flow.phase === 'handback' ? { style: 'good' } : {};
}

function eventLines(events: readonly EventJson[], rows: number): Line[] {
  const latest = rows <= 0 ? [] : events.slice(-rows);
  const width = Math.max(...Object.keys(EVENTS).map((name) => name.length));
  return [
    { text: 'EVENTS', style: 'head' },
    ...latest.map(({ time, name, severity, message, flow }) => ({
      text: `${time.slice(11, 19)}  ${name.padEnd(width)}  ${flow === undefined ? '' : `${flow}  `}${message}`,
      ...(severity === 'warn' || severity === 'error' ? { style: 'bad' as const } : {}),
    })),
  ];
}

function keysText(state: TopState): string {
  if (state.isTyping) return `show flows with: ${state.search}_   (Enter: done, Esc: all)`;
  const order = `${state.sort}${state.isReversed ? ', reversed' : ''}`;
  const search = state.search === '' ? '' : ` with "${state.search}"`;
  const pause = state.isPaused ? 'PAUSED, p: go on' : 'p: pause';
  return (
    `q: quit  s: sort (${order})  r: reverse  f: filter (${state.phase}${search})  /: search  ` +
    `d: ${state.showsDebug ? 'fewer' : 'all'} events  +/-: every ${state.interval} s  ${pause}`
  );
}

/** @param key as Node.js names it, or the character typed */
export function onKey(state: TopState, key: string, page: number): TopState | 'quit' {
  if (key === 'ctrl-c') return 'quit';
  if (state.isTyping) return onTyped(state, key);
  switch (key) {
    case 'q':
      return 'quit';
    case 's':
      return { ...state, sort: after(SORTS, state.sort), offset: 0 };
    case 'r':
      return { ...state, isReversed: !state.isReversed, offset: 0 };
    case 'f':
      return { ...state, phase: after(PHASE_FILTERS, state.phase), offset: 0 };
    case '/':
      return { ...state, isTyping: true, search: '' };
    case 'escape':
      return { ...state, search: '', phase: 'all', offset: 0 };
    case 'd':
      return { ...state, showsDebug: !state.showsDebug };
    case 'p':
    case 'space':
      return { ...state, isPaused: !state.isPaused };
    case '+':
      return { ...state, interval: INTERVALS.findLast((one) => one < state.interval) ?? state.interval };
    case '-':
      return { ...state, interval: INTERVALS.find((one) => one > state.interval) ?? state.interval };
    case 'down':
      return { ...state, offset: state.offset + 1 };
    case 'up':
      return { ...state, offset: Math.max(0, state.offset - 1) };
    case 'pagedown':
      return { ...state, offset: state.offset + page };
    case 'pageup':
      return { ...state, offset: Math.max(0, state.offset - page) };
    case 'home':
      return { ...state, offset: 0 };
    default:
      return state;
  }
}

function onTyped(state: TopState, key: string): TopState {
  if (key === 'return' || key === 'enter') return { ...state, isTyping: false, offset: 0 };
  if (key === 'escape') return { ...state, isTyping: false, search: '', offset: 0 };
  if (key === 'backspace') return { ...state, search: state.search.slice(0, -1) };
  if (/^[\x21-\x7e]$/.test(key) && state.search.length < SEARCH_MAX) {
    return { ...state, search: state.search + key, offset: 0 };
  }
  return state;
}

function after<T>(all: readonly T[], one: T): T {
  return all[(all.indexOf(one) + 1) % all.length]!;
}
