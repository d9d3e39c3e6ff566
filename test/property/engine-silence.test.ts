/** Links that swallow packets while they look healthy, and links that only seem to: noticed by the connections themselves. */
import { describe, expect, it } from 'vitest';
import { type Micros, millis, seconds } from '../../src/base/time.ts';
import { DEFAULT_DETECTORS } from '../../src/policy/detectors.ts';
import { type EndpointConfig, LINUX } from '../sim/endpoint-config.ts';
import { ARENA, GATEWAY } from '../sim/gateway.ts';
import { Network, type SimFlow } from '../sim/network.ts';
import { CLEAN, type WireConfig } from '../sim/wire.ts';

const LINK: WireConfig = { ...CLEAN, delay: millis(19), bytesPerSecond: 12_500_000 };
const RTT = millis(40);
const CUT = seconds(2);

function makeNetwork(wan: WireConfig = LINK, seed = 5, base: Partial<EndpointConfig> = {}): Network {
  return new Network({
    seed,
    lan: CLEAN,
    wan,
    engine: {
      ...GATEWAY,
      ports: GATEWAY.ports.map((port) => ({ ...port, detectors: { ...DEFAULT_DETECTORS, echo: null } })),
    },
    arenaBytes: 4 * ARENA,
    extraTimeouts: 0.01,
    base: { ...LINUX, receiveBuffer: 4_000_000, windowScale: 7, ...base },
  });
}

function addFlow(network: Network, lan: Partial<EndpointConfig>, wan: Partial<EndpointConfig>, host = 0): SimFlow {
  const index = network.flows.length;
  return network.addFlow({
    lan: { contentSeed: 2 * index, peerContentSeed: 2 * index + 1, iss: 7_000 * index - 9_000, ...lan },
    wan: { contentSeed: 2 * index + 1, peerContentSeed: 2 * index, iss: 0x7fff_0000 + index, ...wan },
    family: 4,
    lanHost: index % 5,
    wanHost: host,
    lanPort: 40_000 + index,
    wanPort: 80,
    opener: 'lan',
  });
}

const writes = (bytes: number): Partial<EndpointConfig> => ({ deeds: [{ at: 0, write: bytes, pause: 0 }] });

/** A line every `every` for `length`. */
function types(every: Micros, length: Micros): Partial<EndpointConfig> {
  const deeds = Array.from({ length: Math.floor(length / every) }, (_, i) => ({ at: i * every, write: 60, pause: 0 }));
  return { deeds };
}

function eventsOf(network: Network, names: readonly string[]): { name: string; at: Micros }[] {
  return (network.gateway?.events ?? [])
    .filter((event) => names.includes(event.name))
    .map(({ name, at }) => ({ name, at }));
}

const LOST = ['link-lost', 'host-lost'];
const RESTORED = ['link-restored', 'host-restored'];

function expectIntact(network: Network): void {
  const done = (): boolean => network.flows.every((flow) => flow.lan.isDone && flow.wan.isDone);
  expect(network.run(network.now + seconds(900), done)).toBe(true);
  expect(network.complaints()).toEqual([]);
  for (const { lan, wan } of network.flows) expect([lan.failure, wan.failure]).toEqual([null, null]);
}

describe('a link that swallows packets', () => {
  it.each([
    ['one host', [0], 'host-lost'],
    ['two hosts', [0, 1], 'link-lost'],
  ] as const)('under uploads to %s is noticed within 1 s, and so is its return', (_name, hosts, event) => {
    const network = makeNetwork();
    for (const host of hosts) addFlow(network, writes(60_000_000 / hosts.length), {}, host);
    network.at(CUT, () => network.cut('wan', 'none', 0));
    network.at(CUT + seconds(10), () => network.restore('wan', 'none', 0));
    network.run(CUT + seconds(10));
    const lost = eventsOf(network, LOST);
    expect(lost.map(({ name }) => name)).toEqual([event]);
    expect(lost[0]!.at - CUT).toBeLessThan(seconds(1));
    const { retransmits } = network.flows[0]!.lan.sender.stats;
    network.run(CUT + seconds(10) + millis(200) + RTT);
    expect(eventsOf(network, RESTORED)).toHaveLength(1);
    network.run(network.now + 3 * RTT);
    expect(network.flows[0]!.lan.sender.stats.retransmits).toBe(retransmits);
    expectIntact(network);
  });

  it('under sparse traffic is noticed after a few repeats', () => {
    const network = makeNetwork();
    addFlow(network, types(millis(300), seconds(60)), {});
    network.at(CUT, () => network.cut('wan', 'none', 0));
    network.at(CUT + seconds(30), () => network.restore('wan', 'none', 0));
    network.run(CUT + seconds(30));
    const [first] = eventsOf(network, LOST);
    expect((first?.at ?? Number.NaN) - CUT).toBeLessThan(seconds(5));
    expectIntact(network);
  });

  it('is asked ever more slowly, and never more than ten times a second and connection', () => {
    const network = makeNetwork();
    addFlow(network, writes(60_000_000), {});
    network.at(CUT, () => network.cut('wan', 'none', 0));
    network.run(CUT + seconds(5));
    const early = network.wires.wanOut.sent;
    network.run(CUT + seconds(6));
    expect(network.wires.wanOut.sent - early).toBeLessThanOrEqual(11);
    network.run(CUT + seconds(400));
    const late = network.wires.wanOut.sent;
    network.run(CUT + seconds(410));
    expect(network.wires.wanOut.sent - late).toBeLessThanOrEqual(11);
    network.restore('wan', 'none', 0);
    expectIntact(network);
  });

  it('and blinks once a second is not thawed at every blink', () => {
    const network = makeNetwork();
    addFlow(network, writes(80_000_000), {});
    for (let i = 0; i < 40; i++) {
      network.at(CUT + seconds(2 * i), () => network.cut('wan', 'none', 0));
      network.at(CUT + seconds(2 * i + 1), () => network.restore('wan', 'none', 0));
    }
    network.run(CUT + seconds(80));
    // Three losses reach the limit; then one per decay of the penalty, which is 15 s and more.
    expect(eventsOf(network, LOST).length).toBeLessThanOrEqual(3 + 80 / 15);
    expectIntact(network);
  });
});

describe('no false alarm within 10 minutes', () => {
  const LENGTH = seconds(600);

  it.each([1, 2, 3, 4])('of a link that loses 5 % each way, seed %i', (seed) => {
    const slow: WireConfig = { ...LINK, bytesPerSecond: 250_000, loss: 0.05 };
    const network = makeNetwork(slow, seed, { closes: false });
    addFlow(network, writes(200_000_000), {}, 0);
    addFlow(network, types(millis(700), LENGTH), {}, 1);
    network.run(LENGTH);
    expect(eventsOf(network, LOST)).toEqual([]);
    expect(network.complaints()).toEqual([]);
  });

  it.each([5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18])(
    'of 5 % with nothing but a line now and then, seed %i',
    (seed) => {
      const network = makeNetwork({ ...LINK, loss: 0.05 }, seed, { closes: false });
      addFlow(network, types(millis(900), LENGTH), {}, 0);
      network.run(LENGTH);
      expect(eventsOf(network, LOST)).toEqual([]);
    },
  );

  it.each([9, 10])('of a queue of 1.5 s, seed %i', (seed) => {
    const bloated: WireConfig = { ...LINK, bytesPerSecond: 125_000, queuePackets: 130 };
    const network = makeNetwork(bloated, seed, { closes: false });
    addFlow(network, writes(100_000_000), {}, 0);
    addFlow(network, types(millis(800), LENGTH), {}, 1);
    network.run(LENGTH);
    expect(network.flows[0]!.lan.sender.srtt).toBeGreaterThan(seconds(0.8));
    expect(eventsOf(network, LOST)).toEqual([]);
  });

  it('of a link on which one host is dead and another is not', () => {
    const network = makeNetwork({ ...LINK, bytesPerSecond: 250_000 }, 3, { closes: false });
    addFlow(network, writes(200_000_000), {}, 0);
    const dead = addFlow(network, writes(200_000_000), {}, 1);
    network.at(CUT, () => {
      dead.wan.handlePacket = () => undefined;
    });
    network.run(seconds(60));
    expect(dead.lan.sender.backoff).toBeGreaterThan(3);
    expect(eventsOf(network, LOST)).toEqual([]);
  });
});
