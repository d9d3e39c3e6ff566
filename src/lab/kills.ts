/**
 * Kills: the gateway is killed (SIGKILL) again and again while connections are frozen and handed back, and started anew with the same
 * journal. Whatever it had acknowledged in another's name has to arrive: every receiver's bytes are compared by hash.
 *
 *   npm run kills -- --count 500 [--seed N]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { TcpfreezeError } from '../base/errors.ts';
import { Prng } from '../base/prng.ts';
import { LabGateway } from './gateway.ts';
import { residueOf, routerState } from './residue.ts';
import { Lab } from './topology.ts';
import { type Flow, type FlowOptions, faultOf, Traffic } from './traffic-handle.ts';
import { until } from './wait.ts';

export interface KillsOptions {
  readonly count: number;
  readonly seed: number;
  readonly onProgress?: (line: string) => void;
}

export interface KillsResult {
  readonly kills: number;
  /** Of them, with bytes in custody at that moment. */
  readonly withCustody: number;
  /** Connections that ended, all of them with every byte intact. */
  readonly connections: number;
  readonly bytes: number;
  /** What went wrong, one line each. */
  readonly complaints: readonly string[];
}

/** Both directions, both families, both openers, and one that only talks now and then. */
const FLOWS: readonly FlowOptions[] = [
  { mode: 'upload' },
  { mode: 'upload', family: 6, opener: 'host' },
  { mode: 'download' },
  { mode: 'download', family: 6 },
  { mode: 'upload', opener: 'server' },
  { mode: 'echo' },
];
/** Slow enough that the machine keeps up, fast enough that there is something in flight. */
const LINK = { rateBps: 30e6, delayMillis: 10, queuePackets: 200 };
/** After so many kills every connection must have got on, and one of them makes room for a new one. */
const LOOK_EVERY = 10;
const PROGRESS_MILLIS = 60_000;
const END_MILLIS = 240_000;

/** @throws TcpfreezeError as the lab does */
export async function runKills({ count, seed, onProgress }: KillsOptions): Promise<KillsResult> {
  const dice = new Prng(seed);
  const pause = (most: number): Promise<void> => sleep(dice.nextBelow(most));
  const complaints: string[] = [];
  const journal = mkdtempSync(join(tmpdir(), 'tcpfreeze-kills-'));
  const lab = await Lab.create({ topology: 'router', link: LINK });
  let connections = 0;
  let bytes = 0;
  let kills = 0;
  let withCustody = 0;
  try {
    const untouched = await routerState(lab.gateway);
    const start = (): Promise<LabGateway> => LabGateway.start(lab, { args: ['--journal', journal] });
    let gateway = await start();
    const traffic = await Traffic.start(lab);
    const flows = await Promise.all(FLOWS.map((options) => traffic.open(options)));
    const kill = async (): Promise<void> => {
      const custody = (await gateway.client.status().catch(() => undefined))?.custodyBytes ?? 0;
      if (custody > 0) withCustody++;
      await gateway.stop('SIGKILL');
      kills++;
      await pause(200);
      gateway = await start();
    };
    const finish = async (flow: Flow): Promise<void> => {
      await flow.stop();
      const report = await Promise.race([flow.finished(), sleep(END_MILLIS, undefined, { ref: false })]);
      connections++;
      bytes += report?.received.bytes ?? 0;
      const { mode, family = 4 } = flow.options;
      const name = `${mode} over IPv${family}`;
      const fault =
        report === undefined ? `never ended: ${await socketsOf(lab, flow)}` : faultOf(report, mode === 'echo');
      if (fault !== null) complaints.push(`${name}: ${fault}`);
    };
    while (kills < count && complaints.length === 0) {
      await pause(400);
      await lab.link.cut('carrier');
      await pause(400);
      if (dice.nextBelow(3) > 0) await kill();
      await pause(300);
      await lab.link.restore();
      await pause(150);
      if (dice.nextBelow(3) > 0 && kills < count) await kill();
      if (Math.floor(kills / LOOK_EVERY) <= connections) continue;
      onProgress?.(`${kills} kills, ${withCustody} with bytes in custody, ${connections} connections ended intact`);
      const before = await Promise.all(flows.map((flow) => flow.received()));
      const bulk = flows.filter(({ options }) => options.mode !== 'echo');
      await until(
        async () => {
          const now = await Promise.all(bulk.map((flow) => flow.received()));
          return now.every((got, index) => got > before[flows.indexOf(bulk[index]!)]!);
        },
        { what: `progress of every connection after ${kills} kills (seed ${seed})`, timeoutMillis: PROGRESS_MILLIS },
      );
      const at = dice.nextBelow(flows.length);
      await finish(flows[at]!);
      flows[at] = await traffic.open(FLOWS[at]!);
    }
    await Promise.all(flows.map(finish));
    if ((await gateway.stop()) !== 0) complaints.push('the gateway did not end well');
    complaints.push(...residueOf(untouched, await routerState(lab.gateway)));
  } catch (error) {
    complaints.push(error instanceof TcpfreezeError ? error.message : String(error));
  } finally {
    await lab.dispose();
    rmSync(journal, { recursive: true, force: true });
  }
  return { kills, withCustody, connections, bytes, complaints };
}

/** How both ends of a connection stand, for whoever has to find out why it does not move. */
async function socketsOf(lab: Lab, { port }: Flow): Promise<string> {
  const filter = ['-tinHO', `sport = :${port} or dport = :${port}`];
  const states = await Promise.all([lab.host, lab.server].map((end) => end.exec('ss', filter)));
  return states.map((text) => text.trim().replace(/\s+/g, ' ') || 'no socket').join(' | ');
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { count: { type: 'string' }, seed: { type: 'string' } } });
  const seed = Number(values.seed ?? Date.now() % 1e6);
  const onProgress = (line: string): void => void process.stdout.write(`${line}\n`);
  const { complaints, ...figures } = await runKills({ count: Number(values.count ?? 50), seed, onProgress });
  process.stdout.write(`${JSON.stringify({ seed, ...figures })}\n`);
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
  process.exit(complaints.length === 0 ? 0 : 1);
}
