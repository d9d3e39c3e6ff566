/**
 * Soak: the supervised gateway for hours, on a link that is cut at random, with connections that come and go, captures that start and stop,
 * and kills. Every connection has to end with every byte intact, and neither memory nor descriptors may keep growing.
 *
 *   npm run soak -- --hours 1 [--seed N]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { TcpfreezeError } from '../base/errors.ts';
import { Prng } from '../base/prng.ts';
import { LabGateway } from './gateway.ts';
import { childrenOf, type GaugeSample, type GaugeVerdict, judgeGrowth, readProcess } from './process-gauge.ts';
import { residueOf, routerState } from './residue.ts';
import { Lab } from './topology.ts';
import { type FlowOptions, type FlowReport, faultOf, Traffic } from './traffic-handle.ts';
import { until } from './wait.ts';

export interface SoakOptions {
  readonly hours: number;
  readonly seed: number;
  readonly onProgress?: (line: string) => void;
}

export interface SoakResult {
  readonly cuts: number;
  readonly kills: number;
  /** The gateway was started anew without having been killed here. */
  readonly unasked: number;
  readonly captures: number;
  /** Connections that ended, all of them with every byte intact. */
  readonly connections: number;
  /** Connections that an outage refused before they were open. */
  readonly refused: number;
  readonly bytes: number;
  /** Of the life of the gateway that was watched longest. */
  readonly gateway: GaugeVerdict | undefined;
  readonly supervisor: GaugeVerdict | undefined;
  /** What went wrong, one line each. */
  readonly complaints: readonly string[];
}

/** Slow, so that the run costs little and an outage always finds something under way. */
const LINK = { rateBps: 4e6, delayMillis: 15, queuePackets: 60 };
/** Connections at a time. */
const SLOTS = 6;
const BYTES_MOST = 1_000_000;
const SAMPLE_MILLIS = 2_000;
/** A small arena is filled, and with it resident, within the warm-up; so is a small heap. */
const CONFIG = 'limits:\n  arenaBytes: 8MiB\n';
/** Of a life this share is warm-up, but no more than so many seconds. */
const WARM_UP_SHARE = 0.25;
const WARM_UP_SECONDS = 300;
/** Kills come in the first part of the run; the rest is one long life. */
const KILLS_SHARE = 0.3;
const KILL_EVERY_SECONDS = 60;
/** More than this is a leak: a heap breathes by a few megabytes, and is still finding its size in the first quarter of an hour. */
const MEGABYTES_GROWN_MOST = 16;
const MEGABYTES_GROWN_YOUNG = 32;
const YOUNG_SECONDS = 900;
const DESCRIPTORS_GROWN_MOST = 6;
const END_MILLIS = 300_000;

class Soak {
  readonly #options: SoakOptions;
  readonly #dice: Prng;
  readonly #directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-soak-'));
  readonly #lives = new Map<number, GaugeSample[]>();
  readonly #complaints: string[] = [];
  readonly #killed = new Set<number>();
  readonly #started = performance.now();
  #lab!: Lab;
  #gateway!: LabGateway;
  #traffic!: Traffic;
  #captureId: number | undefined;
  #cuts = 0;
  #captures = 0;
  #connections = 0;
  #refused = 0;
  #bytes = 0;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#dice = new Prng(options.seed);
  }

  async run(): Promise<SoakResult> {
    this.#lab = await Lab.create({ topology: 'router', link: LINK });
    const gauge = setInterval(() => this.#sample(), SAMPLE_MILLIS);
    try {
      const untouched = await routerState(this.#lab.gateway);
      const config = join(this.#directory, 'tcpfreeze.yaml');
      writeFileSync(config, CONFIG);
      const args = ['--config', config, '--journal', join(this.#directory, 'journal')];
      this.#gateway = await LabGateway.start(this.#lab, { args, supervised: true });
      this.#traffic = await Traffic.start(this.#lab);
      await Promise.all([this.#trouble(), ...Array.from({ length: SLOTS }, () => this.#slot())]);
      this.#sample();
      if ((await this.#gateway.stop()) !== 0) this.#complaints.push('the gateway did not end well');
      this.#complaints.push(...residueOf(untouched, await routerState(this.#lab.gateway)));
    } catch (error) {
      this.#complaints.push(error instanceof TcpfreezeError ? error.message : String(error));
    } finally {
      clearInterval(gauge);
      await this.#lab.dispose();
      rmSync(this.#directory, { recursive: true, force: true });
    }
    return this.#result();
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Share of the run that is over; everything comes to its end after 1, or after the first complaint. */
  get #share(): number {
    return this.#complaints.length > 0 ? Infinity : this.#seconds / (this.#options.hours * 3600);
  }

  #between(least: number, most: number): number {
    return least + this.#dice.nextBelow(most - least);
  }

  /** Cuts, kills and captures, one after another. */
  async #trouble(): Promise<void> {
    let killAt = Math.min(this.#between(10, KILL_EVERY_SECONDS), (KILLS_SHARE / 2) * this.#options.hours * 3600);
    let tellAt = 0;
    while (this.#share < 1) {
      await sleep(this.#between(500, 6_000));
      await this.#lab.link.cut(this.#dice.nextBelow(3) === 0 ? 'swallow' : 'carrier');
      this.#cuts++;
      await sleep(this.#between(200, 5_000));
      const isDue = this.#share < KILLS_SHARE && this.#seconds >= killAt;
      const isBefore = this.#dice.nextBelow(2) === 0;
      if (isDue) killAt = this.#seconds + this.#between(10, 2 * KILL_EVERY_SECONDS);
      if (isDue && isBefore) await this.#kill();
      await this.#lab.link.restore();
      if (isDue && !isBefore) await this.#kill();
      await this.#capture();
      if (this.#seconds < tellAt) continue;
      tellAt = this.#seconds + 10;
      this.#options.onProgress?.(this.#progress());
    }
  }

  /** The gateway itself, not its supervisor; waits until the next one answers. */
  async #kill(): Promise<void> {
    const pid = this.#gatewayPid();
    if (pid === undefined) return;
    this.#killed.add(pid);
    this.#captureId = undefined;
    process.kill(pid, 'SIGKILL');
    await until(
      async () => {
        const next = this.#gatewayPid();
        if (next === undefined || next === pid) return false;
        return (await this.#gateway.client.status().catch(() => undefined)) !== undefined;
      },
      { what: 'the next gateway', timeoutMillis: 120_000, everyMillis: 200 },
    );
  }

  /** One capture now and then, from one cut to the next: mostly there is none, so that its descriptors do not count as growth. */
  async #capture(): Promise<void> {
    const { client } = this.#gateway;
    if (this.#captureId !== undefined) {
      await client.stopCapture(this.#captureId);
      this.#captureId = undefined;
      return;
    }
    if (this.#dice.nextBelow(4) > 0) return;
    const file = join(this.#directory, `soak-${this.#captures++}.pcapng`);
    const rotate = { size: 4 * 2 ** 20, count: 2 };
    this.#captureId = (await client.startCapture({ file, snaplen: 128, rotate })).id;
  }

  /** One connection after another. */
  async #slot(): Promise<void> {
    while (this.#share < 1) {
      await sleep(this.#between(0, 2_000));
      const options = this.#draw();
      const { mode, family } = options;
      const name = `${mode} over IPv${family} after ${this.#seconds.toFixed(0)} s`;
      try {
        const flow = await this.#traffic.open(options);
        if (mode === 'echo') {
          for (let left = 3; left > 0; left--) await flow.line('soak');
          await flow.stop();
        }
        const report = await Promise.race([flow.finished(), sleep(END_MILLIS, undefined, { ref: false })]);
        this.#ended(name, report, mode === 'echo');
      } catch (error) {
        // A path that is not there refuses a connection that is not yet one.
        if (!(error instanceof TcpfreezeError && /^connect to /.test(error.message))) {
          this.#complaints.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
        }
        this.#refused++;
      }
    }
  }

  #draw(): FlowOptions & Required<Pick<FlowOptions, 'mode' | 'family'>> {
    const mode = (['upload', 'download', 'upload', 'download', 'echo'] as const)[this.#dice.nextBelow(5)]!;
    const family = this.#dice.nextBelow(2) === 0 ? 4 : 6;
    const opener = this.#dice.nextBelow(3) === 0 ? 'server' : 'host';
    return { mode, family, opener, bytes: this.#between(1, BYTES_MOST), seed: this.#between(1, 1_000_000) };
  }

  #ended(name: string, report: FlowReport | undefined, isEcho: boolean): void {
    if (report === undefined) {
      this.#complaints.push(`${name} never ended`);
      return;
    }
    this.#connections++;
    this.#bytes += report.received.bytes;
    const fault = faultOf(report, isEcho);
    if (fault !== null) this.#complaints.push(`${name}: ${fault}`);
  }

  /** The supervisor's child; undefined while there is none. */
  #gatewayPid(): number | undefined {
    return this.#gateway.pid === undefined ? undefined : childrenOf(this.#gateway.pid)[0];
  }

  #sample(): void {
    const supervisor = this.#gateway?.pid;
    if (supervisor === undefined) return;
    for (const pid of [supervisor, this.#gatewayPid()]) {
      const sample = pid === undefined ? undefined : readProcess(pid, this.#seconds);
      if (pid === undefined || sample === undefined) continue;
      const life = this.#lives.get(pid);
      if (life === undefined) this.#lives.set(pid, [sample]);
      else life.push(sample);
    }
  }

  #progress(): string {
    const pid = this.#gatewayPid();
    const now = pid === undefined ? undefined : this.#lives.get(pid)?.at(-1);
    const size = now === undefined ? '' : `, ${(now.bytes / 2 ** 20).toFixed(0)} MB, ${now.descriptors} descriptors`;
    const minutes = (this.#seconds / 60).toFixed(1);
    const done = `${this.#cuts} cuts, ${this.#killed.size} kills, ${this.#connections} connections`;
    return `${minutes} of ${(this.#options.hours * 60).toFixed(1)} min: ${done}${size}`;
  }

  #result(): SoakResult {
    const supervisor = this.#gateway?.pid;
    const gateways = [...this.#lives].filter(([pid]) => pid !== supervisor);
    const longest = gateways.reduce<readonly GaugeSample[]>(
      (best, [, life]) => (lasted(life) > lasted(best) ? life : best),
      [],
    );
    const own = (supervisor === undefined ? undefined : this.#lives.get(supervisor)) ?? [];
    const result = {
      cuts: this.#cuts,
      kills: this.#killed.size,
      unasked: Math.max(0, gateways.length - 1 - this.#killed.size),
      captures: this.#captures,
      connections: this.#connections,
      refused: this.#refused,
      bytes: this.#bytes,
      gateway: judged(longest),
      supervisor: judged(own),
    };
    const complaints = [...this.#complaints];
    for (const role of ['gateway', 'supervisor'] as const) {
      const verdict = result[role];
      if (verdict === undefined) continue;
      const { seconds, megabytesGrown, descriptorsGrown } = verdict;
      const most = seconds < YOUNG_SECONDS ? MEGABYTES_GROWN_YOUNG : MEGABYTES_GROWN_MOST;
      if (megabytesGrown > most) complaints.push(`the ${role} grew by ${megabytesGrown} MB`);
      if (descriptorsGrown > DESCRIPTORS_GROWN_MOST)
        complaints.push(`the ${role} grew by ${descriptorsGrown} descriptors`);
    }
    return { ...result, complaints };
  }
}

function lasted(life: readonly GaugeSample[]): number {
  return life.length === 0 ? 0 : life.at(-1)!.at - life[0]!.at;
}

function judged(life: readonly GaugeSample[]): GaugeVerdict | undefined {
  return judgeGrowth(life, Math.min(WARM_UP_SECONDS, lasted(life) * WARM_UP_SHARE));
}

/** @throws TcpfreezeError as the lab does */
export function runSoak(options: SoakOptions): Promise<SoakResult> {
  return new Soak(options).run();
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { hours: { type: 'string' }, seed: { type: 'string' } } });
  const hours = Number(values.hours ?? 1);
  const seed = Number(values.seed ?? Date.now() % 1e6);
  if (!(hours > 0) || !Number.isSafeInteger(seed)) {
    process.stderr.write('soak: --hours takes a number above 0, --seed a whole one\n');
    process.exit(2);
  }
  const { isTTY } = process.stdout;
  const onProgress = (line: string): void => void process.stdout.write(isTTY ? `\r${line}\x1b[K` : `${line}\n`);
  const { complaints, ...figures } = await runSoak({ hours, seed, onProgress });
  process.stdout.write(`${isTTY ? '\r\x1b[K' : ''}${JSON.stringify({ hours, seed, ...figures })}\n`);
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
  process.exit(complaints.length === 0 ? 0 : 1);
}
