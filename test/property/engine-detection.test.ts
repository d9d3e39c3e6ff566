/**
 * Detection over a simulated network: what is noticed, how soon, at what price, and what is not taken for a loss.
 * TCPFREEZE_DETECTION_SEEDS sets how many seeds each ten-minute run without a loss is tried with (default 2).
 */
import { describe, expect, it } from 'vitest';
import { type Micros, millis, seconds } from '../../src/base/time.ts';
import { DEFAULT_DETECTORS, type DetectorConfig } from '../../src/policy/detectors.ts';
import { defaultRoute } from '../link/default-route.ts';
import { type EndpointConfig, LINUX } from '../sim/endpoint-config.ts';
import { ARENA, GATEWAY } from '../sim/gateway.ts';
import { Network, type SimFlow } from '../sim/network.ts';
import { CLEAN, type WireConfig } from '../sim/wire.ts';

const LINK: WireConfig = { ...CLEAN, delay: millis(19), bytesPerSecond: 12_500_000 };
const CUT = seconds(5);
const ROUTER = defaultRoute('192.0.2.1');

function makeNetwork(
  wan: WireConfig = LINK,
  seed = 5,
  base: Partial<EndpointConfig> = {},
  detectors: Partial<DetectorConfig> = {},
): Network {
  const settings = { ...DEFAULT_DETECTORS, ...detectors };
  const network = new Network({
    seed,
    lan: CLEAN,
    wan,
    engine: { ...GATEWAY, ports: GATEWAY.ports.map((port) => ({ ...port, detectors: settings })) },
    arenaBytes: 4 * ARENA,
    extraTimeouts: 0.01,
    base: { ...LINUX, receiveBuffer: 4_000_000, windowScale: 7, ...base },
  });
  network.tell({ kind: 'event', event: ROUTER });
  return network;
}

function addFlow(
  network: Network,
  lan: Partial<EndpointConfig>,
  wan: Partial<EndpointConfig>,
  hosts = [0, 0],
): SimFlow {
  const index = network.flows.length;
  return network.addFlow({
    lan: { contentSeed: 2 * index, peerContentSeed: 2 * index + 1, iss: 7_000 * index - 9_000, ...lan },
    wan: { contentSeed: 2 * index + 1, peerContentSeed: 2 * index, iss: 0x7fff_0000 + index, ...wan },
    family: 4,
    lanHost: hosts[0]!,
    wanHost: hosts[1]!,
    lanPort: 40_000 + index,
    wanPort: 80,
    opener: 'lan',
  });
}

const writes = (bytes: number): Partial<EndpointConfig> => ({ deeds: [{ at: 0, write: bytes, pause: 0 }] });

/** A few bytes at the start, then nothing for an hour. */
const idles: Partial<EndpointConfig> = {
  closes: false,
  deeds: [
    { at: 0, write: 100, pause: 0 },
    { at: seconds(3_600), write: 1, pause: 0 },
  ],
};

function types(every: Micros, length: Micros): Partial<EndpointConfig> {
  const deeds = Array.from({ length: Math.floor(length / every) }, (_, i) => ({ at: i * every, write: 60, pause: 0 }));
  return { deeds };
}

interface Told {
  readonly name: string;
  readonly at: Micros;
  readonly message: string;
}

function told(network: Network, pattern: RegExp): Told[] {
  return (network.gateway?.events ?? [])
    .filter(({ name }) => pattern.test(name))
    .map(({ name, at, message }) => ({ name, at, message }));
}

const LOST = /^(link|host)-lost$/;
const RESTORED = /^(link|host)-restored$/;

function expectIntact(network: Network): void {
  const done = (): boolean => network.flows.every((flow) => flow.lan.isDone && flow.wan.isDone);
  expect(network.run(network.now + seconds(900), done)).toBe(true);
  expect(network.complaints()).toEqual([]);
  for (const { lan, wan } of network.flows) expect([lan.failure, wan.failure]).toEqual([null, null]);
}

describe('packets swallowed', () => {
  it.each([1, 3])('under %i downloads: noticed within 1 s, though nobody asks', (count) => {
    const network = makeNetwork();
    for (let i = 0; i < count; i++) addFlow(network, {}, writes(90_000_000 / count), [i, i]);
    network.at(CUT, () => network.cut('wan', 'none', 0));
    network.at(CUT + seconds(10), () => network.restore('wan', 'none', 0));
    network.run(CUT + seconds(10));
    const lost = told(network, LOST);
    expect(lost[0]!.at - CUT).toBeLessThan(seconds(1));
    // One host alone is held for lost first; lost echoes then tell that it is the link.
    expect(lost.map(({ name }) => name)).toEqual(count === 1 ? ['host-lost', 'link-lost'] : ['link-lost']);
    network.run(CUT + seconds(10) + millis(300));
    expect(told(network, RESTORED)).toHaveLength(lost.length);
    expectIntact(network);
  });

  it('with idle connections only, default settings: noticed within 5 s, at no more than an echo per second', () => {
    const network = makeNetwork();
    for (let i = 0; i < 3; i++) addFlow(network, idles, idles, [i, i]);
    const cut = seconds(60.3);
    network.at(cut, () => network.cut('wan', 'none', 0));
    network.run(cut);
    const wanEchoes = network.echoesAsked.filter(({ name }) => name === 'wan0');
    expect(wanEchoes.length).toBeGreaterThan(50);
    expect(wanEchoes.length).toBeLessThanOrEqual(61);
    expect(told(network, LOST)).toEqual([]);
    network.run(cut + seconds(8));
    const lost = told(network, LOST);
    expect(lost.map(({ name }) => name)).toEqual(['link-lost']);
    expect(lost[0]!.at - cut).toBeLessThan(seconds(5));
    network.run(cut + seconds(200));
    const late = network.echoesAsked.length;
    network.run(cut + seconds(260));
    expect(network.echoesAsked.length - late).toBeLessThanOrEqual(60);
    network.restore('wan', 'none', 0);
    const back = network.now;
    network.run(back + seconds(1.5));
    const restored = told(network, RESTORED);
    expect(restored).toHaveLength(1);
    expect(network.complaints()).toEqual([]);
  });

  it('with idle connections only, without echoes, keepalives every 5 s', () => {
    const network = makeNetwork(LINK, 5, {}, { echo: null, keepalive: seconds(5) });
    for (let i = 0; i < 3; i++) addFlow(network, idles, idles, [i, i]);
    const cut = seconds(60.3);
    network.at(cut, () => network.cut('wan', 'none', 0));
    const early = network.wires.wanOut.sent;
    network.run(cut);
    expect(network.wires.wanOut.sent - early).toBeLessThan(60);
    network.run(cut + seconds(8));
    expect(told(network, LOST).map(({ name }) => name)).toEqual(['link-lost']);
    network.restore('wan', 'none', 0);
    network.run(network.now + seconds(1));
    expect(told(network, RESTORED)).toHaveLength(1);
  });

  it('again while custody is being delivered', () => {
    const network = makeNetwork({ ...LINK, bytesPerSecond: 1_250_000 });
    addFlow(network, writes(12_000_000), {}, [0, 0]);
    addFlow(network, writes(12_000_000), {}, [1, 1]);
    network.at(CUT, () => network.cut('wan', 'none', 0));
    network.at(CUT + seconds(10), () => network.restore('wan', 'none', 0));
    const again = CUT + seconds(10) + millis(180);
    network.at(again, () => network.cut('wan', 'none', 0));
    network.at(again + seconds(20), () => network.restore('wan', 'none', 0));
    network.run(again + seconds(2));
    const lost = told(network, LOST);
    expect(lost).toHaveLength(2);
    expect(lost[1]!.at - again).toBeLessThan(seconds(2));
    expectIntact(network);
  });
});

describe('a host of the LAN', () => {
  it.each([
    ['a download to it', writes(60_000_000)],
    ['lines typed to it', types(millis(400), seconds(100))],
  ])('that vanishes under %s is noticed within 3 s, the others go on', (_what, deeds) => {
    const network = makeNetwork({ ...LINK, bytesPerSecond: 2_500_000 });
    const gone = addFlow(network, { closes: false }, deeds, [0, 0]);
    const stays = addFlow(network, {}, writes(60_000_000), [1, 0]);
    const receive = gone.lan.handlePacket.bind(gone.lan);
    network.at(CUT, () => {
      gone.lan.handlePacket = () => undefined;
    });
    const received = (): number => stays.lan.receiver.readUpTo;
    network.run(CUT + seconds(3));
    const lost = told(network, LOST);
    expect(lost.map(({ name, message }) => [name, message.slice(0, 16)])).toEqual([['host-lost', 'host 10.1.0.10 l']]);
    const at = received();
    network.run(CUT + seconds(6));
    expect(received() - at).toBeGreaterThan(2_500_000);
    network.at(CUT + seconds(6), () => {
      gone.lan.handlePacket = receive;
    });
    network.run(CUT + seconds(6.4));
    expect(told(network, RESTORED).map(({ name }) => name)).toEqual(['host-restored']);
    expect(network.complaints()).toEqual([]);
  });
});

describe('a link whose carrier flaps at 1 Hz', () => {
  it('is frozen and thawed twice at most, and given back soon after it is steady', () => {
    const network = makeNetwork();
    addFlow(network, writes(100_000_000), {});
    for (let i = 0; i < 60; i++) {
      network.at(CUT + seconds(i), () => network.cut('wan', 'carrier', 0));
      network.at(CUT + seconds(i + 0.5), () => network.restore('wan', 'carrier', 0));
    }
    network.run(CUT + seconds(59.9));
    expect(told(network, LOST)).toHaveLength(2);
    expect(told(network, RESTORED)).toHaveLength(1);
    network.run(CUT + seconds(59.5) + seconds(20.5));
    expect(told(network, RESTORED)).toHaveLength(2);
    expectIntact(network);
  });
});

const SEEDS = Array.from({ length: Number(process.env.TCPFREEZE_DETECTION_SEEDS ?? 2) }, (_, i) => i + 1);

describe('no false alarm within 10 minutes', () => {
  const LENGTH = seconds(600);
  const LOSSY: WireConfig = { ...LINK, loss: 0.05 };

  it.each(SEEDS)('of 5 % loss: idle connections, seed %i', (seed) => {
    const network = makeNetwork(LOSSY, seed);
    for (let i = 0; i < 3; i++) addFlow(network, idles, idles, [i, i]);
    network.run(LENGTH);
    expect(told(network, LOST)).toEqual([]);
    expect(network.echoesAsked.length).toBeGreaterThan(500);
  });

  it.each(SEEDS)('of 5 % loss: a download, seed %i', (seed) => {
    const network = makeNetwork({ ...LOSSY, bytesPerSecond: 250_000 }, seed, { closes: false });
    addFlow(network, {}, writes(200_000_000));
    network.run(LENGTH);
    expect(told(network, LOST)).toEqual([]);
    expect(network.complaints()).toEqual([]);
  });

  it.each(SEEDS)('of downloads that stop and go, seed %i', (seed) => {
    const network = makeNetwork(LOSSY, seed, { closes: false });
    const deeds = Array.from({ length: 180 }, (_, i) => ({ at: seconds(3.3 * i), write: 60_000, pause: 0 }));
    addFlow(network, {}, { deeds });
    network.run(LENGTH);
    expect(told(network, LOST)).toEqual([]);
  });

  it.each(SEEDS)(
    'of 1.5 s of queue in front of everybody: idle connections, echoes and a download, seed %i',
    (seed) => {
      // The queue is the other side's, so that nothing of it shows before it is there.
      const bloated: WireConfig = { ...LINK, bytesPerSecond: 125_000, queuePackets: 130 };
      const network = makeNetwork(bloated, seed, { closes: false });
      for (let i = 0; i < 3; i++) addFlow(network, idles, idles, [i, i]);
      addFlow(
        network,
        {},
        { deeds: Array.from({ length: 6 }, (_, i) => ({ at: seconds(90 * i + 20), write: 5_000_000, pause: 0 })) },
      );
      addFlow(network, { deeds: [{ at: seconds(300), write: 5_000_000, pause: 0 }] }, {});
      network.run(LENGTH);
      expect(told(network, LOST)).toEqual([]);
    },
  );

  it('of a LAN host that only sleeps a second at a time', () => {
    const network = makeNetwork({ ...LINK, bytesPerSecond: 2_500_000 }, 3, { closes: false });
    const dozes = addFlow(network, {}, types(millis(200), LENGTH), [0, 0]);
    addFlow(network, {}, types(millis(200), LENGTH), [1, 0]);
    const receive = dozes.lan.handlePacket.bind(dozes.lan);
    for (let i = 1; i < 100; i++) {
      network.at(seconds(5 * i), () => {
        dozes.lan.handlePacket = () => undefined;
      });
      network.at(seconds(5 * i + 1), () => {
        dozes.lan.handlePacket = receive;
      });
    }
    network.run(LENGTH);
    expect(told(network, LOST)).toEqual([]);
  });
});
