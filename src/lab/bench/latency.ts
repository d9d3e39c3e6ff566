/** What a way through the router adds to a round trip: a small message to and fro over TCP, one at a time. */
import { LabChild } from '../child.ts';
import { ADDRESS } from '../topology.ts';
import { medianOf, percentile } from './figures.ts';
import { makeBed, openPath, PATHS, type PathName, removeBed } from './paths.ts';

export interface LatencyOptions {
  readonly repetitions: number;
  readonly onProgress: (line: string) => void;
}

export interface LatencyFigure {
  readonly path: PathName;
  /** Medians of the repetitions' medians and 99th percentiles, microseconds. */
  readonly medianMicros: number;
  readonly p99Micros: number;
}

export interface LatencyResult {
  readonly command: string;
  readonly figures: readonly LatencyFigure[];
}

const PORT = 5900;
const MESSAGES = 5_000;
const MESSAGE_BYTES = 64;
/** Round trips that are left out at the start: compilers warm up. */
const WARM_MESSAGES = 2_000;

/** @throws TcpfreezeError: what the lab throws */
export async function measureLatency({ repetitions, onProgress }: LatencyOptions): Promise<LatencyResult> {
  const bed = await makeBed();
  try {
    const server = await LabChild.start(bed.server, 'lab/bench/peer.js');
    await server.request('listen', { port: PORT });
    const host = await LabChild.start(bed.host, 'lab/bench/peer.js');
    const found = new Map<PathName, { medians: number[]; p99s: number[] }>(
      PATHS.map((path) => [path, { medians: [], p99s: [] }]),
    );
    for (let turn = 0; turn < repetitions; turn++) {
      for (const path of PATHS) {
        const open = await openPath(path, bed);
        try {
          const request = { address: ADDRESS.server[4], port: PORT, bytes: MESSAGE_BYTES };
          const answer = await host.request('echo', { ...request, count: WARM_MESSAGES + MESSAGES });
          const micros = (answer.micros as number[]).slice(WARM_MESSAGES);
          found.get(path)!.medians.push(percentile(micros, 0.5));
          found.get(path)!.p99s.push(percentile(micros, 0.99));
          onProgress(`latency ${turn + 1}/${repetitions}: ${path}: ${percentile(micros, 0.5).toFixed(0)} us`);
        } finally {
          await open.close();
        }
      }
    }
    const figures = [...found].map(([path, { medians, p99s }]) => ({
      path,
      medianMicros: medianOf(medians),
      p99Micros: medianOf(p99s),
    }));
    return { command: `${MESSAGES} TCP echoes of ${MESSAGE_BYTES} bytes, one at a time`, figures };
  } finally {
    await removeBed(bed);
  }
}
