/** Planned freezes on model hosts: the link still works during the lead, both ends drain, and neither needs custody. */
import { describe, expect, it } from 'vitest';
import { type Micros, millis, seconds } from '../../src/base/time.ts';
import type { Selector } from '../../src/engine/commands.ts';
import type { Endpoint } from '../sim/endpoint.ts';
import { type EndpointConfig, LINUX } from '../sim/endpoint-config.ts';
import { ARENA, GATEWAY } from '../sim/gateway.ts';
import { Network, type SimFlow } from '../sim/network.ts';
import { CLEAN, type WireConfig } from '../sim/wire.ts';

const LINK: WireConfig = { ...CLEAN, delay: millis(19), bytesPerSecond: 12_500_000 };
const RTT = millis(40);
const ORDER = seconds(2);
const LEAD = millis(500);
const CUT = ORDER + LEAD;
const WAN: Selector = { kind: 'link', name: 'wan0' };

function makeNetwork(base: Partial<EndpointConfig> = {}): Network {
  return new Network({
    seed: 5,
    lan: CLEAN,
    wan: LINK,
    engine: GATEWAY,
    arenaBytes: 4 * ARENA,
    extraTimeouts: 0.02,
    base: { ...LINUX, receiveBuffer: 4_000_000, windowScale: 7, ...base },
  });
}

function addFlow(network: Network, lanBytes: number, wanBytes: number, family: 4 | 6 = 4): SimFlow {
  const index = network.flows.length;
  const writes = (bytes: number): Partial<EndpointConfig> => ({ deeds: [{ at: 0, write: bytes, pause: 0 }] });
  return network.addFlow({
    lan: { contentSeed: 2 * index, peerContentSeed: 2 * index + 1, iss: 7_000 * index - 9_000, ...writes(lanBytes) },
    wan: { contentSeed: 2 * index + 1, peerContentSeed: 2 * index, iss: 0x7fff_0000 + index, ...writes(wanBytes) },
    family,
    lanHost: 0,
    wanHost: index,
    lanPort: 40_000 + index,
    wanPort: 80,
    opener: 'lan',
  });
}

function order(network: Network, kind: 'freeze' | 'resume', selector: Selector, leadMicros?: Micros): void {
  const lead = leadMicros === undefined ? {} : { leadMicros };
  network.tell({ kind: 'command', command: { kind, selector, ...lead } });
}

function expectIntact(network: Network): void {
  const done = (): boolean => network.flows.every((flow) => flow.lan.isDone && flow.wan.isDone);
  expect(network.run(network.now + seconds(900), done)).toBe(true);
  expect(network.complaints()).toEqual([]);
  for (const { lan, wan } of network.flows) expect([lan.failure, wan.failure]).toEqual([null, null]);
}

/** The order, the cut at the end of the lead, and the resume at the end of the outage. */
function planOutage(network: Network, selector: Selector, outage: Micros): void {
  network.run(ORDER);
  order(network, 'freeze', selector, LEAD);
  network.at(CUT, () => network.cut('wan', 'none', 0));
  network.at(CUT + outage, () => {
    network.restore('wan', 'none', 0);
    order(network, 'resume', selector);
  });
}

/** Bytes sent, a FIN not counted. */
function sent({ sender }: Endpoint): number {
  return Math.min(sender.sndMax, sender.written);
}

describe.each([
  ['link', 4, WAN],
  ['link', 6, WAN],
  ['host', 4, null],
] as const)('a planned freeze of a %s, IPv%i, 10 s', (_kind, family, given) => {
  it('both ends stop before the cut and resume within 3 RTT, with nothing in custody', () => {
    const network = makeNetwork();
    const flows = [addFlow(network, 40_000_000, 0, family), addFlow(network, 0, 40_000_000, family)];
    const hosts = [0, 1].map((host) => network.flows[host]!.wan.config);
    expect(hosts.every((host) => host.family === family)).toBe(true);
    network.run(millis(200));
    const [first] = network.gateway?.flows(network.now) ?? [];
    const prefix = { kind: 'prefix', prefix: `${(first?.responder ?? '').split(':')[0]}/24` } as const;
    network.run(ORDER);
    const before = flows.map(({ lan, wan }) => [lan.sender.cwnd, lan.sender.stats.timeouts, wan.sender.stats.timeouts]);
    planOutage(network, given ?? prefix, seconds(10));
    network.run(CUT - millis(1));
    for (const { lan, wan } of flows) {
      // Whatever was under way has arrived; the near sender does not know of all of it, so that it is never idle.
      expect(wan.receiver.received).toBe(sent(lan));
      expect(lan.receiver.received).toBe(sent(wan));
      expect(wan.sender.sndUna).toBe(wan.sender.sndMax);
    }
    expect(flows[0]!.lan.sender.sndUna).toBeLessThan(flows[0]!.lan.sender.sndMax);
    network.run(CUT + seconds(10) - 1);
    const received = [flows[0]!.wan.receiver.received, flows[1]!.lan.receiver.received];
    expect(network.gateway?.flows(network.now).map((flow) => flow.phase)).toEqual(['frozen', 'frozen']);
    network.run(CUT + seconds(10) + 3 * RTT);
    expect(flows[0]!.wan.receiver.received).toBeGreaterThan(received[0]!);
    expect(flows[1]!.lan.receiver.received).toBeGreaterThan(received[1]!);
    expect(flows[0]!.lan.sender.cwnd).toBeGreaterThanOrEqual(before[0]![0]!);
    for (const [index, { lan, wan }] of flows.entries()) {
      expect(lan.sender.stats.timeouts).toBe(before[index]![1]);
      expect(wan.sender.stats.timeouts).toBe(before[index]![2]);
    }
    expect(network.gateway?.counter('custodyBytesTaken')).toBe(0);
    expectIntact(network);
    expect(network.gateway?.counter('custodyBytesTaken')).toBe(0);
  });
});

describe('a planned freeze', () => {
  it('that is called off gives both ends their windows back', () => {
    const network = makeNetwork();
    const flows = [addFlow(network, 30_000_000, 0), addFlow(network, 0, 30_000_000)];
    network.run(ORDER);
    order(network, 'freeze', WAN, LEAD);
    network.run(ORDER + millis(400));
    const received = [flows[0]!.wan.receiver.received, flows[1]!.lan.receiver.received];
    order(network, 'resume', WAN);
    network.run(network.now + 3 * RTT);
    expect(flows[0]!.wan.receiver.received).toBeGreaterThan(received[0]!);
    expect(flows[1]!.lan.receiver.received).toBeGreaterThan(received[1]!);
    expect(network.gateway?.counter('freezes')).toBe(0);
    expectIntact(network);
  });

  it('that the loss overtakes takes custody of what has not drained', () => {
    const network = makeNetwork();
    const flow = addFlow(network, 30_000_000, 0);
    network.run(ORDER);
    const { cwnd } = flow.lan.sender;
    order(network, 'freeze', WAN, LEAD);
    network.at(ORDER + millis(15), () => network.cut('wan', 'carrier', 0));
    network.at(ORDER + seconds(8), () => {
      network.restore('wan', 'carrier', 0);
      order(network, 'resume', WAN);
    });
    network.run(ORDER + seconds(8));
    expect(network.gateway?.counter('custodyBytesTaken')).toBeGreaterThan(0);
    network.run(ORDER + seconds(8) + 10 * RTT);
    expect(flow.lan.sender.stats.timeouts).toBe(0);
    expect(flow.lan.sender.cwnd).toBeGreaterThanOrEqual(0.9 * cwnd);
    expectIntact(network);
  });

  it('leaves other hosts alone, and covers connections opened during the lead', () => {
    const network = makeNetwork({ closes: false });
    const asked = addFlow(network, 5_000, 5_000);
    const other = addFlow(network, 40_000_000, 0);
    network.run(ORDER);
    const [snapshot] = network.gateway?.flows(network.now) ?? [];
    const address = (snapshot?.responder ?? '').split(':')[0]!;
    order(network, 'freeze', { kind: 'host', address }, LEAD);
    const before = other.wan.receiver.received;
    network.run(CUT - millis(10));
    expect(other.wan.receiver.received - before).toBeGreaterThan(4_000_000);
    expect(asked.lan.sender.sndWnd).toBe(0);
    expect(asked.wan.sender.sndWnd).toBe(0);
    expect(other.lan.sender.sndWnd).toBeGreaterThan(0);
    order(network, 'resume', { kind: 'host', address });
    network.run(network.now + RTT);
    expect(asked.lan.sender.sndWnd).toBeGreaterThan(0);
    expect(asked.wan.sender.sndWnd).toBeGreaterThan(0);
  });

  it('refuses a lead beyond a minute and an unknown link', () => {
    const network = makeNetwork();
    const ask = (selector: Selector, leadMicros: Micros): unknown =>
      network.gateway?.command({ kind: 'freeze', selector, leadMicros }, network.now);
    expect(ask(WAN, seconds(61))).toMatchObject({ kind: 'refused', code: 'LEAD_TOO_LONG' });
    expect(ask({ kind: 'link', name: 'wan7' }, LEAD)).toMatchObject({ kind: 'refused', code: 'UNKNOWN_LINK' });
  });
});
