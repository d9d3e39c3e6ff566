/**
 * Runs many schedules (schedule.ts) and tells of those that break a promise: one line per seed, and a smaller example of the first.
 *
 *     npm run schedules -- --count 200000 --seed 1 [--jobs 2]
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { explain } from './explain.ts';
import type { GatewayMemory } from './gateway.ts';
import { runScenario } from './run.ts';
import { makeSchedule, makeScheduleMemory } from './schedule.ts';

/** Schedules between two reports. */
const SLICE = 200;
/** So often a line of progress appears where there is no terminal. */
const LOG_INTERVAL_MS = 60_000;

interface Share {
  readonly first: number;
  readonly count: number;
  /** Distance to the next seed: the number of jobs. */
  readonly stride: number;
}

interface Report {
  readonly done: number;
  readonly packets: number;
  readonly frozen: number;
  readonly failures: readonly string[];
}

function runOne(seed: number, memory: GatewayMemory): { packets: number; isFrozen: boolean; failure: string | null } {
  try {
    const { network, complaints } = runScenario(makeSchedule(seed), { memory });
    const packets = Object.values(network.wires).reduce((sum, wire) => sum + wire.sent, 0);
    const isFrozen = (network.gateway?.counter('freezes') ?? 0) > 0;
    return { packets, isFrozen, failure: complaints.length === 0 ? null : complaints.slice(0, 3).join(' | ') };
  } catch (error) {
    return { packets: 0, isFrozen: false, failure: String(error) };
  }
}

function runShare({ first, count, stride }: Share, report: (slice: Report) => void): void {
  const memory = makeScheduleMemory();
  for (let from = 0; from < count; from += SLICE) {
    const done = Math.min(SLICE, count - from);
    let [packets, frozen] = [0, 0];
    const failures: string[] = [];
    for (let index = from; index < from + done; index++) {
      const seed = first + index * stride;
      const outcome = runOne(seed, memory);
      packets += outcome.packets;
      if (outcome.isFrozen) frozen++;
      if (outcome.failure !== null) failures.push(`seed ${seed}: ${outcome.failure}`);
    }
    report({ done, packets, frozen, failures });
  }
}

function wholeNumber(text: string, name: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`schedules: --${name} takes a whole number above 0, not ${text}`);
  process.exit(2);
}

class Progress {
  readonly #count: number;
  readonly #began = Date.now();
  #toldAt = Date.now();
  #done = 0;
  #packets = 0;
  #frozen = 0;
  #failures = 0;
  firstFailure: string | null = null;

  constructor(count: number) {
    this.#count = count;
  }

  add({ done, packets, frozen, failures }: Report): void {
    this.#done += done;
    this.#packets += packets;
    this.#frozen += frozen;
    this.#failures += failures.length;
    this.firstFailure ??= failures[0] ?? null;
    for (const failure of failures) console.log(`${process.stdout.isTTY ? '\r' : ''}${failure}`);
    if (process.stdout.isTTY) process.stdout.write(`\r${this.line()}\x1b[K`);
    else if (Date.now() - this.#toldAt >= LOG_INTERVAL_MS) {
      this.#toldAt = Date.now();
      console.log(this.line());
    }
  }

  line(): string {
    const seconds = (Date.now() - this.#began) / 1_000;
    const rate = (this.#done / Math.max(seconds, 0.001)).toFixed(0);
    return (
      `${this.#done} of ${this.#count} schedules, ${this.#failures} failed; ${seconds.toFixed(0)} s, ${rate} per second; ` +
      `${this.#packets} packets on the wires, ${this.#frozen} schedules with frozen connections`
    );
  }
}

async function runJobs(first: number, count: number, jobs: number, report: (slice: Report) => void): Promise<void> {
  const shares = Array.from({ length: jobs }, (_none, index) => ({
    first: first + index,
    count: Math.floor((count - index + jobs - 1) / jobs),
    stride: jobs,
  }));
  await Promise.all(
    shares.map(
      (share) =>
        new Promise<void>((resolve, reject) => {
          const worker = new Worker(new URL(import.meta.url), { workerData: share });
          worker.on('message', report);
          worker.on('error', reject);
          worker.on('exit', () => resolve());
        }),
    ),
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '1' },
    },
  });
  const [count, first, jobs] = (['count', 'seed', 'jobs'] as const).map((name) => wholeNumber(values[name], name));
  const progress = new Progress(count!);
  await runJobs(first!, count!, Math.min(jobs!, count!), (slice) => progress.add(slice));
  console.log(`${process.stdout.isTTY ? '\r' : ''}${progress.line()}; seeds ${first} to ${first! + count! - 1}`);
  if (progress.firstFailure === null) return;
  const seed = Number(/^seed (\d+)/.exec(progress.firstFailure)?.[1]);
  console.log(`\nA smaller example of seed ${seed}:\n${explain(makeSchedule(seed))}`);
  process.exitCode = 1;
}

if (isMainThread) await main();
else runShare(workerData as Share, (slice) => parentPort?.postMessage(slice));
