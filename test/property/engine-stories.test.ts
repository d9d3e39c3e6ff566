/**
 * The stories of the outage table, on model hosts: 100 Mb/s, 40 ms, a queue of 400 packets. Real kernels have the last word
 * (test/e2e); here each story is repeatable to the microsecond and takes milliseconds.
 */
import { describe, expect, it } from 'vitest';
import { type Micros, millis, seconds } from '../../src/base/time.ts';
import { type EndpointConfig, LINUX } from '../sim/endpoint-config.ts';
import { ARENA, GATEWAY } from '../sim/gateway.ts';
import { Network, type SimFlow } from '../sim/network.ts';
import { CLEAN, type WireConfig } from '../sim/wire.ts';

const LINK: WireConfig = { ...CLEAN, delay: millis(19), bytesPerSecond: 12_500_000 };
const RTT = millis(40);
/** The cut comes when a bulk transfer has left slow start's first rounds behind. */
const CUT = seconds(2);

interface Setup {
  readonly plain?: boolean;
  readonly lossy?: 'lan' | 'wan';
  readonly maxFlows?: number;
}

function makeNetwork(setup: Setup = {}): Network {
  const engine = { ...GATEWAY, maxFlows: setup.maxFlows ?? GATEWAY.maxFlows };
  return new Network({
    seed: 5,
    lan: setup.lossy === 'lan' ? LINK : CLEAN,
    wan: setup.lossy === 'lan' ? CLEAN : LINK,
    engine: setup.plain === true ? null : engine,
    arenaBytes: 4 * ARENA,
    extraTimeouts: 0,
    base: { ...LINUX, receiveBuffer: 4_000_000, windowScale: 7 },
  });
}

const writes = (bytes: number, at: Micros = 0): Partial<EndpointConfig> => ({
  deeds: [{ at, write: bytes, pause: 0 }],
});

function addFlow(
  network: Network,
  lan: Partial<EndpointConfig>,
  wan: Partial<EndpointConfig>,
  family: 4 | 6 = 4,
): SimFlow {
  const index = network.flows.length;
  return network.addFlow({
    lan: { contentSeed: 2 * index, peerContentSeed: 2 * index + 1, iss: 7_000 * index - 9_000, ...lan },
    wan: { contentSeed: 2 * index + 1, peerContentSeed: 2 * index, iss: 0x7fff_0000 + index, ...wan },
    family,
    lanHost: index % 5,
    wanHost: index % 3,
    lanPort: 40_000 + index,
    wanPort: 80,
    opener: 'lan',
  });
}

function expectIntact(network: Network): void {
  expect(
    network.run(network.now + seconds(900), () => network.flows.every((flow) => flow.lan.isDone && flow.wan.isDone)),
  ).toBe(true);
  expect(network.complaints()).toEqual([]);
  for (const { lan, wan } of network.flows) {
    expect([lan.failure, wan.failure]).toEqual([null, null]);
    expect(wan.receiver.received).toBe(lan.sender.written);
    expect(lan.receiver.received).toBe(wan.sender.written);
  }
  // The streams are complete when their last byte is; its acknowledgement is still on the way to the gateway then.
  network.run(network.now + seconds(2));
  const phases = network.gateway?.flows(network.now).map((flow) => flow.phase) ?? [];
  expect(phases.filter((phase) => phase === 'frozen' || phase === 'handback')).toEqual([]);
}

/** Time from `up` to the first new byte at the receiver. */
function firstByteAfter(network: Network, up: Micros, received: () => number): Micros {
  network.run(up);
  const before = received();
  expect(network.run(up + seconds(400), () => received() > before)).toBe(true);
  return network.now - up;
}

describe.each([4, 6] as const)('upload over IPv%i, cut 10 s with loss of carrier', (family) => {
  function upload(plain: boolean): {
    network: Network;
    flow: SimFlow;
    stall: Micros;
    cwnd: number;
    retransmits: number;
  } {
    const network = makeNetwork({ plain });
    const flow = addFlow(network, writes(40_000_000), {}, family);
    network.run(CUT);
    const { cwnd } = flow.lan.sender;
    const { retransmits } = flow.lan.sender.stats;
    network.cut('wan', 'carrier', millis(1));
    network.at(CUT + seconds(10), () => network.restore('wan', 'carrier', 0));
    const stall = firstByteAfter(network, CUT + seconds(10), () => flow.wan.receiver.received);
    return { network, flow, stall, cwnd, retransmits };
  }

  it('resumes within 3 RTT, without a retransmission by the endpoint, with its congestion window', () => {
    const { network, flow, stall, cwnd, retransmits } = upload(false);
    expect(stall).toBeLessThan(3 * RTT);
    const before = flow.wan.receiver.received;
    network.run(network.now + 15 * RTT);
    expect(flow.wan.receiver.received - before).toBeGreaterThan(0.5 * 15 * RTT * 12.5);
    expect(flow.lan.sender.stats.retransmits).toBe(retransmits);
    expect(flow.lan.sender.stats.timeouts).toBe(0);
    expect(flow.lan.sender.cwnd).toBeGreaterThanOrEqual(0.9 * cwnd);
    expectIntact(network);
  });

  it('sleeps for seconds without the gateway', () => {
    expect(upload(true).stall).toBeGreaterThan(seconds(1));
  });
});

describe('upload, cut unnoticed for 2 s', () => {
  it('undoes the timeout, and the endpoint retransmits nothing after the freeze', () => {
    const network = makeNetwork();
    const flow = addFlow(network, writes(40_000_000), {});
    network.run(CUT);
    const { cwnd } = flow.lan.sender;
    network.cut('wan', 'command', seconds(2));
    network.run(CUT + seconds(2) + millis(10));
    expect(flow.lan.sender.stats.timeouts).toBeGreaterThan(0);
    const { retransmits } = flow.lan.sender.stats;
    network.at(CUT + seconds(10), () => network.restore('wan', 'command', 0));
    expect(firstByteAfter(network, CUT + seconds(10), () => flow.wan.receiver.received)).toBeLessThan(3 * RTT);
    expect(flow.lan.sender.stats.undone).toBeGreaterThan(0);
    expect(flow.lan.sender.stats.retransmits).toBe(retransmits);
    network.run(network.now + 10 * RTT);
    expect(flow.lan.sender.cwnd).toBeGreaterThanOrEqual(0.9 * cwnd);
    expectIntact(network);
  });
});

describe.each([10, 40])('download, cut %i s', (length) => {
  function download(plain: boolean): { network: Network; stall: Micros } {
    const network = makeNetwork({ plain });
    const flow = addFlow(network, {}, writes(40_000_000));
    network.at(CUT, () => network.cut('wan', 'carrier', millis(1)));
    network.at(CUT + seconds(length), () => network.restore('wan', 'carrier', 0));
    const stall = firstByteAfter(network, CUT + seconds(length), () => flow.lan.receiver.received);
    return { network, stall };
  }

  it('wakes the far sender within 5 RTT; alone it sleeps on', () => {
    const { network, stall } = download(false);
    expect(stall).toBeLessThan(5 * RTT);
    expectIntact(network);
    expect(download(true).stall).toBeGreaterThan(10 * stall);
  });
});

describe('other stories', () => {
  it('access: the LAN side is lost, the server is the frozen one', () => {
    const network = makeNetwork({ lossy: 'lan' });
    const flow = addFlow(network, {}, writes(40_000_000));
    network.at(CUT, () => network.cut('lan', 'carrier', millis(1)));
    network.at(CUT + seconds(10), () => network.restore('lan', 'carrier', 0));
    expect(firstByteAfter(network, CUT + seconds(10), () => flow.lan.receiver.received)).toBeLessThan(3 * RTT);
    expect(flow.wan.sender.stats.timeouts).toBe(0);
    expectIntact(network);
  });

  it('a line typed during a 30 s cut arrives within 3 RTT of link-up', () => {
    const network = makeNetwork();
    const deeds = [
      { at: 0, write: 20, pause: 0 },
      { at: CUT + seconds(12), write: 30, pause: 0 },
    ];
    const flow = addFlow(network, { deeds }, {});
    network.at(CUT, () => network.cut('wan', 'carrier', millis(1)));
    network.at(CUT + seconds(30), () => network.restore('wan', 'carrier', 0));
    expect(firstByteAfter(network, CUT + seconds(30), () => flow.wan.receiver.received)).toBeLessThan(3 * RTT);
    expectIntact(network);
  });

  it('50 flows both ways, cut 15 s, all survive', () => {
    const network = makeNetwork();
    for (let index = 0; index < 50; index++) {
      addFlow(
        network,
        index % 2 === 0 ? writes(600_000) : {},
        index % 2 === 1 ? writes(600_000) : {},
        index % 3 === 0 ? 6 : 4,
      );
    }
    network.at(millis(700), () => network.cut('wan', 'carrier', millis(1)));
    network.at(millis(700) + seconds(15), () => network.restore('wan', 'carrier', 0));
    expectIntact(network);
  });

  it('three cuts in a row while a handback is still running lose nothing', () => {
    const network = makeNetwork();
    addFlow(network, writes(20_000_000), writes(2_000_000));
    for (const [at, lasts] of [
      [CUT, seconds(5)],
      [CUT + seconds(5) + millis(60), seconds(3)],
      [CUT + seconds(8) + millis(130), seconds(4)],
    ] as const) {
      network.at(at, () => network.cut('wan', 'carrier', millis(1)));
      network.at(at + lasts, () => network.restore('wan', 'carrier', 0));
    }
    expectIntact(network);
  });

  it('a sender that gives up after 5 retries survives 60 s with the gateway and dies without', () => {
    for (const plain of [false, true]) {
      const network = makeNetwork({ plain });
      const flow = addFlow(network, { ...writes(40_000_000), retries: 5 }, {});
      network.at(CUT, () => network.cut('wan', 'carrier', millis(1)));
      network.at(CUT + seconds(60), () => network.restore('wan', 'carrier', 0));
      network.run(CUT + seconds(61));
      expect(flow.lan.failure).toBe(plain ? 'timeout' : null);
      if (!plain) expectIntact(network);
    }
  });

  it('keepalives of the near side are answered while the link is lost', () => {
    const keep = { keepIdle: seconds(5), keepInterval: seconds(1), keepProbes: 3, closes: false };
    for (const plain of [false, true]) {
      const network = makeNetwork({ plain });
      const flow = addFlow(network, { ...writes(100), ...keep }, { closes: false });
      network.at(CUT, () => network.cut('wan', 'carrier', millis(1)));
      network.run(CUT + seconds(60));
      expect(flow.lan.failure).toBe(plain ? 'keepalive' : null);
      expect(network.complaints()).toEqual([]);
    }
  });

  it('a far peer that reset meanwhile resets the near one, and an event counts what was lost (invariant 2)', () => {
    const network = makeNetwork();
    const flow = addFlow(network, writes(40_000_000), { abortsAt: CUT + seconds(5) });
    network.at(CUT, () => network.cut('wan', 'carrier', millis(1)));
    network.at(CUT + seconds(10), () => network.restore('wan', 'carrier', 0));
    network.run(CUT + seconds(30));
    expect(flow.wan.failure).toBe('aborted');
    expect(flow.lan.failure).toBe('reset');
    expect(network.complaints()).toEqual([]);
    expect(network.gateway?.counter('undeliverableBytes')).toBeGreaterThan(0);
    expect(
      network.gateway?.events.some((event) => (event.figures?.bytes ?? 0) > 0 && event.name === 'flow-reset'),
    ).toBe(true);
  });

  it('abort by command resets both ends', () => {
    const network = makeNetwork();
    const flow = addFlow(network, writes(40_000_000), {});
    network.at(CUT, () => {
      const id = network.gateway?.flows(network.now)[0]?.id ?? '';
      network.tell({ kind: 'command', command: { kind: 'abort', selector: { kind: 'flow', id } } });
    });
    network.run(CUT + seconds(2));
    expect([flow.lan.failure, flow.wan.failure]).toEqual(['reset', 'reset']);
    expect(network.complaints()).toEqual([]);
  });

  it('more flows than the table holds are forwarded all the same (invariant 7)', () => {
    const network = makeNetwork({ maxFlows: 8 });
    for (let index = 0; index < 30; index++) addFlow(network, writes(100_000), writes(50_000));
    network.at(millis(150), () => network.cut('wan', 'carrier', millis(1)));
    network.at(seconds(3), () => network.restore('wan', 'carrier', 0));
    network.at(millis(160), () => expect(network.gateway?.flows(network.now).length).toBeLessThanOrEqual(8));
    expectIntact(network);
  });
});
