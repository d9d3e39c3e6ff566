/**
 * Stories of detection: something is lost, the gateway is told nothing, and what it noticed, when, and of what else, is read from its
 * events afterwards.
 */
import type { EventJson } from '../control/history.ts';
import type { LabGateway } from './gateway.ts';
import { monotonicMicros } from './link-handle.ts';
import { runStory } from './scenario.ts';
import type { Scene, StoryOptions, StoryResult } from './story.ts';

/** What is to be lost: a link by its name, or a host by its address, or either. */
export interface Subject {
  readonly link?: string;
  readonly host?: string;
}

export interface DetectionStory {
  readonly name: string;
  readonly options: Omit<StoryOptions, 'gateway'> & { readonly gateway?: Exclude<StoryOptions['gateway'], false> };
  readonly subject: Subject;
  /** Milliseconds within which the loss is to be noticed. */
  readonly noticedWithin: number;
}

/** A verdict as the events tell it; microseconds of CLOCK_MONOTONIC, exact to a millisecond. */
export interface Verdict {
  readonly name: string;
  readonly at: number;
  readonly message: string;
  readonly link: string | undefined;
  readonly reason: string | undefined;
}

export interface DetectionResult {
  readonly story: StoryResult;
  readonly verdicts: readonly Verdict[];
  /** From the loss until it was noticed; undefined: it was not. */
  readonly noticedMillis: number | undefined;
  readonly reason: string | undefined;
  /** From the return until that was noticed, 0 where it was before its last step; undefined: it was not. */
  readonly restoredMillis: number | undefined;
  /** Losses of anything else, or at any other time. */
  readonly falseAlarms: number;
}

/**
 * A verdict's time is the wall clock's, in whole milliseconds, and the two clocks are read one after the other; and a loss that a
 * script brings about is written down when the script is through.
 */
const CLOCKS_MICROS = 250_000;

const LOST = ['link-lost', 'host-lost', 'scope-lost'];
const RESTORED = ['link-restored', 'host-restored', 'scope-restored'];

/** What the gateway said of links and hosts so far. */
export async function verdictsOf(gateway: LabGateway): Promise<Verdict[]> {
  const events: EventJson[] = [];
  for await (const event of gateway.client.events(false)) events.push(event);
  // Events carry the wall clock's time; the distance of the clocks is that of now.
  const distance = Date.now() * 1000 - monotonicMicros();
  return events
    .filter(({ name }) => LOST.includes(name) || RESTORED.includes(name))
    .map(({ name, time, message, link, reason }) => ({
      name,
      at: Date.parse(time) * 1000 - distance,
      message,
      link,
      reason,
    }));
}

/** Plays one story with the gateway, and reads what it noticed. @throws as runStory */
export async function playDetection({ options, subject }: DetectionStory): Promise<DetectionResult> {
  let verdicts: Verdict[] = [];
  const story = await runStory({
    ...options,
    gateway: options.gateway ?? true,
    onStage: async (stage, scene) => {
      await options.onStage?.(stage, scene);
      if (stage === 'recovered') verdicts = await verdictsOf(scene.gateway!);
    },
  });
  const { cutAt, restoredAt } = story;
  const lost = verdicts.filter(({ name }) => LOST.includes(name));
  const noticed = lost.find((one) => one.at >= cutAt - CLOCKS_MICROS && one.at < restoredAt && concerns(one, subject));
  const restored = verdicts.findLast(
    (one) => RESTORED.includes(one.name) && one.at > (noticed?.at ?? cutAt) && concerns(one, subject),
  );
  const isRight = (one: Verdict): boolean => concerns(one, subject) && one.at < restoredAt;
  return {
    story,
    verdicts,
    noticedMillis: noticed && Math.max(0, (noticed.at - cutAt) / 1000),
    reason: noticed?.reason ?? noticed?.message,
    restoredMillis: restored && Math.max(0, (restored.at - restoredAt) / 1000),
    falseAlarms: lost.filter((one) => !isRight(one) || one.at < cutAt - CLOCKS_MICROS).length,
  };
}

/** By link or by host: where one far host is all that is behind a link, both are right. */
function concerns(verdict: Verdict, { link, host }: Subject): boolean {
  if (link !== undefined && verdict.name.startsWith('link-') && verdict.link === link) return true;
  return host !== undefined && new RegExp(`(^|[^0-9.])${host.replaceAll('.', '\\.')}([^0-9.]|$)`).test(verdict.message);
}

/** The gateway of a scene that has one. */
export function gatewayOf(scene: Scene): LabGateway {
  if (scene.gateway === undefined) throw new Error('a story of detection is told with the gateway');
  return scene.gateway;
}
