/**
 * What a flood of spoofed segments costs an established connection: iperf3 with and without it, through the kernel alone and
 * through the gateway, in turn. A flood costs plain forwarding something, too: the gateway is judged beside it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LabChild } from '../child.ts';
import { residentBytes } from '../process-gauge.ts';
import { ADDRESS, LAN_INTERFACE } from '../topology.ts';
import { until } from '../wait.ts';
import { medianOf } from './figures.ts';
import { type Bed, makeBed, openPath, removeBed } from './paths.ts';

export const FLOOD_KINDS = ['syn', 'ack', 'data', 'tiny', 'probe'] as const;
export type FloodKind = (typeof FLOOD_KINDS)[number];

/** Where the spoofed segments go: 198.18.0.0/24 (RFC 2544, for benchmarks), which the server throws away. */
export const FLOOD_PREFIX = '198.18.0.0/24';
export const FLOOD_PREFIX_WORD = 0xc612_0000 | 0;
/** Spoofed segments per second. */
const RATE = 50_000;

const ESTABLISHED_MILLIS = 600;

const WAYS = ['kernel', 'gateway'] as const;
type Way = (typeof WAYS)[number];

/**
 * What the flow sends, bits per second: as much as the links of an edge router carry; and as much as it can (0), when every processor is
 * busy with it before the flood comes.
 */
const LOADS = [1e9, 10e9, 0] as const;
type Load = (typeof LOADS)[number];

export interface FloodFigure {
  readonly kind: FloodKind;
  readonly load: Load;
  /** Share of the throughput that is left under the flood, per repetition, and the rate reached. */
  readonly kept: Readonly<Record<Way, readonly number[]>>;
  /** Gateway to kernel; the median. The goal is 0.8. */
  readonly gatewayToKernel: number;
  /** Spoofed segments per second that were sent, the median. */
  readonly rate: number;
}

export interface FloodResult {
  readonly figures: readonly FloodFigure[];
  /** Resident memory of the gateway before and after all floods, bytes. */
  readonly memoryBefore: number;
  readonly memoryAfter: number;
}

export interface FloodOptions {
  readonly repetitions: number;
  readonly seconds: number;
  readonly kinds?: readonly FloodKind[];
  readonly loads?: readonly Load[];
  readonly onProgress: (line: string) => void;
}

/** @throws TcpfreezeError: iperf3 is missing or failed; what the lab throws */
export async function measureFlood(options: FloodOptions): Promise<FloodResult> {
  const { repetitions, seconds, onProgress, kinds = FLOOD_KINDS, loads = LOADS } = options;
  const bed = await makeBed();
  try {
    await bed.gateway.ip('route', 'add', FLOOD_PREFIX, 'via', ADDRESS.server[4]);
    await bed.server.ip('route', 'add', 'blackhole', FLOOD_PREFIX);
    const flooder = await startFlooder(bed);
    await serve(bed);
    const trials = loads.flatMap((load) => kinds.map((kind) => ({ load, kind, ...emptyTrial() })));
    let memoryBefore = 0;
    let memoryAfter = 0;
    for (let turn = 0; turn < repetitions; turn++) {
      for (const way of WAYS) {
        const path = await openPath(way, bed);
        try {
          await transfer(bed, 2, 0);
          if (path.pid !== undefined && turn === 0) memoryBefore = residentBytes(path.pid) ?? 0;
          for (const load of loads) {
            const calm = await transfer(bed, seconds, load);
            for (const { kind, kept, rates } of trials.filter((trial) => trial.load === load)) {
              const port = 40_000 + turn;
              const transferred = transfer(bed, seconds, load, port);
              // The flow is established when the flood comes, and the flood there when the measurement begins (`--omit 1`).
              await sleep(ESTABLISHED_MILLIS);
              await flooder.request('start', { kind, rate: RATE, port });
              const began = performance.now();
              const stormy = await transferred;
              const { sent } = await flooder.request('stop');
              rates.push((Number(sent) / (performance.now() - began)) * 1_000);
              kept[way].push(stormy / calm);
              const percent = ((100 * stormy) / calm).toFixed(0);
              onProgress(
                `flood ${turn + 1}/${repetitions}: ${way}, ${loadText(load)}, ${kind}: ${percent} % of the throughput is left`,
              );
            }
          }
          if (path.pid !== undefined) memoryAfter = Math.max(memoryAfter, residentBytes(path.pid) ?? 0);
        } finally {
          await path.close();
        }
      }
    }
    await flooder.stop();
    const figures = trials.map(({ kind, load, kept, rates }) => {
      const gatewayToKernel = medianOf(kept.gateway) / medianOf(kept.kernel);
      return { kind, load, kept, gatewayToKernel, rate: medianOf(rates) };
    });
    return { figures, memoryBefore, memoryAfter };
  } finally {
    await removeBed(bed);
  }
}

function emptyTrial(): { readonly kept: Record<Way, number[]>; readonly rates: number[] } {
  return { kept: { kernel: [], gateway: [] }, rates: [] };
}

function loadText(load: Load): string {
  return load === 0 ? 'unlimited' : `${load / 1e9} Gb/s`;
}

async function startFlooder(bed: Bed): Promise<LabChild> {
  const text = await bed.gateway.exec('ip', ['-json', 'link', 'show', 'dev', LAN_INTERFACE]);
  const [link] = JSON.parse(text) as [{ address: string }];
  return LabChild.start(bed.host, 'lab/bench/flood-sender.js', [link.address]);
}

async function serve(bed: Bed): Promise<void> {
  bed.server.spawn('iperf3', ['--server'], { stdio: 'ignore' });
  const listening = async (): Promise<boolean> =>
    (await bed.server.exec('ss', ['-tlHn', 'sport', '=', ':5201'])) !== '';
  await until(listening, { what: 'iperf3 listening', timeoutMillis: 5_000 });
}

/** Bits per second of one flow. @param port the host's port of the data connection, 0: any */
async function transfer(bed: Bed, seconds: number, load: Load, port = 0): Promise<number> {
  const bind = port === 0 ? [] : ['--cport', `${port}`];
  const text = await bed.host.exec('iperf3', [
    ...['--client', ADDRESS.server[4], '--time', `${seconds}`, '--omit', '1', '--bitrate', `${load}`, '--json'],
    ...bind,
  ]);
  const report = JSON.parse(text) as { end?: { sum_received?: { bits_per_second: number } }; error?: string };
  await sleep(200);
  const bps = report.end?.sum_received?.bits_per_second;
  if (bps === undefined) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return bps;
}

export function floodText({ figures, memoryBefore, memoryAfter }: FloodResult): string[] {
  const share = (values: readonly number[]): string => `${(100 * medianOf(values)).toFixed(0)} %`.padStart(7);
  return [
    'Floods of spoofed segments beside one flow (iperf3): throughput that is left',
    `  ${'segments'.padEnd(12)}${'the flow'.padEnd(12)}${'per second'.padStart(12)}${'kernel'.padStart(10)}${'gateway'.padStart(10)}${'ratio'.padStart(8)}`,
    ...figures.map(
      ({ kind, load, kept, gatewayToKernel, rate }) =>
        `  ${kind.padEnd(12)}${loadText(load).padEnd(12)}${rate.toFixed(0).padStart(12)}${share(kept.kernel).padStart(10)}${share(kept.gateway).padStart(10)}${gatewayToKernel.toFixed(2).padStart(8)}`,
    ),
    `  gateway's memory ${(memoryBefore / 2 ** 20).toFixed(0)} MiB before, ${(memoryAfter / 2 ** 20).toFixed(0)} MiB after (goal of the ratio: 0.80 or more)`,
    '',
  ];
}
