/** `tcpfreeze replay`: a capture through the engine, offline. */
import { closeSync, fstatSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../base/errors.ts';
import type { Micros } from '../base/time.ts';
import { readCaptureFile } from '../capture/capture-file.ts';
import { PcapngWriter } from '../capture/pcapng-writer.ts';
import { Replay, type ReplayAction, type ReplaySink } from '../capture/replay.ts';
import { replayJson, summaryText, Trace } from '../capture/replay-text.ts';
import { parseScript, SCRIPT_MAX_BYTES, type ScriptEvent } from '../capture/script.ts';
import { LINK_NAMES } from '../capture/sides.ts';
import { packageVersion } from '../control/version.ts';
import type { Prefix } from '../wire/address.ts';
import { ProgressBar } from './progress-bar.ts';

export interface ReplayFlags {
  readonly script?: string;
  readonly out?: string;
  readonly speed: 'fast' | 'real';
  readonly lan?: readonly Prefix[];
  readonly list?: boolean;
  readonly json?: boolean;
}

/** Largest datagram; replays have no reason to cut. */
const SNAP_LENGTH = 65_535;

export async function replay(input: string, flags: ReplayFlags): Promise<void> {
  // Everything that can be refused is, before the work starts.
  const script = flags.script === undefined ? [] : readScript(flags.script);
  const output = flags.out === undefined ? null : openOutput(flags.out, input);
  try {
    await run(input, flags, script, output);
  } finally {
    if (output !== null) closeSync(output.fd);
  }
}

interface Output {
  readonly fd: number;
  readonly path: string;
}

async function run(
  input: string,
  flags: ReplayFlags,
  script: readonly ScriptEvent[],
  output: Output | null,
): Promise<void> {
  const trace = flags.list === true ? new Trace((line) => process.stdout.write(`${line}\n`)) : null;
  const writer = output === null ? null : writerTo(output);
  const sink: ReplaySink = {
    wants: writer !== null ? 'all' : trace !== null ? 'deeds' : 'none',
    passed: () => trace?.passed(),
    packet(action: ReplayAction): void {
      trace?.packet(action);
      writer?.packet({ ...action, time: action.time() });
    },
    event: (at, message) => trace?.event(at, message),
  };
  // Lines of a trace on the same terminal show the progress themselves.
  const isListed = trace !== null && process.stdout.isTTY === true;
  const bar = new ProgressBar(isListed ? { write: () => true } : process.stderr, 'replay');
  const engine = new Replay({ script, lan: flags.lan ?? [], sink });
  try {
    const packets = readCaptureFile(input, (done, size) => bar.update(done, size));
    if (flags.speed === 'real') {
      const started = performance.now();
      for (const at of engine.turns(packets)) await until(started, at);
    } else engine.run(packets);
  } finally {
    bar.end();
    // What was done before a damaged record is kept.
    trace?.flush();
    writer?.end(engine.clock.toNanos(engine.clock.now));
  }
  if (flags.json === true) process.stdout.write(`${JSON.stringify(replayJson(engine))}\n`);
  else process.stdout.write(`${summaryText(engine, basename(input))}\n`);
}

async function until(started: number, at: Micros): Promise<void> {
  const wait = started + at / 1_000 - performance.now();
  if (wait >= 1) await sleep(wait);
}

function readScript(path: string): ScriptEvent[] {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > SCRIPT_MAX_BYTES)
      throw new TcpfreezeError('SCRIPT_INVALID', `${path} has ${size} bytes`, 'give a script of link events');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof TcpfreezeError) throw error;
    throw new TcpfreezeError(
      'SCRIPT_UNREADABLE',
      `cannot read ${path} (${codeOf(error)})`,
      'check name and permissions',
    );
  }
  return parseScript(text, LINK_NAMES);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function openOutput(path: string, input: string): Output {
  try {
    if (isSameFile(path, input))
      throw new TcpfreezeError('OUTPUT_REFUSED', `${path} is the capture itself`, 'name another file with --out');
    const fd = openSync(path, 'w');
    if (fstatSync(fd).isDirectory()) throw new Error('EISDIR');
    return { fd, path };
  } catch (error) {
    if (error instanceof TcpfreezeError) throw error;
    throw new TcpfreezeError(
      'OUTPUT_REFUSED',
      `cannot write ${path} (${codeOf(error)})`,
      'name another file with --out',
    );
  }
}

function isSameFile(path: string, input: string): boolean {
  const [a, b] = [path, input].map((name) => statSync(name, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.isFile() && a.dev === b.dev && a.ino === b.ino;
}

function writerTo({ fd, path }: Output): PcapngWriter {
  const interfaces = [
    { name: LINK_NAMES[0], description: 'LAN side, as inferred or named' },
    { name: LINK_NAMES[1], description: 'WAN side' },
    { name: 'tcpfreeze', description: 'packets made by the gateway' },
  ];
  return new PcapngWriter({ application: `tcpfreeze ${packageVersion()}` }, interfaces, SNAP_LENGTH, (bytes) => {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    } catch (error) {
      throw new TcpfreezeError('OUTPUT_FAILED', `cannot write ${path} (${codeOf(error)})`, 'make room, then repeat');
    }
  });
}
