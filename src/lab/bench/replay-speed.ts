/**
 * How fast a capture is replayed, and in how much memory: `tcpfreeze replay` as a user starts it, on captures made for it in a
 * temporary folder, once straight through and once with an outage in the middle.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import { compiledProgram } from '../child.ts';
import { processorNanos } from './processor-time.ts';
import { type CaptureFormat, writeLargeCapture } from './replay-capture.ts';

const LARGE_BYTES = 1_000_000_000;
const SMALL_BYTES = 100_000_000;
/** How often memory and processor time are looked at. */
const LOOK_MILLIS = 20;
/** The recorded time of the large capture is about 8 s. */
const OUTAGE = '+3 lose wan0\n+5 restore wan0\n';

export interface ReplayRun {
  readonly seconds: number;
  readonly processorSeconds: number;
  /** Largest resident memory. */
  readonly bytesResident: number;
}

export interface ReplayFigure {
  readonly format: CaptureFormat;
  readonly script: 'none' | 'outage';
  readonly bytes: number;
  readonly packets: number;
  readonly runs: readonly ReplayRun[];
}

export interface ReplaySpeedOptions {
  readonly repetitions: number;
  readonly onProgress: (line: string) => void;
  /** Bytes of the large and of the small capture. */
  readonly sizes?: readonly [number, number];
}

/** @throws TcpfreezeError: the replay failed, or the disk is full */
export async function measureReplay(options: ReplaySpeedOptions): Promise<ReplayFigure[]> {
  const { repetitions, onProgress, sizes = [LARGE_BYTES, SMALL_BYTES] } = options;
  const folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-replay-'));
  try {
    const script = join(folder, 'outage.events');
    writeFileSync(script, OUTAGE);
    const figures: ReplayFigure[] = [];
    for (const format of ['pcap', 'pcapng'] as const) {
      for (const wanted of sizes) {
        const path = join(folder, `traffic.${format}`);
        onProgress(`replay: writing ${Math.round(wanted / 1e6)} MB of ${format}`);
        const { bytes, packets } = writeLargeCapture(path, format, wanted);
        for (const kind of wanted === sizes[0] ? (['none', 'outage'] as const) : (['none'] as const)) {
          const runs: ReplayRun[] = [];
          for (let i = 0; i < repetitions; i++) {
            onProgress(`replay: ${Math.round(bytes / 1e6)} MB of ${format}, ${kind}, ${i + 1} of ${repetitions}`);
            runs.push(await replayOnce(path, kind === 'none' ? [] : ['--script', script], packets));
          }
          figures.push({ format, script: kind, bytes, packets, runs });
        }
        rmSync(path);
      }
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function replayOnce(path: string, args: readonly string[], packets: number): Promise<ReplayRun> {
  const from = performance.now();
  const command = [compiledProgram('cli.js'), 'replay', path, '--json', ...args];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  let processorSeconds = 0;
  let bytesResident = 0;
  const look = (): void => {
    try {
      processorSeconds = processorNanos(child.pid!) / 1e9;
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      // A process that has ended and was not yet waited for has no memory any more.
      bytesResident = Math.max(bytesResident, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024);
    } catch {
      // It has just ended; what was seen last is what it used, less a look's time.
    }
  };
  const timer = setInterval(look, LOOK_MILLIS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(timer));
  const seconds = (performance.now() - from) / 1_000;
  const read = code === 0 ? (JSON.parse(output) as { packets: { read: number } }).packets.read : -1;
  if (read !== packets) throw new TcpfreezeError('BENCH_REPLAY', `${read} of ${packets} packets were replayed`, '');
  return { seconds, processorSeconds, bytesResident };
}
