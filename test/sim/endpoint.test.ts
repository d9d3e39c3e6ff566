/** The model endpoints judged without a gateway: whoever judges others has to be right first. */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { millis, NEVER, seconds } from '../../src/base/time.ts';
import { Packet } from '../../src/wire/packet.ts';
import { setAck, setWindow } from '../../src/wire/rewrite.ts';
import { ACK } from '../../src/wire/tcp-flags.ts';
import { type EndpointConfig, LINUX } from './endpoint-config.ts';
import { Network, type SimFlow } from './network.ts';
import { CLEAN, type WireConfig } from './wire.ts';

const WAN: WireConfig = { ...CLEAN, delay: millis(20), bytesPerSecond: 12_500_000 };

interface Setup {
  readonly network: Network;
  readonly flow: SimFlow;
}

function setUp(
  wan: Partial<WireConfig>,
  lanEnd: Partial<EndpointConfig>,
  wanEnd: Partial<EndpointConfig>,
  seed = 1,
): Setup {
  const network = new Network({
    seed,
    lan: CLEAN,
    wan: { ...WAN, ...wan },
    engine: null,
    arenaBytes: 0,
    extraTimeouts: 0,
    base: LINUX,
  });
  const flow = network.addFlow({
    lan: { contentSeed: 1, peerContentSeed: 2, iss: -5_000, ...lanEnd },
    wan: { contentSeed: 2, peerContentSeed: 1, iss: 0x7fff_f000, ...wanEnd },
    family: 4,
    lanHost: 0,
    wanHost: 0,
    lanPort: 40_000,
    wanPort: 80,
    opener: 'lan',
  });
  return { network, flow };
}

const writes = (bytes: number, at = 0): Partial<EndpointConfig> => ({ deeds: [{ at, write: bytes, pause: 0 }] });

function finish(setup: Setup, limit = seconds(600)): void {
  const { network, flow } = setup;
  network.run(limit, () => flow.lan.isDone && flow.wan.isDone);
  expect(network.complaints()).toEqual([]);
  expect([flow.lan.failure, flow.wan.failure]).toEqual([null, null]);
  expect(flow.wan.receiver.received).toBe(flow.lan.sender.written);
  expect(flow.lan.receiver.received).toBe(flow.wan.sender.written);
  expect(flow.lan.isDone && flow.wan.isDone).toBe(true);
}

describe('a clean wire', () => {
  it('carries both streams, closes, and needs no retransmission', () => {
    const setup = setUp({}, writes(1_000_000), writes(300_000));
    finish(setup);
    expect(setup.flow.lan.sender.stats.retransmits).toBe(0);
    // Slow start from ten segments at 42 ms: a megabyte takes seven or eight round trips, and three more to open and close.
    expect(setup.network.now).toBeGreaterThan(millis(250));
    expect(setup.network.now).toBeLessThan(millis(600));
  });

  it.each([
    ['no options', { timestamps: false, sack: false, windowScale: -1 }],
    ['timestamps only', { timestamps: true, sack: false, windowScale: -1 }],
    ['scale 14 and a tiny buffer', { windowScale: 14, receiveBuffer: 40_000 }],
    ['no delayed ACK', { delayedAck: 0 }],
  ] satisfies [string, Partial<EndpointConfig>][])('works with %s', (_name, options) => {
    finish(setUp({}, { ...writes(200_000), ...options }, { ...writes(200_000), ...options }));
  });

  it('keeps one side open after the other closed', () => {
    const setup = setUp({}, writes(1_000), { deeds: [{ at: seconds(5), write: 50_000, pause: 0 }] });
    finish(setup);
    expect(setup.flow.lan.state).toBe('time-wait');
    expect(setup.flow.wan.state).toBe('closed');
  });

  it('sends IPv6', () => {
    const setup = setUp({}, {}, {});
    setup.network.addFlow({
      lan: { contentSeed: 1, peerContentSeed: 2, ...writes(50_000) },
      wan: { contentSeed: 2, peerContentSeed: 1, ...writes(50_000) },
      family: 6,
      lanHost: 1,
      wanHost: 2,
      lanPort: 1,
      wanPort: 2,
      opener: 'wan',
    });
    const flow = setup.network.flows[1]!;
    setup.network.run(seconds(60), () => flow.lan.isDone && flow.wan.isDone);
    expect(setup.network.complaints()).toEqual([]);
    expect(flow.lan.receiver.received).toBe(50_000);
  });
});

describe('a lossy wire', () => {
  it('carries streams through 5 % loss, reordering and duplication, for many seeds and stacks', () => {
    const prng = new Prng(7);
    for (let seed = 1; seed <= 60; seed++) {
      const sack = prng.nextBelow(3) > 0;
      const timestamps = prng.nextBelow(3) > 0;
      const options = { sack, timestamps, delayedAck: prng.nextBelow(2) * millis(40) };
      const wire = {
        loss: 0.05,
        reorder: prng.nextBelow(2) * 0.1,
        duplicate: prng.nextBelow(2) * 0.05,
        jitter: millis(15),
      };
      const setup = setUp(wire, { ...writes(150_000), ...options }, { ...writes(80_000), ...options }, seed);
      finish(setup);
      expect(setup.flow.lan.sender.stats.retransmits).toBeGreaterThan(0);
    }
  });

  it('repairs one loss by fast retransmission, without a timeout, with and without SACK', () => {
    for (const sack of [true, false]) {
      const setup = setUp({}, { ...writes(300_000), sack }, { sack });
      setup.network.at(millis(130), () => {
        setup.network.wires.wanOut.dropNext = 1;
      });
      finish(setup);
      expect(setup.flow.lan.sender.stats).toMatchObject({ retransmits: 1, timeouts: 0 });
    }
  });

  it('overruns a short queue and still delivers', () => {
    const setup = setUp({ queuePackets: 10, bytesPerSecond: 200_000 }, writes(200_000), {});
    finish(setup);
    expect(setup.flow.lan.sender.stats.retransmits).toBeGreaterThan(5);
  });
});

describe('timers', () => {
  it('backs off exponentially and dies after its retries', () => {
    const setup = setUp({}, { ...writes(3_000_000), retries: 6 }, {});
    const sent: number[] = [];
    setup.network.at(millis(300), () => setup.network.cut('wan', 'none', 0));
    setup.network.tap = (where) => {
      if (where === 'lan0 >' && setup.network.now > seconds(1)) sent.push(setup.network.now);
    };
    setup.network.run(seconds(300));
    expect(setup.flow.lan.failure).toBe('timeout');
    const gaps = sent.slice(1).map((at, index) => at - sent[index]!);
    expect(gaps.length).toBeGreaterThanOrEqual(3);
    for (let index = 1; index < gaps.length; index++) expect(gaps[index]! / gaps[index - 1]!).toBeCloseTo(2, 5);
  });

  it('sleeps long after a cut of 10 s, and RFC 6069 is what an unreachable message shortens it by', () => {
    const setup = setUp({}, writes(3_000_000), {});
    setup.network.at(millis(300), () => setup.network.cut('wan', 'none', 0));
    setup.network.at(seconds(10), () => setup.network.restore('wan', 'none', 0));
    setup.network.run(seconds(10));
    expect(setup.flow.lan.sender.backoff).toBeGreaterThanOrEqual(4);
    const before = setup.flow.wan.receiver.received;
    setup.network.run(seconds(200), () => setup.flow.wan.receiver.received > before);
    expect(setup.network.now).toBeGreaterThan(seconds(11));
    finish(setup);
  });

  it('undoes a timeout that an echoed timestamp shows to be spurious', () => {
    const setup = setUp({}, writes(3_000_000), {});
    // Hold everything for a second instead of losing it, in order.
    const { wanOut } = setup.network.wires;
    const send = wanOut.send.bind(wanOut);
    wanOut.send = (packet) => {
      const { now } = setup.network;
      const isHeld = now > millis(300) && now < millis(1_300);
      setup.network.at(isHeld ? millis(1_300) : now, () => send(packet));
    };
    finish(setup);
    expect(setup.flow.lan.sender.stats.timeouts).toBeGreaterThan(0);
    expect(setup.flow.lan.sender.stats.undone).toBeGreaterThan(0);
  });

  it.each(['linux', 'bsd', 'full'] as const)('probes a closed window in the style of %s', (probe) => {
    const pause = { at: 0, write: 0, pause: seconds(20) };
    const setup = setUp({}, { ...writes(200_000), probe }, { receiveBuffer: 20_000, deeds: [pause] });
    setup.network.run(seconds(19));
    expect(setup.flow.lan.sender.isPersisting).toBe(true);
    expect(setup.flow.lan.sender.stats.probes).toBeGreaterThan(3);
    expect(setup.flow.wan.receiver.received).toBeLessThanOrEqual(20_000 + 1_448);
    finish(setup);
  });

  it('keeps an idle connection alive, and ends it when nobody answers', () => {
    const idle = { keepIdle: seconds(10), keepInterval: seconds(2), keepProbes: 3, closes: false };
    const setup = setUp({}, { ...writes(100), ...idle }, { closes: false });
    setup.network.run(seconds(100));
    expect(setup.flow.lan.failure).toBe(null);
    setup.network.cut('wan', 'none', 0);
    setup.network.run(seconds(200));
    expect(setup.flow.lan.failure).toBe('keepalive');
  });
});

describe('window updates that neither advance the ACK nor the sequence', () => {
  it.each([
    ['linux', true],
    ['growOnly', false],
    ['rfc9293', true],
  ] as const)('a zero window is obeyed by %s: %s', (windowRule, obeyed) => {
    const setup = setUp({}, { ...writes(1_000), closes: false, windowRule }, { closes: false });
    let last: Uint8Array | null = null;
    setup.network.tap = (where, packet) => {
      if (where === '> lan0') last = packet.bytes;
    };
    setup.network.run(seconds(2));
    const packet = new Packet();
    const copy = (last as Uint8Array | null)!.slice();
    packet.attach(copy.buffer);
    packet.parse(0, copy.length, 0);
    setWindow(packet, 0);
    setup.flow.lan.handlePacket(copy, true, false, setup.network.now);
    expect(setup.flow.lan.sender.sndWnd === 0).toBe(obeyed);
    expect(setup.network.complaints()).toEqual([]);
  });
});

describe('endings', () => {
  it('answers for a connection that it aborted, and the peer obeys', () => {
    const setup = setUp({}, writes(5_000_000), { abortsAt: millis(400) });
    setup.network.run(seconds(60));
    expect(setup.flow.wan.failure).toBe('aborted');
    expect(setup.flow.lan.failure).toBe('reset');
  });
});

describe('the judge', () => {
  function tampered(change: (packet: Packet) => void): string[] {
    const setup = setUp({}, { ...writes(20_000), closes: false }, { closes: false });
    const packet = new Packet();
    let done = false;
    const { lanOut } = setup.network.wires;
    const send = lanOut.send.bind(lanOut);
    lanOut.send = (sim) => {
      packet.attach(sim.bytes.buffer as ArrayBuffer);
      packet.parse(0, sim.bytes.length, 0);
      if (!done && packet.flags === ACK && setup.network.now > millis(60)) {
        change(packet);
        done = true;
      }
      send(sim);
    };
    setup.network.run(seconds(5));
    expect(done).toBe(true);
    return setup.network.complaints();
  }

  it('finds nothing wrong with an untouched packet', () => {
    expect(tampered(() => {})).toEqual([]);
  });

  it.each<[string, RegExp, (packet: Packet) => void]>([
    ['an ACK for data never sent', /never sent/, (packet) => setAck(packet, packet.ack + 1_000_000)],
    ['a wrong TCP checksum', /TCP checksum is wrong/, (packet) => packet.view.setUint8(packet.tcpAt + 16, 0x55)],
    ['a wrong IPv4 checksum', /IPv4 header checksum/, (packet) => packet.view.setUint8(packet.ipAt + 10, 0x55)],
    ['another port', /connection that does not exist/, (packet) => packet.view.setUint16(packet.tcpAt, 81)],
  ])('finds %s', (_name, pattern, change) => {
    expect(tampered(change).join('\n')).toMatch(pattern);
  });

  it('finds a wrong byte', () => {
    const setup = setUp({}, { ...writes(20_000) }, { peerContentSeed: 99 });
    setup.network.run(seconds(5));
    expect(setup.network.complaints().join('\n')).toMatch(/wrong byte at 0/);
  });

  it('never runs out of time', () => {
    expect(setUp({}, { opensAt: NEVER }, {}).network.run(seconds(10))).toBe(false);
  });
});
