/**
 * What a stack sends while it is held: the form of its probes, and whether it minds a zero window whose ACK does not advance. Read
 * from the capture on the gateway's LAN side.
 */
import { Buffer } from 'node:buffer';
import type { Capture } from '../capture.ts';
import { monotonicMicros } from '../link-handle.ts';
import { runCommand } from '../run-command.ts';
import type { Stack } from './stack.ts';

export interface Habit {
  readonly stack: Stack;
  /** Of the connection (`upload`, `typed` ...). */
  readonly kind: string;
  /** `empty probe x 9`, `1 byte x 12`, ... in order of first appearance. */
  readonly sent: readonly string[];
}

/** Times of the outage, microseconds of CLOCK_MONOTONIC. */
export interface Held {
  readonly lost: number;
  readonly back: number;
}

const FIELDS = [
  'frame.time_epoch',
  'tcp.stream',
  'ip.src',
  'tcp.seq',
  'tcp.ack',
  'tcp.len',
  'tcp.flags',
  'tcp.window_size_value',
];

interface Segment {
  readonly at: number;
  readonly stream: string;
  readonly source: string;
  readonly seq: number;
  readonly ack: number;
  readonly length: number;
  readonly flags: number;
  readonly window: number;
}

const FIN = 1;
const RST = 4;

/** @param server address of the listening side, whose segments (made by the gateway while it holds) are no habits of the stack */
export async function habitsOf(
  capture: Capture,
  stacks: readonly Stack[],
  held: Held,
  server: string,
): Promise<Habit[]> {
  const file = capture.file('lan');
  const names = await streamNames(file);
  const fields = FIELDS.flatMap((field) => ['-e', field]);
  const text = await runCommand('tshark', ['-n', '-r', file, '-Y', 'tcp', '-T', 'fields', ...fields]);
  const epoch = Date.now() * 1000 - monotonicMicros();
  const tallies = new Map<string, Tally>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const segment = parse(line, epoch);
    const name = names.get(segment.stream);
    if (name === undefined) continue;
    const tally = tallies.get(name) ?? new Tally();
    tallies.set(name, tally);
    tally.see(segment, segment.source === server, segment.at > held.lost && segment.at < held.back);
  }
  return [...tallies].flatMap(([name, tally]) => {
    const stack = stacks.find(({ key }) => name.startsWith(`${key}-`));
    return stack === undefined ? [] : [{ stack, kind: name.slice(stack.key.length + 1), sent: tally.words() }];
  });
}

function parse(line: string, epoch: number): Segment {
  const [time, stream, source, seq, ack, length, flags, window] = line.split('\t');
  return {
    at: Number(time) * 1e6 - epoch,
    stream: stream!,
    source: source!,
    seq: Number(seq),
    ack: Number(ack),
    length: Number(length),
    flags: Number(flags),
    window: Number(window),
  };
}

/** Name of each connection, from its first line. */
async function streamNames(file: string): Promise<Map<string, string>> {
  const args = [
    '-n',
    '-r',
    file,
    '-Y',
    'tcp contains "{\\"flow\\":"',
    '-T',
    'fields',
    '-e',
    'tcp.stream',
    '-e',
    'tcp.payload',
  ];
  const names = new Map<string, string>();
  for (const line of (await runCommand('tshark', args)).split('\n')) {
    const [stream, payload] = line.split('\t');
    const name = /"flow":"([^"]+)"/.exec(Buffer.from(payload ?? '', 'hex').toString('latin1'))?.[1];
    if (stream !== undefined && name !== undefined && !names.has(stream)) names.set(stream, name);
  }
  return names;
}

/** What one connection sent while it was held, counted by form. */
class Tally {
  readonly #counts = new Map<string, number>();
  #ack = 0;
  #sent = 0;

  see(segment: Segment, isFromServer: boolean, isHeld: boolean): void {
    const { seq, ack, length, flags, window } = segment;
    if (isFromServer) {
      this.#ack = Math.max(this.#ack, ack);
      if (isHeld) this.#count(`held: ${window === 0 ? 'closed' : `window ${window}`}`);
      return;
    }
    const end = seq + length;
    if (isHeld) this.#count(this.#form(seq, length, flags));
    this.#sent = Math.max(this.#sent, end);
  }

  #form(seq: number, length: number, flags: number): string {
    if ((flags & RST) !== 0) return 'RST';
    const fin = (flags & FIN) !== 0 ? ' and FIN' : '';
    const again = seq < this.#sent ? ' again' : '';
    if (length === 0 && fin !== '') return seq < this.#sent ? 'FIN (old sequence number)' : 'FIN';
    if (length === 0) return seq < this.#ack ? 'empty probe' : 'ACK';
    return `${length === 1 ? '1 byte' : length > 500 ? 'segment' : `${length} bytes`}${fin}${again}`;
  }

  #count(form: string): void {
    this.#counts.set(form, (this.#counts.get(form) ?? 0) + 1);
  }

  words(): string[] {
    return [...this.#counts].map(([form, count]) => `${form} x ${count}`);
  }
}
