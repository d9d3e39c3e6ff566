/**
 * What a long run costs: resident memory and open descriptors of processes, sampled over their lives, and whether they keep growing.
 * Garbage is collected now and then, so a single reading says little: what is compared is the floor (lower quartile) of the first and of
 * the last third of a life, its warm-up left out. A leak raises the floor.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface GaugeSample {
  /** Seconds on any monotonic scale. */
  readonly at: number;
  readonly bytes: number;
  readonly descriptors: number;
}

/** How one life went, after its warm-up. */
export interface GaugeVerdict {
  readonly seconds: number;
  /** Floor of the last third. */
  readonly megabytes: number;
  readonly descriptors: number;
  /** Floor of the last third less that of the first one. */
  readonly megabytesGrown: number;
  readonly descriptorsGrown: number;
  /** Least squares over all samples. */
  readonly megabytesPerHour: number;
  readonly descriptorsPerHour: number;
}

/** Fewer samples than this say nothing about growth. */
const SAMPLES_LEAST = 15;

/** @returns undefined where the life was too short to tell */
export function judgeGrowth(samples: readonly GaugeSample[], warmUpSeconds: number): GaugeVerdict | undefined {
  const from = (samples[0]?.at ?? 0) + warmUpSeconds;
  const warm = samples.filter(({ at }) => at >= from);
  if (warm.length < SAMPLES_LEAST) return undefined;
  const third = Math.floor(warm.length / 3);
  const megabytes = growthOf(warm, third, (sample) => sample.bytes / 2 ** 20);
  const descriptors = growthOf(warm, third, (sample) => sample.descriptors);
  return {
    seconds: Math.round(warm.at(-1)!.at - warm[0]!.at),
    megabytes: megabytes.floor,
    descriptors: descriptors.floor,
    megabytesGrown: megabytes.grown,
    descriptorsGrown: descriptors.grown,
    megabytesPerHour: megabytes.perHour,
    descriptorsPerHour: descriptors.perHour,
  };
}

function growthOf(
  samples: readonly GaugeSample[],
  third: number,
  read: (sample: GaugeSample) => number,
): { floor: number; grown: number; perHour: number } {
  const values = samples.map(read);
  const floor = lowerQuartile(values.slice(-third));
  const times = samples.map(({ at }) => at / 3600);
  const meanTime = mean(times);
  const meanValue = mean(values);
  let above = 0;
  let below = 0;
  for (const [index, time] of times.entries()) {
    above += (time - meanTime) * (values[index]! - meanValue);
    below += (time - meanTime) ** 2;
  }
  return {
    floor: tenths(floor),
    grown: tenths(floor - lowerQuartile(values.slice(0, third))),
    perHour: tenths(below > 0 ? above / below : 0),
  };
}

function lowerQuartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 4)]!;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Memory and descriptors of a process now; undefined when it is gone. */
export function readProcess(pid: number, at: number): GaugeSample | undefined {
  try {
    const bytes = residentBytes(pid);
    return bytes === undefined ? undefined : { at, bytes, descriptors: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return undefined;
  }
}

/** Resident memory of a process (proc(5), status); undefined when it ends just now. @throws ENOENT: there is none */
export function residentBytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1_024;
}

/** The processes that `pid` started and that still run (proc(5), task/children). */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
