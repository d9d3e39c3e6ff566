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

export interface StoryOptions extends LabOptions {
  /** The connections; all are opened before the warm-up. */
  readonly flows: readonly FlowOptions[];
  /** Default: none, i.e. plain kernel forwarding. */
  readonly gateway?: boolean | GatewayOptions;
  readonly cut?: CutKind;
  /** Length of each outage in seconds; several are several cuts in a row. */
  readonly outages: readonly number[];
  /** Time from link-up to the next cut of several, milliseconds, default 100. */
  readonly betweenMillis?: number;
  /** Order the freeze by command this long after the cut, and the resume at link-up: for cuts that nothing else sees. */
  readonly freezeAfterMillis?: number;
  /** Type a line into each echo connection this long after the (first) cut. */
  readonly typeAfterMillis?: number;
  /** Least warm-up time, milliseconds, default 3000. */
  readonly warmMillis?: number;
  /** How long to wait for recovery, seconds; default 30 and one and a half outages. */
  readonly patienceSeconds?: number;
  /** How long the recovered transfers are followed, milliseconds, default 1500. */
  readonly afterMillis?: number;
  /** Capture on both sides of the gateway and check it; costs processor time. Default false. */
  readonly capture?: boolean;
  /** Called at the turns of the story, to do more than is foreseen here (kill the gateway, ask it for its state). */
  readonly onStage?: (stage: Stage, scene: Scene) => Promise<void> | void;
  /** Called about four times a second with the bytes received so far by each flow: for showing progress. */
  readonly onProgress?: (progress: Progress) => void;
}

/** `warm`: about to cut. `cut`: just cut. `restored`: just restored. `recovered`: before the transfers are ended. */
export type Stage = 'warm' | 'cut' | 'restored' | 'recovered';

export interface Scene {
  readonly lab: Lab;
  readonly traffic: Traffic;
  readonly flows: readonly Flow[];
  readonly gateway: LabGateway | undefined;
}

export interface Progress {
  readonly phase: 'warming up' | 'link lost' | 'recovering';
  readonly at: number;
  readonly receivedBytes: readonly number[];
}

export interface FlowResult {
  readonly options: FlowOptions;
  /** undefined: still open when the story ended. */
  readonly sent: EndReport | undefined;
  readonly received: EndReport | undefined;
  /** Every byte arrived, unchanged and in order, and both ends closed without an error. */
  readonly intact: boolean;
  readonly timeline: Timeline | undefined;
  readonly recovery: Recovery | undefined;
  /** The sender's socket just before the first cut, at the end of the last outage, and 15 RTT after link-up or later. */
  readonly before: SocketReading | undefined;
  readonly frozen: SocketReading | undefined;
  readonly after: SocketReading | undefined;
  /** Segments that the sender's kernel retransmitted between `before` and `after`. */
  readonly retransmissions: number | undefined;
  /** From link-up to the echo of the line that was typed during the outage, milliseconds. */
  readonly echoMillis: number | undefined;
}

export interface StoryResult {
  readonly flows: readonly FlowResult[];
  /** All bulk transfers added up. */
  readonly timeline: Timeline | undefined;
  readonly recovery: Recovery | undefined;
  /** Microseconds of CLOCK_MONOTONIC: the first cut; link-up after the last (of an `admin` cut: operational again). */
  readonly cutAt: number;
  readonly restoredAt: number;
  /** RSTs that each kernel sent by itself during the story. */
  readonly resets: Readonly<Record<'host' | 'gateway' | 'server', number>>;
  /** What tshark found wrong; undefined without a capture. */
  readonly findings: readonly CaptureFinding[] | undefined;
  readonly gatewayLog: readonly string[];
  /** The gateway's counters at the end of the story, before it was stopped. */
  readonly counters: Readonly<Record<string, number>> | undefined;
}

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

interface PlayedOutage {
  readonly cutAt: number;
  readonly restoredAt: number;
  readonly frozen: ReadonlyMap<string, SocketReading>;
  /** Per flow: when the echo of its line came, microseconds; undefined: nothing typed, or the connection died. */
  readonly typed: readonly Promise<number | undefined>[];
}

async function playOutages(options: StoryOptions, scene: Scene, progress: () => void): Promise<PlayedOutage> {
  const { lab, flows, gateway } = scene;
  const kind = options.cut ?? 'carrier';
  const ticking = setInterval(progress, 250);
  const typed: Promise<number | undefined>[] = [];
  const selector = { link: lab.lostInterface };
  let cutAt = 0;
  let restoredAt = 0;
  let frozen: ReadonlyMap<string, SocketReading> = new Map();
  try {
    for (const [index, seconds] of options.outages.entries()) {
      const at = await lab.link.cut(kind);
      if (index === 0) {
        cutAt = at;
        await options.onStage?.('cut', scene);
      }
      const end = at + seconds * 1e6;
      if (options.freezeAfterMillis !== undefined && gateway !== undefined) {
        await sleepUntil(at + options.freezeAfterMillis * 1000);
        await gateway.client.act('freeze', selector);
      }
      if (options.typeAfterMillis !== undefined && index === 0) {
        await sleepUntil(at + options.typeAfterMillis * 1000);
        for (const flow of flows) typed.push(typeInto(flow));
      }
      // The reading takes a few milliseconds of processor time; not at the moment of link-up.
      await sleepUntil(end - 200_000);
      frozen = await new SocketSampler(lab, flows).take();
      await sleepUntil(end);
      restoredAt = linkUpTime(kind, await lab.link.restore());
      if (options.freezeAfterMillis !== undefined && gateway !== undefined) {
        // Nothing but the command tells the gateway that the link is back.
        restoredAt = monotonicMicros();
        await gateway.client.act('resume', selector);
      }
      if (index < options.outages.length - 1) await sleepUntil(restoredAt + (options.betweenMillis ?? 100) * 1000);
    }
  } finally {
    clearInterval(ticking);
  }
  return { cutAt, restoredAt, frozen, typed };
}

function linkUpTime(kind: CutKind, up: LinkUp): number {
  return kind === 'admin' ? up.operationalAt : up.openedAt;
}

async function typeInto(flow: Flow): Promise<number | undefined> {
  if (flow.options.mode !== 'echo') return undefined;
  return flow.line('typed while the link is down').then(
    (echo) => echo.at,
    () => undefined,
  );
}

/**
 * Waits until every bulk flow is back at its rate or closed, and every typed line is echoed; then takes the readings.
 * @returns the senders' sockets, not before 15 RTT after link-up
 */
async function followRecovery(
  options: StoryOptions,
  bulk: readonly Flow[],
  outage: PlayedOutage,
  sampler: SocketSampler,
  rttMillis: number,
  progress: () => void,
): Promise<ReadonlyMap<string, SocketReading>> {
  const { cutAt, restoredAt, typed } = outage;
  const longest = Math.max(...options.outages, 0);
  const patience = options.patienceSeconds ?? 30 + 1.5 * longest;
  let pending = typed.length;
  for (const echo of typed) echo.finally(() => pending--);
  const recovered = async (): Promise<boolean> => {
    progress();
    const timelines: Timeline[] = [];
    for (const flow of bulk) {
      const { sent, received } = flow.ends;
      const one = await flow.timeline();
      if (one === undefined) continue;
      timelines.push(one);
      const alive = sent === undefined && received === undefined;
      if (alive && judgeRecovery(one, { cutAt, restoredAt, rttMillis }).firstByteMillis === undefined) return false;
    }
    if (bulk.length === 0) return pending === 0;
    if (bulk.every((flow) => flow.ends.sent !== undefined)) return true;
    const total = judgeRecovery(addTimelines(timelines), { cutAt, restoredAt, rttMillis });
    return total.to85Millis !== undefined && pending === 0;
  };
  const early = sleepUntil(restoredAt + 15 * rttMillis * 1000).then(() => sampler.take());
  await until(recovered, { what: 'recovery', timeoutMillis: patience * 1000, everyMillis: 250 }).catch(() => {
    // That is a result, too: the verdicts say what did not come back.
  });
  const soon = await early;
  const settled = performance.now() + (options.afterMillis ?? 1500);
  while (performance.now() < settled) {
    progress();
    await sleep(250);
  }
  // Without the gateway a sender may still be in back-off then; in that case the later reading tells more.
  const late = await sampler.take();
  return new Map(
    [...late].map(([name, reading]) => [name, (soon.get(name)?.backoff ?? 1) > 0 ? reading : soon.get(name)!]),
  );
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

function reporter(options: StoryOptions, flows: readonly Flow[], phase: Progress['phase']): () => void {
  let busy = false;
  return () => {
    if (options.onProgress === undefined || busy) return;
    busy = true;
    Promise.all(flows.map((flow) => flow.received())).then(
      (receivedBytes) => {
        busy = false;
        options.onProgress?.({ phase, at: monotonicMicros(), receivedBytes });
      },
      () => {
        // A flow's agent is going away; the story itself will report that.
      },
    );
  };
}

async function sleepUntil(at: number): Promise<void> {
  const left = at - monotonicMicros();
  if (left > 0) await sleep(left / 1000);
}
