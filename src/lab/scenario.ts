/**
 * Stories: a network, some connections, an outage, with the gateway or without, and what became of it all. The demo, the
 * end-to-end tests and the benchmark tell the same ones.
 *
 * A story waits on states: until the transfers run at the link's rate and no sender is recovering from a loss; then it cuts,
 * waits out the outage, restores, waits until the transfers have recovered (or died, or the patience is over),
 * ends them and collects.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Capture, type CaptureFinding } from './capture.ts';
import { type GatewayOptions, LabGateway } from './gateway.ts';
import { type CutKind, type LinkUp, monotonicMicros, STANDARD_LINK } from './link-handle.ts';
import { sweep } from './namespace.ts';
import { judgeRecovery, type Recovery } from './recovery.ts';
import { resetsSent, SocketSampler } from './sampler.ts';
import type { SocketReading } from './ss.ts';
import { addTimelines, type Timeline } from './timeline.ts';
import { assertLabPossible, Lab, type LabOptions } from './topology.ts';
import { type EndReport, type Flow, type FlowOptions, Traffic } from './traffic-handle.ts';
import { until } from './wait.ts';
import { warmUp } from './warm-up.ts';

/**
 * Plays one story in a lab of its own, which is gone when it returns or throws.
 * @throws TcpfreezeError: no permission, a program is missing, the transfers never got going, the gateway did not start
 */
export async function runStory(options: StoryOptions): Promise<StoryResult> {
  await assertLabPossible();
  await sweep();
  const lab = await Lab.create(options);
  let gateway: LabGateway | undefined;
  let capture: Capture | undefined;
  try {
    if (options.gateway) gateway = await LabGateway.start(lab, options.gateway === true ? {} : options.gateway);
    const traffic = await Traffic.start(lab);
    if (options.capture) capture = await Capture.start(lab);
    const flows = await openWarm(options, lab, traffic);
    return await play(options, { lab, traffic, flows, gateway }, capture);
  } finally {
    capture?.remove();
    await gateway?.stop();
    await lab.dispose();
  }
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

async function play(options: StoryOptions, scene: Scene, capture: Capture | undefined): Promise<StoryResult> {
  const { lab, flows, gateway } = scene;
  const link = options.link ?? STANDARD_LINK;
  const rttMillis = 2 * link.delayMillis;
  const bulk = flows.filter((flow) => flow.options.mode !== 'echo');
  const sampler = new SocketSampler(lab, flows);

  await options.onStage?.('warm', scene);
  const before = await sampler.take();
  const outage = await playOutages(options, scene, reporter(options, flows, 'link lost'));
  await options.onStage?.('restored', scene);

  const progress = reporter(options, flows, 'recovering');
  const after = await followRecovery(options, bulk, outage, sampler, rttMillis, progress);
  await options.onStage?.('recovered', scene);
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
      retransmissions: first && last && last.retransmitsTotal - first.retransmitsTotal,
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
    gatewayLog: gateway?.log ?? [],
    counters: gateway?.exitCode === undefined ? (await gateway?.client.status())?.counters : undefined,
  };
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
