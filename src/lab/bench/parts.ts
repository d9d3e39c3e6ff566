/** The parts of the benchmark: one line each here, and a file of its own that measures. */
import { idleText, latencyText, outagesJson, outagesText, replayText, throughputText } from './bench-report.ts';
import { captureCostText, measureCaptureCost } from './capture-cost.ts';
import { detectionText, playDetections } from './detection.ts';
import { floodText, measureFlood } from './flood.ts';
import { measureIdle } from './idle.ts';
import { journalText, measureJournal } from './journal.ts';
import { measureLatency } from './latency.ts';
import { playOutages } from './outages.ts';
import { measureReplay } from './replay-speed.ts';
import { measureThroughput } from './throughput.ts';

export interface PartOptions {
  /** How often each way is measured. */
  readonly repetitions: number;
  /** Length of one measurement of throughput. */
  readonly seconds: number;
  readonly onProgress: (line: string) => void;
}

/** What a part found: for programs, and for people. */
export interface PartResult {
  readonly json: unknown;
  readonly lines: readonly string[];
}

/** In the order in which they run. */
export const PARTS: Readonly<Record<string, (options: PartOptions) => Promise<PartResult>>> = {
  throughput: async (options) => {
    const json = await measureThroughput(options);
    return { json, lines: throughputText(json) };
  },
  latency: async (options) => {
    const json = await measureLatency(options);
    return { json, lines: latencyText(json) };
  },
  idle: async ({ seconds, onProgress }) => {
    const json = await measureIdle({ seconds: 5 * seconds, onProgress });
    return { json, lines: idleText(json) };
  },
  outages: async ({ onProgress }) => {
    const outages = await playOutages(onProgress);
    return { json: outagesJson(outages), lines: outagesText(outages) };
  },
  replay: async (options) => {
    const json = await measureReplay(options);
    return { json, lines: replayText(json) };
  },
  capture: async (options) => {
    const json = await measureCaptureCost(options);
    return { json, lines: captureCostText(json) };
  },
  detection: async ({ seconds, onProgress }) => {
    const json = await playDetections(seconds, onProgress);
    return { json, lines: detectionText(json) };
  },
  journal: async (options) => {
    const json = await measureJournal(options);
    return { json, lines: journalText(json) };
  },
  flood: async (options) => {
    const json = await measureFlood(options);
    return { json, lines: floodText(json) };
  },
};
