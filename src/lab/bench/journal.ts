/**
 * What a loss costs with a journal: 1,000 connections with 64 MB in flight, and the time until every byte is in custody, on the disk, and
 * acknowledged. The engine and the journal's thread as the gateway has them, without a network around them.
 */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { TcpfreezeError } from '../../base/errors.ts';
import { COUNTERS_BYTES } from '../../base/figures.ts';
import { monotonicMicros } from '../../datapath/clock.ts';
import { Engine } from '../../engine/engine.ts';
import { JournalWriter } from '../../journal/journal.ts';
import type { JournalOrder, JournalReport } from '../../journal/messages.ts';
import { close, eventfd } from '../../native/libc.ts';
import { emitTcp, TcpSpec } from '../../wire/emit.ts';
import { ACK, SYN } from '../../wire/tcp-flags.ts';
import { medianOf } from './figures.ts';

const FLOWS = 1_000;
const SEGMENT = 1_448;
/** 11 segments, as the TUN delivers them at full speed; four of them per connection. */
const SUPER = 11 * SEGMENT;
const PER_FLOW = 4 * SUPER;
const ARENA_BYTES = 128 * 2 ** 20;
const OUTBOX_BYTES = 4 * 2 ** 20;
const LAN_ADDRESS = 0x0a01_0002;
const WAN_ADDRESS = 0xc633_6409 | 0;
const WINDOW = 65_535;
const SHIFT = 7;
/** Of a tmpfs (uapi/linux/magic.h). */
const TMPFS_MAGIC = 0x0102_1994;
const LONGEST_MICROS = 60e6;

export interface JournalFigure {
  readonly place: string;
  readonly flows: number;
  readonly bytes: number;
  /** From the loss until the last acknowledgement, per repetition. */
  readonly seconds: readonly number[];
  /** The same without a journal: what the engine alone takes. */
  readonly secondsWithout: readonly number[];
}

export interface JournalOptions {
  readonly repetitions: number;
  readonly onProgress: (line: string) => void;
}

/** @throws TcpfreezeError BENCH_JOURNAL: the disk refused, or nothing became durable */
export async function measureJournal({ repetitions, onProgress }: JournalOptions): Promise<JournalFigure[]> {
  const figures: JournalFigure[] = [];
  for (const parent of [tmpdir(), '/dev/shm']) {
    const place = placeName(parent);
    if (place === null) continue;
    const seconds: number[] = [];
    const secondsWithout: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      secondsWithout.push((await freezeAll(null)) / 1e6);
      seconds.push((await freezeAll(parent)) / 1e6);
      onProgress(`journal ${i + 1}/${repetitions}: ${place}, ${seconds.at(-1)!.toFixed(3)} s`);
    }
    figures.push({ place, flows: FLOWS, bytes: FLOWS * PER_FLOW, seconds, secondsWithout });
  }
  return figures;
}

function placeName(path: string): string | null {
  try {
    return statfsSync(path).type === TMPFS_MAGIC ? 'tmpfs' : 'disk';
  } catch {
    return null;
  }
}

/** Freezes everything once. @param parent where the journal's directory is made; null: none @returns micros */
async function freezeAll(parent: string | null): Promise<number> {
  const engine = makeEngine(parent !== null);
  const directory = parent === null ? null : mkdtempSync(join(parent, 'tcpfreeze-bench-'));
  const wakeFd = eventfd();
  const writer = directory === null ? null : new JournalWriter(directory, wakeFd);
  try {
    fill(engine);
    // The thread has started, and the disk has nothing left to do from before.
    if (writer !== null) await new Promise((resolve) => setTimeout(resolve, 300));
    return await lose(engine, writer?.port ?? null);
  } finally {
    writer?.port.close();
    await writer?.exited;
    close(wakeFd);
    if (directory !== null) rmSync(directory, { recursive: true, force: true });
  }
}

interface Bench {
  readonly engine: Engine;
  readonly memory: Uint8Array;
  readonly view: DataView;
}

function makeEngine(journal: boolean): Bench {
  const arena = new ArrayBuffer(ARENA_BYTES);
  const engine = new Engine(
    {
      ports: [
        { name: 'lan0', role: 'lan' },
        { name: 'wan0', role: 'wan' },
      ],
      ...{ vnetHeaderLength: 10, gso: true, freezing: true, journal, maxFlows: 2 * FLOWS, flowsPerHost: 2 * FLOWS },
      ...{ custodyBytesPerFlow: 4 * 2 ** 20, custodyBytesTotal: 256 * 2 ** 20, hashKey: [1, 2], seed: 1 },
    },
    { arena, outbox: new ArrayBuffer(OUTBOX_BYTES), counters: new Float64Array(COUNTERS_BYTES / 8) },
  );
  const now = monotonicMicros();
  for (const [index, name] of ['lan0', 'wan0'].entries()) setCarrier(engine, name, index, true);
  for (const [name, word, prefixLength] of [
    ['lan0', LAN_ADDRESS, 16],
    ['wan0', 0, 0],
  ] as const) {
    const destination = new Uint8Array(4);
    new DataView(destination.buffer).setInt32(0, word & (prefixLength === 0 ? 0 : 0xffff_0000));
    engine.handleLink({ kind: 'route', family: 4, destination, prefixLength, name, metric: 0, present: true }, now);
  }
  return { engine, memory: new Uint8Array(arena), view: new DataView(arena) };
}

function setCarrier(engine: Engine, name: string, index: number, carrier: boolean): void {
  const operState = carrier ? 6 : 2;
  engine.handleLink(
    { kind: 'interface', name, index: index + 2, up: true, carrier, operState, mtu: 1_500 },
    monotonicMicros(),
  );
}

/** Opens every connection and puts its bytes in flight. */
function fill({ engine, memory, view }: Bench): void {
  const spec = new TcpSpec();
  const payload = Uint8Array.from({ length: SUPER }, (_none, index) => index);
  const send = (port: number, isNear: boolean, seq: number, ack: number, flags: number, length: number): void => {
    spec.vnetLength = 10;
    spec.addresses[isNear ? 0 : 4] = LAN_ADDRESS;
    spec.addresses[isNear ? 4 : 0] = WAN_ADDRESS;
    spec.srcPort = isNear ? port : 443;
    spec.dstPort = isNear ? 443 : port;
    spec.seq = seq;
    spec.ack = ack;
    spec.flags = flags;
    spec.window = WINDOW;
    spec.mss = (flags & SYN) === 0 ? -1 : SEGMENT;
    spec.windowScale = (flags & SYN) === 0 ? -1 : SHIFT;
    spec.payload = length > 0 ? payload : null;
    spec.payloadTo = length;
    spec.gsoSize = length > SEGMENT ? SEGMENT : 0;
    const at = engine.readOffset;
    const size = emitTcp(memory, view, at, spec);
    engine.handlePacket(at, size, monotonicMicros());
  };
  for (let port = 10_000; port < 10_000 + FLOWS; port++) {
    send(port, true, 0, 0, SYN, 0);
    send(port, false, 0, 1, SYN | ACK, 0);
    send(port, true, 1, 1, ACK, 0);
    send(port, false, 1, 1, ACK, 0);
    for (let seq = 1; seq < PER_FLOW; seq += SUPER) send(port, true, seq, 1, ACK, SUPER);
  }
}

/** Takes the uplink away and does what the datapath's loop does until everything is acknowledged. @returns micros */
async function lose({ engine }: Bench, port: MessagePort | null): Promise<number> {
  const began = monotonicMicros();
  setCarrier(engine, 'wan0', 1, false);
  let written = 0;
  let synced = 0;
  for (let now = began; now - began < LONGEST_MICROS; now = monotonicMicros()) {
    if (engine.pollTimeout() <= now) engine.handleTimeout(now);
    const batch = engine.pollJournal(now);
    if (batch !== null) {
      if (batch.urgent) written = batch.number;
      port?.postMessage(batch satisfies JournalOrder, [batch.buffer]);
    }
    for (let next = port && receiveMessageOnPort(port); next; next = port && receiveMessageOnPort(port)) {
      const report = next.message as JournalReport;
      if (report.kind === 'failed') throw new TcpfreezeError('BENCH_JOURNAL', `the journal: ${report.reason}`, '');
      if (report.kind !== 'synced') continue;
      synced = report.number;
      engine.handleJournalSync(synced, monotonicMicros());
    }
    while (engine.pollTransmit() > 0);
    const status = engine.handleCommand({ kind: 'status' }, now);
    const isTaken = status.kind === 'status' && status.custodyBytes === FLOWS * PER_FLOW;
    if (isTaken && batch === null && synced >= written && (port === null || written > 0))
      return monotonicMicros() - began;
    await turn();
  }
  throw new TcpfreezeError('BENCH_JOURNAL', 'not everything was taken into custody', 'see src/lab/bench/journal.ts');
}

/** For people. */
export function journalText(figures: readonly JournalFigure[]): string[] {
  return [
    `A loss with ${FLOWS} connections and ${Math.round((FLOWS * PER_FLOW) / 1e6)} MB in flight: until all of it is synced and acknowledged`,
    ...figures.map(
      ({ place, seconds, secondsWithout }) =>
        `  journal on ${place.padEnd(6)} ${medianOf(seconds).toFixed(3)} s   (without a journal ${medianOf(secondsWithout).toFixed(3)} s; goal with one: below 1 s)`,
    ),
    '',
  ];
}
