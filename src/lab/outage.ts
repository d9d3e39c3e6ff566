/** The middle of a story: link down, link up, and what the transfers make of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CutKind, type LinkUp, monotonicMicros } from './link-handle.ts';
import { judgeRecovery } from './recovery.ts';
import type { SocketSampler } from './sampler.ts';
import type { SocketReading } from './ss.ts';
import type { Progress, Scene, StoryOptions } from './story.ts';
import { addTimelines, type Timeline } from './timeline.ts';
import type { Flow } from './traffic-handle.ts';
import { until } from './wait.ts';

export interface PlayedOutage {
  /** The first cut, and link-up after the last, microseconds of CLOCK_MONOTONIC. */
  readonly cutAt: number;
  readonly restoredAt: number;
  /** The senders' sockets when the freeze was ordered (empty without an order), and just before the link came back. */
  readonly ordered: ReadonlyMap<string, SocketReading>;
  readonly frozen: ReadonlyMap<string, SocketReading>;
  /** Per flow: when the echo of its line came, microseconds; undefined: nothing typed, or the connection died. */
  readonly typed: readonly Promise<number | undefined>[];
}

/** Reading the sockets takes a few milliseconds of processor time, on a busy machine tens: not at the moment of link-up. */
const READING_MICROS = 300_000;

/**
 * @param wake called before the end of each outage: from then on the story needs the machine again
 * @param asleep called when nothing more is to happen until then
 */
export async function playOutages(
  options: StoryOptions,
  scene: Scene,
  sampler: SocketSampler,
  wake: () => Promise<void>,
  asleep: () => void,
): Promise<PlayedOutage> {
  const { lab, flows, gateway } = scene;
  const kind = options.cut ?? 'carrier';
  const progress = reporter(options, flows, 'link lost');
  const ticking = setInterval(progress, 250);
  const typed: Promise<number | undefined>[] = [];
  const selector = { link: lab.lostInterface };
  let cutAt = 0;
  let restoredAt = 0;
  let ordered: ReadonlyMap<string, SocketReading> = new Map();
  let frozen: ReadonlyMap<string, SocketReading> = new Map();
  try {
    for (const [index, seconds] of options.outages.entries()) {
      if (index > 0) await options.onStage?.('again', scene);
      const at = await (options.loss === undefined ? lab.link.cut(kind) : options.loss.begin(scene));
      if (index === 0) {
        cutAt = at;
        await options.onStage?.('cut', scene);
      }
      const end = at + seconds * 1e6;
      if (options.freezeAfterMillis !== undefined && gateway !== undefined) {
        await sleepUntil(at + options.freezeAfterMillis * 1000);
        await gateway.client.act('freeze', selector);
        ordered = await sampler.take();
      }
      if (options.typeAfterMillis !== undefined && index === 0) {
        await sleepUntil(at + options.typeAfterMillis * 1000);
        for (const flow of flows) typed.push(typeInto(flow));
      }
      if (options.turns !== undefined) asleep();
      await sleepUntil(end - READING_MICROS);
      await wake();
      frozen = await sampler.take();
      await sleepUntil(end);
      restoredAt =
        options.loss === undefined ? linkUpTime(kind, await lab.link.restore()) : await options.loss.end(scene);
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
  return { cutAt, restoredAt, ordered, frozen, typed };
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
export async function followRecovery(
  options: StoryOptions,
  scene: Scene,
  outage: PlayedOutage,
  sampler: SocketSampler,
  rttMillis: number,
): Promise<ReadonlyMap<string, SocketReading>> {
  const { cutAt, restoredAt, typed } = outage;
  const bulk = scene.flows.filter((flow) => flow.options.mode !== 'echo');
  const progress = reporter(options, scene.flows, 'recovering');
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

/** A function that reports progress unless the last report is still under way. */
export function reporter(options: StoryOptions, flows: readonly Flow[], phase: Progress['phase']): () => void {
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
