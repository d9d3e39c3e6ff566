/**
 * One outage, several stacks: on each the same connections (connections.ts), all at once, because nothing of them is judged by the clock
 * but the return itself.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusJson } from '../../control/api.ts';
import { Capture } from '../capture.ts';
import { LabGateway } from '../gateway.ts';
import { type LinkSettings, monotonicMicros } from '../link-handle.ts';
import { nextLabNumber, sweep } from '../namespace.ts';
import { onLabExit } from '../registry.ts';
import { ADDRESS, assertLabPossible, Lab } from '../topology.ts';
import { TRAFFIC_PORT, TrafficAgent } from '../traffic-handle.ts';
import { type ConnectionResult, Connections } from './connections.ts';
import { type Habit, habitsOf } from './habits.ts';
import { buildPeers, type Peer } from './peer.ts';
import type { Site, Stack } from './stack.ts';

/** Slow enough for emulated kernels to share two processors, fast enough to have something in flight. */
const LINK: LinkSettings = { rateBps: 40e6, delayMillis: 20, queuePackets: 300 };
/** Stacks' subnets are 10.82.N.0/24. */
const STACK_SUBNETS = '10.82';
const PATIENCE_SECONDS = 30;
export interface StackStoryOptions {
  readonly stacks: readonly Stack[];
  readonly gateway: boolean;
  readonly outageSeconds: number;
  /** How long the connections may take to finish after the outage; default 30 s. */
  readonly patienceSeconds?: number;
  /** Keeps the capture of the gateway's LAN side at this path. */
  readonly keepCapture?: string;
}

export interface StackStoryResult {
  readonly connections: readonly ConnectionResult[];
  /** What each stack was seen to send while it was held. */
  readonly habits: readonly Habit[];
  readonly status: StatusJson | undefined;
  readonly findings: readonly string[];
}

/** @throws TcpfreezeError: a stack did not come up, the uploads never got going, the gateway did not start */
export async function runStackStory(options: StackStoryOptions): Promise<StackStoryResult> {
  await assertLabPossible();
  await sweep();
  const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-stacks-'));
  const release = onLabExit(() => rmSync(directory, { recursive: true, force: true }));
  const undo: (() => Promise<void>)[] = [];
  try {
    const built = await buildPeers(directory);
    const lab = await Lab.create({ topology: 'router', link: LINK });
    undo.push(() => lab.dispose());
    await lab.host.sysctl({ 'net.ipv4.ip_forward': 1 });
    await lab.gateway.ip('route', 'add', `${STACK_SUBNETS}.0.0/16`, 'via', ADDRESS.host[4]);
    await lab.server.ip('route', 'add', `${STACK_SUBNETS}.0.0/16`, 'via', ADDRESS.gatewayWan[4]);
    let gateway: LabGateway | undefined;
    if (options.gateway) {
      gateway = await LabGateway.start(lab);
      undo.push(async () => void (await gateway?.stop()));
    }
    const server = await TrafficAgent.start(lab.server);
    const number = nextLabNumber();
    const peers = await Promise.all(
      options.stacks.map(async (stack, index) => {
        const own = mkdtempSync(join(directory, stack.key));
        const site: Site = {
          ...built,
          host: lab.host,
          lab: number,
          directory: own,
          subnet: `${STACK_SUBNETS}.${index + 1}`,
          target: { address: ADDRESS.server[4], port: TRAFFIC_PORT },
          onEnd: (one) => undo.push(one),
        };
        return stack.start(site);
      }),
    );
    undo.push(async () => void (await Promise.all(peers.map((peer) => peer.stop()))));
    const capture = await Capture.start(lab, 'tcp');
    undo.push(async () => capture.remove());
    return await play(options, { lab, gateway, server, peers, capture });
  } finally {
    for (const one of undo.reverse()) await one();
    rmSync(directory, { recursive: true, force: true });
    release();
  }
}

interface Scene {
  readonly lab: Lab;
  readonly gateway: LabGateway | undefined;
  readonly server: TrafficAgent;
  readonly peers: readonly Peer[];
  readonly capture: Capture;
}

async function play(options: StackStoryOptions, scene: Scene): Promise<StackStoryResult> {
  const { lab, gateway, server, capture } = scene;
  const connections = await Connections.open(options.stacks, scene.peers, server);
  const cutAt = await lab.link.cut('carrier');
  const share = (part: number): Promise<unknown> => sleepUntil(cutAt + part * options.outageSeconds * 1e6);
  await share(0.3);
  connections.typeDuringOutage();
  await share(0.4);
  connections.closeDuringOutage();
  await share(1);
  const restoredAt = (await lab.link.restore()).openedAt;
  const patience = (options.patienceSeconds ?? PATIENCE_SECONDS) * 1000;
  const results = await connections.finish({ cutAt, restoredAt }, patience, 2 * LINK.delayMillis);

  const status = gateway?.exitCode === undefined ? await gateway?.client.status() : undefined;
  await capture.stop();
  if (options.keepCapture !== undefined) copyFileSync(capture.file('lan'), options.keepCapture);
  const findings = (await capture.findings()).map(({ side, problem, packets }) => `${side}: ${problem} (${packets})`);
  const habits = await habitsOf(capture, options.stacks, { lost: cutAt, back: restoredAt }, ADDRESS.server[4]);
  return { connections: results, habits, status, findings };
}

function sleepUntil(at: number): Promise<unknown> {
  return sleep(Math.max(0, (at - monotonicMicros()) / 1000));
}
