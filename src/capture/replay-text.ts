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
  readonly counters: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

const inSeconds = (at: Micros): number => at / MICROS_PER_SECOND;

export function replayJson(replay: Replay): ReplayJson {
  const { record, counters } = replay;
  const all = readCounters(counters);
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
    flows: [...record.flows.values()].map((flow) => ({
      ...flow,
      phases: flow.phases.map(({ at, phase }) => ({ at: inSeconds(at), phase })),
      resetAt: flow.resetAt === null ? null : inSeconds(flow.resetAt),
    })),
    flowsUntold: record.untold,
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
  if (held.length > 0) lines.push(...withoutLines(held));
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

/** Without the gateway: only what the capture and the loss themselves say. */
function withoutLines(held: readonly ReplayJson['flows'][number][]): string[] {
  const flying = held.filter((flow) => flow.inFlight > 0);
  const bytes = flying.reduce((sum, flow) => sum + flow.inFlight, 0);
  const resets = held.filter((flow) => flow.resetAt !== null);
  const idle = held.length - flying.length;
  const parts: string[] = [];
  if (flying.length > 0)
    parts.push(
      `${plural(flying.length, 'flow')} with ${bytes} bytes in flight at the loss left to retransmission timers`,
    );
  if (idle > 0) parts.push(`${plural(idle, 'flow')} with nothing in flight at the loss`);
  const lines = [`without the gateway: ${parts.join(', ')}`];
  for (const { id, near, resetAt } of resets)
    lines.push(
      `  flow ${id}: in the recording its ${near} reset it at +${resetAt!.toFixed(3)}, while it was held here`,
    );
  return lines;
}
