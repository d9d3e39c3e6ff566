/**
 * What a capture at full rate costs: iperf3 with one flow through one gateway, in turn without a capture and with one. The capture
 * keeps all packets, 128 bytes of each: every header, as much as a capture that runs all the time would keep.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabGateway } from '../gateway.ts';
import { medianOf } from './figures.ts';
import { makeBed, type Path, removeBed } from './paths.ts';
import { measure, serve } from './throughput.ts';

const SNAP_LENGTH = 128;
/** As in throughput.ts: until the compiler is done. */
const WARM_SECONDS = 5;

export interface CaptureCostOptions {
  readonly repetitions: number;
  readonly seconds: number;
  readonly onProgress: (line: string) => void;
}

export interface CaptureCostResult {
  /** Bits per second, one value per repetition. */
  readonly without: readonly number[];
  readonly with: readonly number[];
  /** Share of the throughput that a capture takes, each repetition against its own; the median. The goal is 0.15. */
  readonly cost: number;
  /** The same by processor time per byte of the whole gateway: what it would be if nothing else ran on the machine. */
  readonly costByProcessorTime: number;
  /** Processor time of the whole gateway, the writing thread included, per gigabyte carried, seconds; the medians. */
  readonly processorSeconds: { readonly without: number; readonly with: number };
  /** Packets in the files, packets dropped, and bytes of the files, per second of capture. */
  readonly packetsPerSecond: number;
  readonly dropped: number;
  readonly bytesPerSecond: number;
}

/** @throws TcpfreezeError: iperf3 is missing or failed; what the lab throws */
export async function measureCaptureCost(options: CaptureCostOptions): Promise<CaptureCostResult> {
  const { repetitions, seconds, onProgress } = options;
  const bed = await makeBed();
  const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-bench-'));
  try {
    await serve(bed);
    const gateway = await LabGateway.start(bed);
    const path: Path = { pid: gateway.pid, close: async () => {} };
    const found = { off: [] as number[], on: [] as number[], offCost: [] as number[], onCost: [] as number[] };
    let packets = 0;
    let dropped = 0;
    let bytes = 0;
    let captured = 0;
    try {
      await measure(bed, path, 1, WARM_SECONDS);
      const file = join(directory, 'bench.pcapng');
      // The capture's own code warms up, too.
      await gateway.command('capture', 'start', '--file', file, '--snaplen', String(SNAP_LENGTH));
      await measure(bed, path, 1, 2);
      await gateway.command('capture', 'stop');
      for (let turn = 0; turn < repetitions; turn++) {
        const off = await measure(bed, path, 1, seconds);
        const { id } = await gateway.client.startCapture({ file, snaplen: SNAP_LENGTH });
        const began = performance.now();
        const on = await measure(bed, path, 1, seconds);
        captured += (performance.now() - began) / 1_000;
        const [stopped] = await gateway.client.stopCapture(id);
        packets += stopped?.packets ?? 0;
        dropped += stopped?.dropped ?? 0;
        bytes += statSync(file).size;
        found.off.push(off.bps);
        found.on.push(on.bps);
        found.offCost.push(off.processorSeconds ?? 0);
        found.onCost.push(on.processorSeconds ?? 0);
        const rate = (bps: number): string => (bps / 1e9).toFixed(2);
        onProgress(`capture ${turn + 1}/${repetitions}: ${rate(off.bps)} Gb/s without, ${rate(on.bps)} Gb/s with`);
      }
    } finally {
      await gateway.stop();
    }
    return {
      without: found.off,
      with: found.on,
      cost: medianOf(found.on.map((bps, turn) => 1 - bps / found.off[turn]!)),
      costByProcessorTime: medianOf(found.onCost.map((on, turn) => 1 - found.offCost[turn]! / on)),
      processorSeconds: { without: medianOf(found.offCost), with: medianOf(found.onCost) },
      packetsPerSecond: packets / captured,
      dropped,
      bytesPerSecond: bytes / captured,
    };
  } finally {
    await removeBed(bed);
    rmSync(directory, { recursive: true, force: true });
  }
}

export function captureCostText(result: CaptureCostResult): string[] {
  const { cost, costByProcessorTime, processorSeconds, packetsPerSecond, dropped, bytesPerSecond } = result;
  const line = (what: string, bps: readonly number[], seconds: number): string => {
    const range = `${(Math.min(...bps) / 1e9).toFixed(2)} .. ${(Math.max(...bps) / 1e9).toFixed(2)}`;
    const rate = (medianOf(bps) / 1e9).toFixed(2).padStart(7);
    return `  ${what.padEnd(30)}${rate} Gb/s   (${range}, ${seconds.toFixed(2)} processor s/GB)`;
  };
  const written = `${packetsPerSecond.toFixed(0)} packets and ${(bytesPerSecond / 1e6).toFixed(1)} MB per second, ${dropped} dropped`;
  return [
    `Capture of one flow at full rate, ${SNAP_LENGTH} bytes of each packet`,
    line('without', result.without, processorSeconds.without),
    line('with', result.with, processorSeconds.with),
    `  ${'cost'.padEnd(30)}${(100 * cost).toFixed(1).padStart(7)} %      (goal: below 15 %; ${written})`,
    `  ${'the same by processor time'.padEnd(30)}${(100 * costByProcessorTime).toFixed(1).padStart(7)} %`,
    '',
  ];
}
