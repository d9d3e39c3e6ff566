/** How much passes: iperf3 through each of the three ways in turn, several times, so that a slow moment of the machine meets all. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../../base/errors.ts';
import { ADDRESS } from '../topology.ts';
import { until } from '../wait.ts';
import { medianOf } from './figures.ts';
import { type Bed, makeBed, openPath, PATHS, type Path, type PathName, removeBed } from './paths.ts';
import { processorNanos } from './processor-time.ts';

export interface ThroughputOptions {
  readonly repetitions: number;
  /** Of each measurement, after one more second that is left out. */
  readonly seconds: number;
  readonly onProgress: (line: string) => void;
}

export interface ThroughputFigure {
  readonly path: PathName;
  /** Bits per second that the receivers got, one value per repetition. */
  readonly bps: readonly number[];
  /** Processor time of gateway or loop per gigabyte carried, seconds; empty for the kernel. */
  readonly processorSeconds: readonly number[];
}

export interface ThroughputResult {
  readonly flows: number;
  readonly command: string;
  readonly figures: readonly ThroughputFigure[];
  /** Gateway to loop, each repetition against its own; the median. The goal is 0.9. */
  readonly gatewayToLoop: number;
  /** The same by processor time per byte, loop's to gateway's: what it would be if nothing else ran on the machine. */
  readonly byProcessorTime: number;
}

const FLOWS = [1, 50] as const;
/** Left out at the start of a measurement: slow start. */
const OMIT_SECONDS = 1;
/**
 * Traffic before the first measurement of a way, seconds; every way gets it. A gateway runs for months: by then the compiler of Node.js is done
 * with it. (*Measured*: about 40 functions are compiled anew until the arena's offsets have passed 2^31, that is 2 GiB.)
 */
const WARM_SECONDS = 5;

/** @throws TcpfreezeError: iperf3 is missing or failed; what the lab throws */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputResult[]> {
  const bed = await makeBed();
  try {
    await serve(bed);
    const found = new Map<string, { bps: number[]; processorSeconds: number[] }>();
    for (let turn = 0; turn < options.repetitions; turn++) {
      for (let index = 0; index < PATHS.length; index++) {
        // Another order each time.
        const path = PATHS[(index + turn) % PATHS.length]!;
        const open = await openPath(path, bed);
        try {
          for (const flows of FLOWS) await measure(bed, open, flows, WARM_SECONDS);
          for (const flows of FLOWS) {
            const one = await measure(bed, open, flows, options.seconds);
            const key = `${path} ${flows}`;
            const entry = found.get(key) ?? { bps: [], processorSeconds: [] };
            found.set(key, entry);
            entry.bps.push(one.bps);
            if (one.processorSeconds !== undefined) entry.processorSeconds.push(one.processorSeconds);
            const rate = (one.bps / 1e9).toFixed(2);
            options.onProgress(
              `throughput ${turn + 1}/${options.repetitions}: ${path}, ${flows === 1 ? 'one flow' : `${flows} flows`}: ${rate} Gb/s`,
            );
          }
        } finally {
          await open.close();
        }
      }
    }
    return FLOWS.map((flows) => {
      const figures = PATHS.map((path) => ({ path, ...found.get(`${path} ${flows}`)! }));
      const loop = found.get(`loop ${flows}`)!.bps;
      const gateway = found.get(`gateway ${flows}`)!.bps;
      const cost = (path: PathName): number => medianOf(found.get(`${path} ${flows}`)!.processorSeconds);
      const byProcessorTime = cost('loop') / cost('gateway');
      const gatewayToLoop = medianOf(gateway.map((bps, turn) => bps / loop[turn]!));
      return {
        flows,
        command: ['iperf3', ...clientArguments(flows, options.seconds)].join(' '),
        figures,
        gatewayToLoop,
        byProcessorTime,
      };
    });
  } finally {
    await removeBed(bed);
  }
}

export async function serve(bed: Bed): Promise<void> {
  const server = bed.server.spawn('iperf3', ['--server'], { stdio: 'ignore' });
  let ended = false;
  server.once('exit', () => {
    ended = true;
  });
  const listening = async (): Promise<boolean> => {
    if (ended) throw new TcpfreezeError('PROGRAM_MISSING', 'iperf3 does not start', 'install it (Debian: iperf3)');
    return (await bed.server.exec('ss', ['-tlHn', 'sport', '=', ':5201'])) !== '';
  };
  await until(listening, { what: 'iperf3 listening', timeoutMillis: 5_000 });
}

function clientArguments(flows: number, seconds: number): string[] {
  return [
    ...['--client', ADDRESS.server[4], '--parallel', `${flows}`],
    ...['--time', `${seconds}`, '--omit', `${OMIT_SECONDS}`, '--json'],
  ];
}

interface IperfReport {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bits_per_second: number; readonly bytes: number } };
}

export async function measure(
  bed: Bed,
  path: Path,
  flows: number,
  seconds: number,
): Promise<{ bps: number; processorSeconds: number | undefined }> {
  const before = path.pid === undefined ? 0 : processorNanos(path.pid);
  const text = await bed.host.exec('iperf3', clientArguments(flows, seconds));
  const report = JSON.parse(text) as IperfReport;
  const received = report.end?.sum_received;
  if (received === undefined) throw new TcpfreezeError('IPERF_FAILED', `iperf3: ${report.error ?? 'no result'}`, '');
  const bps = received.bits_per_second;
  const spent = path.pid === undefined ? undefined : (processorNanos(path.pid) - before) / 1e9;
  // The part left out cost processor time, too; it is taken to have had the same rate.
  const gigabytes = (bps * (seconds + OMIT_SECONDS)) / 8e9;
  // The server takes its next client only when it is done with this one.
  await sleep(200);
  return { bps, processorSeconds: spent === undefined ? undefined : spent / gigabytes };
}
