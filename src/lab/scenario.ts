/**
 * Stories: a network, some connections, an outage, with the gateway or without, and what became of it all. The demo, the
 * end-to-end tests and the benchmark tell the same ones.
 *
 * A story waits on states: until the transfers run at the link's rate and no sender is recovering from a loss; then it cuts,
 * waits out the outage, restores, waits until the transfers have recovered (or died, or the patience is over),
 * ends them and collects.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusJson } from '../control/api.ts';
import { Capture } from './capture.ts';
import { LabGateway } from './gateway.ts';
import { STANDARD_LINK } from './link-handle.ts';
import { sweep } from './namespace.ts';
import { followRecovery, playOutages, reporter } from './outage.ts';
import { judgeRecovery, type Recovery } from './recovery.ts';
import { type RouterState, residueOf, routerState } from './residue.ts';
import { resetsSent, SocketSampler } from './sampler.ts';
import type { SocketReading } from './ss.ts';
import type { Company, FlowResult, Scene, StoryOptions, StoryResult } from './story.ts';
import { addTimelines, type Timeline } from './timeline.ts';
import { assertLabPossible, Lab } from './topology.ts';
import { type EndReport, type Flow, Traffic } from './traffic-handle.ts';
import { Turns } from './turns.ts';
import { until } from './wait.ts';
import { warmUp } from './warm-up.ts';

export type { FlowResult, Progress, Scene, Stage, StoryOptions, StoryResult } from './story.ts';

/**
 * Plays one story in a lab of its own, which is gone when it returns or throws.
 * @throws TcpfreezeError: no permission, a program is missing, the transfers never got going, the gateway did not start
 */
export async function runStory(options: StoryOptions): Promise<StoryResult> {
  await assertLabPossible();
  await sweep();
  const turns = options.turns ?? new Turns();
  let endTurn = await turns.take();
  const turn: Turn = {
    end: () => endTurn(),
    begin: async () => {
      endTurn();
      endTurn = await turns.take();
    },
  };
  let lab: Lab | undefined;
  let gateway: LabGateway | undefined;
  let capture: Capture | undefined;
  let company: Company | undefined;
  try {
    lab = await Lab.create(options);
    company = await options.prepare?.(lab);
    let untouched: RouterState | undefined;
    if (options.gateway) {
      untouched = await routerState(lab.gateway);
      gateway = await LabGateway.start(lab, options.gateway === true ? {} : options.gateway);
      company?.onGateway?.(gateway);
    }
    const traffic = await Traffic.start(lab);
    if (options.capture) capture = await Capture.start(lab);
    const flows = await openWarm(options, lab, traffic);
    const result = await play(options, { lab, traffic, flows, gateway }, capture, turn);
    await gateway?.stop();
    const residue = untouched && residueOf(untouched, await routerState(lab.gateway));
    return { ...result, residue };
  } finally {
    turn.end();
    capture?.remove();
    await gateway?.stop();
    await company?.dispose();
    await lab?.dispose();
  }
}

/** This story's share of the machine. */
interface Turn {
  readonly begin: () => Promise<void>;
  readonly end: () => void;
}

/**
 * Opens the connections and warms them up. Where a sender left slow start far too early (HyStart takes a delay of the machine's own for a
 * filling queue), congestion avoidance would need a minute to reach the link's rate: then all are closed and opened anew.
 */
async function openWarm(options: StoryOptions, lab: Lab, traffic: Traffic): Promise<readonly Flow[]> {
  const { link = STANDARD_LINK, warmMillis = 3000 } = options;
  for (let attempt = 1; ; attempt++) {
    const flows = await Promise.all(options.flows.map((one) => traffic.open(one)));
    const bulk = flows.filter((flow) => flow.options.mode !== 'echo');
    try {
      await warmUp(bulk, new SocketSampler(lab, flows), link, warmMillis, reporter(options, flows, 'warming up'));
      return flows;
    } catch (error) {
      if (attempt === WARM_ATTEMPTS) throw error;
      await Promise.all(flows.map((flow) => flow.stop()));
      await closeAll(flows);
    }
  }
}

const WARM_ATTEMPTS = 4;

async function play(
  options: StoryOptions,
  scene: Scene,
  capture: Capture | undefined,
  turn: Turn,
): Promise<Omit<StoryResult, 'residue'>> {
  const { lab, flows, gateway } = scene;
  const link = options.link ?? STANDARD_LINK;
  const rttMillis = 2 * link.delayMillis;
  const sampler = new SocketSampler(lab, flows);

  await options.onStage?.('warm', scene);
  const { before, cwnd } = await lookBefore(sampler, options.congestion === 'bbr' ? BBR_READINGS : 1);
  const wake = options.turns === undefined ? async () => {} : turn.begin;
  const outage = await playOutages(options, scene, sampler, wake, turn.end);
  await options.onStage?.('restored', scene);
  // A sender without the gateway may sleep on for a minute; no time of it is so short that others could disturb it.
  if (gateway === undefined) turn.end();
  const after = await followRecovery(options, scene, outage, sampler, rttMillis);
  await options.onStage?.('recovered', scene);
  const status = await statusOf(gateway);
  const echoes = await Promise.all(outage.typed.map((echo) => Promise.race([echo, sleep(1000, undefined)])));
  await Promise.all(flows.map((flow) => flow.stop()));
  await closeAll(flows);

  const { cutAt, restoredAt } = outage;
  const judge = (timeline: Timeline | undefined): Recovery | undefined =>
    timeline && judgeRecovery(timeline, { cutAt, restoredAt, rttMillis });
  const results: FlowResult[] = [];
  for (const [index, flow] of flows.entries()) {
    const { sent, received } = flow.ends;
    const timeline = flow.options.mode === 'echo' ? undefined : await flow.timeline();
    const first = before.get(flow.name);
    const ordered = outage.ordered.get(flow.name);
    const last = after.get(flow.name);
    results.push({
      options: flow.options,
      sent,
      received,
      intact: isIntact(flow, sent, received),
      timeline,
      recovery: judge(timeline),
      before: first,
      frozen: outage.frozen.get(flow.name),
      after: last,
      cwndBefore: cwnd.get(flow.name),
      retransmissions: first && last && last.retransmitsTotal - first.retransmitsTotal,
      retransmissionsSinceFreeze: ordered && last && last.retransmitsTotal - ordered.retransmitsTotal,
      echoMillis: echoes[index] === undefined ? undefined : (echoes[index] - restoredAt) / 1000,
    });
  }
  const timelines = results.map((one) => one.timeline).filter((one) => one !== undefined);
  const timeline = timelines.length > 0 ? addTimelines(timelines) : undefined;
  await capture?.stop();
  return {
    flows: results,
    timeline,
    recovery: judge(timeline),
    cutAt,
    restoredAt,
    resets: await resetsSent(lab),
    findings: await capture?.findings(),
    signs: capture && { lan: await capture.signs('lan'), wan: await capture.signs('wan') },
    gatewayLog: gateway?.log ?? [],
    status,
    counters: (await statusOf(gateway))?.counters,
  };
}

/**
 * *Measured* on an undisturbed BBR transfer over the standard link: from one reading to the next, 0.2 s later, the window moves by 3 % in the
 * quiet and by 25 % after a queue overflow.
 */
const BBR_READINGS = 5;
const BETWEEN_READINGS_MILLIS = 200;

/** @returns the last reading of each sender, and the lowest congestion window in all readings */
async function lookBefore(
  sampler: SocketSampler,
  readings: number,
): Promise<{ before: ReadonlyMap<string, SocketReading>; cwnd: ReadonlyMap<string, number> }> {
  const cwnd = new Map<string, number>();
  for (let count = 1; ; count++) {
    const before = await sampler.take();
    for (const [name, reading] of before) cwnd.set(name, Math.min(cwnd.get(name) ?? reading.cwnd, reading.cwnd));
    if (count === readings) return { before, cwnd };
    await sleep(BETWEEN_READINGS_MILLIS);
  }
}

async function statusOf(gateway: LabGateway | undefined): Promise<StatusJson | undefined> {
  return gateway?.exitCode === undefined ? gateway?.client.status() : undefined;
}

/** Ends that close do so within seconds; one that died alone leaves the other end open, which the result shows. */
async function closeAll(flows: readonly Flow[]): Promise<void> {
  const closed = (): boolean => flows.every(({ ends }) => ends.sent !== undefined && ends.received !== undefined);
  const broken = (): boolean => flows.some(({ ends }) => (ends.sent?.error ?? ends.received?.error ?? null) !== null);
  await until(closed, { what: 'all closed', timeoutMillis: broken() ? 3000 : 30_000 }).catch(() => {});
}

function isIntact(flow: Flow, sent: EndReport | undefined, received: EndReport | undefined): boolean {
  if (sent === undefined || received === undefined || sent.error !== null || received.error !== null) return false;
  return flow.options.mode === 'echo' || (sent.sha256 === received.sha256 && sent.bytes === received.bytes);
}
