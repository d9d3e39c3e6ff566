/** A replay as text: one line per packet that was not simply passed on, and the summary. Pure: data in, text out. */
import { readCounters } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';
import type { Replay, ReplayAction, ReplaySink } from './replay.ts';
import type { TouchedFlow } from './replay-record.ts';
import { LINK_NAMES } from './sides.ts';

/** LAN addresses that are told one by one. */
const ADDRESSES_TOLD = 8;

/** `+12.500000` */
export function timeText(at: Micros): string {
  return `+${(at / MICROS_PER_SECOND).toFixed(6)}`;
}

const INTERFACES: readonly string[] = [...LINK_NAMES, 'tcpfreeze'];

/** Lines of a trace; runs of packets that passed unchanged become one line. */
export class Trace implements ReplaySink {
  readonly #line: (line: string) => void;
  #passed = 0;
  #last = '';
  #repeated = 0;
  #repeatedAt: Micros = 0;

  constructor(line: (line: string) => void) {
    this.#line = line;
  }

  readonly wants = 'deeds';

  passed(): void {
    this.#tellRepeated();
    this.#passed++;
  }

  packet(action: ReplayAction): void {
    if (action.kind === 'forwarded') {
      this.passed();
      return;
    }
    const where = INTERFACES[action.interface] ?? '';
    const what = `${action.kind.padEnd(7)}  ${where.padEnd(9)}  ${action.describe()}`;
    if (what === this.#last) {
      this.#repeated++;
      this.#repeatedAt = action.at;
      return;
    }
    this.flush();
    this.#last = what;
    this.#line(`${timeText(action.at)}  ${what}`);
    if (action.words !== null) this.#line(`    ${action.words}`);
  }

  /** A burst of one and the same packet is told once. */
  #tellRepeated(): void {
    if (this.#repeated > 0)
      this.#line(`    and ${this.#repeated} more of the same until ${timeText(this.#repeatedAt)}`);
    this.#repeated = 0;
    this.#last = '';
  }

  event(at: Micros, message: string): void {
    this.flush();
    this.#line(`${timeText(at)}  ${message}`);
  }

  /** Tells what has only been counted since the last line. */
  flush(): void {
    this.#tellRepeated();
    if (this.#passed > 0) this.#line(`    ${plural(this.#passed, 'packet')} forwarded unchanged`);
    this.#passed = 0;
  }
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** What the summary says in JSON: times in seconds from the first packet, field names camelCase. */
export interface ReplayJson {
  readonly duration: number;
  readonly bytes: number;
  readonly lan: string;
  readonly packets: Readonly<Record<string, number>>;
  readonly losses: readonly {
    readonly at: number;
    readonly what: string;
    readonly state: 'lost' | 'up';
    readonly flows: number;
  }[];
  readonly flowsSeen: number;
  readonly flowsAtEnd: Readonly<Record<string, number>>;
  readonly flows: readonly (Omit<TouchedFlow, 'phases' | 'resetAt'> & {
    readonly phases: readonly { readonly at: number; readonly phase: string }[];
    readonly resetAt: number | null;
  })[];
  readonly flowsUntold: number;
  /** What would have become of the flows that were held; times in seconds. */
  readonly withoutGateway: {
    readonly flowsInFlight: number;
    readonly flowsIdle: number;
    readonly bytesInFlight: number;
    /** Longest time without an answer, of flows with data in flight. */
    readonly longestOutage: number;
    /** How far away the next retransmission may be when the link is back. */
    readonly silenceAfter: number;
    /** Flows that were without an answer for longer than their sender would bear, if it were one of these. */
    readonly givenUp: readonly { readonly after: number; readonly who: string; readonly flows: number }[];
  };
  readonly counters: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

/** When senders give up (seconds): old Windows after about 21 s; RFC 1122 4.2.3.5 (R2); Linux with tcp_retries2 = 15 (tcp(7)). */
const GIVE_UP = [
  { after: 21, who: 'old Windows' },
  { after: 100, who: 'the least that RFC 1122 allows' },
  { after: 924, who: 'Linux by default' },
] as const;
/** Longest pause between two retransmissions (seconds): TCP_RTO_MAX of Linux. */
const RTO_MAX = 120;

const inSeconds = (at: Micros): number => at / MICROS_PER_SECOND;

export function replayJson(replay: Replay): ReplayJson {
  const { record, counters } = replay;
  const all = readCounters(counters);
  const flows = [...record.flows.values()].map((flow) => ({
    ...flow,
    phases: flow.phases.map(({ at, phase }) => ({ at: inSeconds(at), phase })),
    resetAt: flow.resetAt === null ? null : inSeconds(flow.resetAt),
  }));
  return {
    duration: inSeconds(record.duration),
    bytes: record.bytes,
    lan: replay.sides.lanText(ADDRESSES_TOLD),
    packets: record.packets,
    losses: record.losses.map(({ at, text, isLoss, flows }) => ({
      at: inSeconds(at),
      what: text,
      state: isLoss ? 'lost' : 'up',
      flows,
    })),
    flowsSeen: all.flowsCreated,
    flowsAtEnd: record.atEnd,
    flows,
    flowsUntold: record.untold,
    withoutGateway: withoutGateway(flows, inSeconds(record.duration)),
    counters: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== 0)),
    notes: notesOf(replay),
  };
}

/** What a reader has to know to judge the result. */
function notesOf(replay: Replay): string[] {
  const { record, clock, sides } = replay;
  const { packets } = record;
  const notes: string[] = [];
  if (sides.inferred > 0)
    notes.push(
      `for ${plural(sides.inferred, 'pair')} of addresses, LAN is who opened the connection; --lan decides otherwise`,
    );
  if (packets.truncated > 0)
    notes.push(
      `${plural(packets.truncated, 'packet')} cut short by the snap length: missing payload is replayed as zeros`,
    );
  if (packets.notIp > 0) notes.push(`${plural(packets.notIp, 'frame')} without an IP packet left out`);
  if (packets.tooLarge > 0)
    notes.push(`${plural(packets.tooLarge, 'packet')} larger than any interface passes left out`);
  if (clock.shortened > 0) notes.push(`${plural(clock.shortened, 'silence')} of more than a day shortened to a day`);
  if (clock.backwards > 0)
    notes.push(`${plural(clock.backwards, 'time stamp')} before the one before, taken as simultaneous`);
  if (packets.lost > 0)
    notes.push(
      `${plural(packets.lost, 'packet')} from beyond a loss never reached the gateway: recorded, but left out`,
    );
  if (record.losses.length > 0)
    notes.push('a recording does not react: its endpoints go on as they did, whatever the gateway tells them here');
  return notes;
}

/** @param name of the capture */
export function summaryText(replay: Replay, name: string): string {
  const json = replayJson(replay);
  const { packets } = json;
  const lines = [
    `${name}: ${plural(packets.read!, 'packet')}, ${json.bytes} bytes, ${json.duration.toFixed(6)} s`,
    `LAN: ${json.lan === '' ? 'none' : json.lan}`,
    `packets: ${packets.forwarded} forwarded unchanged, ${packets.changed} changed, ${packets.held} held, ` +
      `${packets.dropped} dropped, ` +
      `${packets.made} made, ${packets.lost} lost with a link`,
    `flows: ${json.flowsSeen} seen; at the end ${phasesText(json.flowsAtEnd)}`,
  ];
  for (const flow of json.flows) lines.push(...flowLines(flow));
  if (json.flowsUntold > 0) lines.push(`  and more: ${json.flowsUntold} dealings with flows beyond the first ones`);
  const held = json.flows.filter((flow) => flow.near !== null);
  if (held.length > 0) lines.push(...withoutLines(held, json.withoutGateway));
  for (const note of json.notes) lines.push(`note: ${note}`);
  return lines.join('\n');
}

function phasesText(phases: Readonly<Record<string, number>>): string {
  const parts = Object.entries(phases).map(([phase, count]) => `${count} ${phase}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function flowLines(flow: ReplayJson['flows'][number]): string[] {
  const phases = flow.phases.map(({ at, phase }) => `${phase} +${at.toFixed(3)}`).join(', ');
  return [
    `  flow ${flow.id} ${flow.originator} > ${flow.responder}: ${phases}`,
    `    ${flow.near === null ? '' : `${flow.near} held, `}${flow.custodyBytes} bytes in custody at most, ` +
      `${flow.held} held, ${flow.dropped} dropped, ${flow.changed} changed, ${flow.made} made`,
  ];
}

/** Seconds from the first freeze of the flow to the end of its last one, or of the replay; the longest one counts. */
function longestFreeze({ phases }: ReplayJson['flows'][number], duration: number): number {
  const times = phases.map(({ at, phase }, i) => (phase === 'frozen' ? (phases[i + 1]?.at ?? duration) - at : 0));
  return Math.max(0, ...times);
}

/**
 * Without the gateway: what the capture and the loss themselves say, and what retransmission timers make of a silence that long.
 * A back-off that doubles from the first retransmission on (RFC 6298 5.5) has its next one due within another time the outage.
 */
function withoutGateway(flows: readonly ReplayJson['flows'][number][], duration: number): ReplayJson['withoutGateway'] {
  const held = flows.filter((flow) => flow.near !== null);
  const flying = held.filter((flow) => flow.inFlight > 0);
  const waits = flying.map((flow) => longestFreeze(flow, duration));
  const longest = Math.max(0, ...waits);
  return {
    flowsInFlight: flying.length,
    flowsIdle: held.length - flying.length,
    bytesInFlight: flying.reduce((sum, flow) => sum + flow.inFlight, 0),
    longestOutage: longest,
    silenceAfter: Math.min(longest, RTO_MAX),
    givenUp: GIVE_UP.map(({ after, who }) => ({ after, who, flows: waits.filter((wait) => wait > after).length })),
  };
}

function withoutLines(held: readonly ReplayJson['flows'][number][], without: ReplayJson['withoutGateway']): string[] {
  const { flowsInFlight, flowsIdle, bytesInFlight, longestOutage, silenceAfter, givenUp } = without;
  const resets = held.filter((flow) => flow.resetAt !== null);
  const parts: string[] = [];
  if (flowsInFlight > 0)
    parts.push(
      `${plural(flowsInFlight, 'flow')} with ${bytesInFlight} bytes in flight at the loss left to retransmission timers`,
    );
  if (flowsIdle > 0) parts.push(`${plural(flowsIdle, 'flow')} with nothing in flight at the loss`);
  const lines = [`without the gateway: ${parts.join(', ')}`];
  if (flowsInFlight > 0) {
    lines.push(
      `  after ${longestOutage.toFixed(3)} s without an answer the next retransmission may be ${silenceAfter.toFixed(3)} s away`,
    );
    const dead = givenUp.filter(({ flows }) => flows > 0);
    for (const { after, who, flows } of dead)
      lines.push(`  dead, with a sender that gives up after ${after} s (${who}): ${flows}`);
    if (dead.length === 0)
      lines.push(`  dead: none, if no sender gives up within ${GIVE_UP[0]!.after} s (${GIVE_UP[0]!.who})`);
  }
  for (const { id, near, resetAt } of resets)
    lines.push(
      `  flow ${id}: in the recording its ${near} reset it at +${resetAt!.toFixed(3)}, while it was held here`,
    );
  return lines;
}
