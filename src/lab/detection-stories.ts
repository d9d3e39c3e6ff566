/**
 * What the gateway has to notice by itself, and what it must not take for a loss: one list for the end-to-end tests and for
 * `npm run bench -- detection`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type DetectionStory, gatewayOf } from './detection.ts';
import { hostReleases, type LeaseStory, leaseRefused, leaseRunsOut } from './lease-losses.ts';
import { type LinkSettings, monotonicMicros } from './link-handle.ts';
import { ADDRESSES_REMOVED, flapping, HOST_SILENT, HOST_UNPLUGGED, PATH_BEYOND } from './losses.ts';
import type { Loss, StoryOptions } from './story.ts';
import { ADDRESS, WAN_INTERFACE } from './topology.ts';

const WAN = { link: WAN_INTERFACE, host: ADDRESS.server[4] } as const;
const HOST = { host: ADDRESS.host[4] } as const;

const site = { topology: 'site' } as const;
const router = { topology: 'router' } as const;
const upload = [{ mode: 'upload' }] as const;
const two = [{ mode: 'download' }, { mode: 'download', opener: 'guest' }] as const;

function leased({ prepare, loss }: LeaseStory): Pick<StoryOptions, 'prepare' | 'loss'> {
  return { prepare, loss };
}

/** Echo requests per second while nothing is wrong and nothing happens, of the last story that measured it. */
export const idleEchoes = { perSecond: Number.NaN };
const IDLE_SECONDS = 8;

/** What is lost, how long, and within how many milliseconds that has to be noticed. */
export const LOSSES: readonly DetectionStory[] = [
  {
    name: 'carrier lost',
    options: { ...router, flows: upload, cut: 'carrier', outages: [4] },
    subject: WAN,
    noticedWithin: 50,
  },
  {
    name: 'interface down',
    options: { ...router, flows: upload, cut: 'admin', outages: [4] },
    subject: WAN,
    noticedWithin: 50,
  },
  {
    name: 'packets swallowed, upload',
    options: { ...site, flows: upload, cut: 'swallow', outages: [6] },
    subject: WAN,
    noticedWithin: 1_000,
  },
  {
    name: 'packets swallowed, download',
    options: { ...site, flows: [{ mode: 'download' }], cut: 'swallow', outages: [6] },
    subject: WAN,
    noticedWithin: 1_000,
  },
  {
    name: 'packets swallowed, idle connections only',
    options: {
      ...site,
      ...{
        flows: [{ mode: 'echo' }, { mode: 'echo', family: 6 }],
        cut: 'swallow',
        outages: [8],
        typeAfterMillis: 7_000,
      },
      onStage: async (stage, scene) => {
        if (stage !== 'warm') return;
        const count = async (): Promise<number> => (await gatewayOf(scene).client.status()).counters.echoRequests ?? 0;
        const [before, began] = [await count(), monotonicMicros()];
        await sleep(IDLE_SECONDS * 1000);
        idleEchoes.perSecond = ((await count()) - before) / ((monotonicMicros() - began) / 1e6);
      },
    },
    subject: WAN,
    noticedWithin: 5_000,
  },
  {
    name: 'next hop answers, path beyond it dead',
    options: { ...site, flows: upload, loss: PATH_BEYOND, outages: [6] },
    subject: WAN,
    noticedWithin: 1_500,
  },
  {
    name: 'lease ran out (dhclient)',
    options: { ...site, flows: upload, ...leased(leaseRunsOut()), outages: [4] },
    subject: WAN,
    noticedWithin: 100,
  },
  {
    name: 'lease refused (udhcpc)',
    options: { ...site, flows: upload, ...leased(leaseRefused()), outages: [4] },
    subject: WAN,
    noticedWithin: 100,
  },
  {
    name: 'address removed',
    options: { ...site, flows: upload, loss: ADDRESSES_REMOVED, outages: [4] },
    subject: WAN,
    noticedWithin: 100,
  },
  {
    name: 'LAN host unplugged',
    options: { ...site, flows: two, loss: HOST_UNPLUGGED, outages: [6] },
    subject: HOST,
    noticedWithin: 3_000,
  },
  {
    name: 'LAN host silent',
    options: { ...site, flows: two, loss: HOST_SILENT, outages: [6] },
    subject: HOST,
    noticedWithin: 3_000,
  },
  {
    name: 'LAN host released its lease (udhcpc)',
    options: { ...site, flows: two, ...leased(hostReleases()), outages: [5] },
    subject: HOST,
    noticedWithin: 3_000,
  },
];

/** Twice a second up and down, ten seconds long: at most one freeze and one thaw in a damping period. */
export const FLAPPING: DetectionStory = {
  name: 'flapping at 1 Hz',
  options: { ...router, flows: upload, loss: flapping(8), outages: [10], patienceSeconds: 40 },
  subject: WAN,
  noticedWithin: 50,
};

const NOTHING: Loss = { begin: async () => monotonicMicros(), end: async () => monotonicMicros() };

/** 5 % of all packets are lost, in both directions. */
const LOSSY: LinkSettings = { rateBps: 0, delayMillis: 20, queuePackets: 400, loss: 0.05, seed: 7 };
/** The queue holds a second and a half. */
const BLOATED: LinkSettings = { rateBps: 4e6, delayMillis: 20, queuePackets: 500 };

const THREE = [{ mode: 'upload' }, { mode: 'upload', family: 6 }, { mode: 'download' }, { mode: 'echo' }] as const;

/** Links on which nothing is lost but what always is. @param seconds to be watched */
export function quietStories(seconds: number): readonly DetectionStory[] {
  const watched = { ...site, flows: THREE, loss: NOTHING, outages: [seconds], patienceSeconds: 1, afterMillis: 100 };
  return [
    { name: '5 % loss', options: { ...watched, link: LOSSY }, subject: {}, noticedWithin: 0 },
    { name: '1.5 s of queue', options: { ...watched, link: BLOATED }, subject: {}, noticedWithin: 0 },
  ];
}
