/** Who gets a place in the table, and for how long. */
import { describe, expect, it } from 'vitest';
import { ACK, FIN, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, toNear, window } from './seen.ts';

const flood = (rig: Rig, count: number, port = 20_000): void => {
  for (let i = 0; i < count; i++) {
    expect(new Conversation(rig, PLAIN, port + i, 3 + (i % 200)).fromNear({ flags: SYN }).unchanged).toBe(true);
  }
};

describe('a full table', () => {
  it('never gives up an established flow for a SYN', () => {
    const rig = new Rig({ maxFlows: 16 });
    const flows = Array.from({ length: 10 }, (_, i) => new Conversation(rig, PLAIN, 40_000 + i).open());
    for (let round = 0; round < 20; round++) {
      flood(rig, 50, 20_000 + 50 * round);
      rig.advance(4e6);
    }
    expect(rig.flows()).toHaveLength(16);
    expect(rig.counter('flowsExpired')).toBeGreaterThan(0);
    for (const c of flows) c.data('near', 1);
    flows[0]!.lose();
    expect(rig.flows().filter((flow) => flow.phase === 'frozen')).toHaveLength(10);
    expect(rig.custodyBytes).toBe(10 * SEGMENT);
  });

  it('finds room among half-open flows, so that a flood does not lock others out', () => {
    const rig = new Rig({ maxFlows: 16 });
    flood(rig, 16);
    const c = new Conversation(rig, PLAIN, 40_000).open();
    c.data('near', 1);
    c.lose();
    expectPacket(c.seen().at(-1), toNear, ack(1 + SEGMENT), window(0));
  });

  it('a flow without a place passes untouched, also while the link is lost', () => {
    const rig = new Rig({ maxFlows: 1 });
    new Conversation(rig, PLAIN, 40_000).open();
    const c = new Conversation(rig, PLAIN, 40_001).open();
    c.lose();
    rig.take();
    expect(c.fromNear({ payload: stream(1, 100) }).unchanged).toBe(true);
    expect(rig.take()).toEqual([]);
  });

  it('closing flows and bypassed ones give way at once', () => {
    const rig = new Rig({ maxFlows: 2 });
    const over = new Conversation(rig, PLAIN, 40_000).open();
    over.fromFar({ flags: RST });
    new Conversation(rig, PLAIN, 40_001).fromNear({
      flags: SYN,
      bend: (bytes) => {
        bytes[40] = 30;
      },
    });
    new Conversation(rig, PLAIN, 40_002).open();
    new Conversation(rig, PLAIN, 40_003).open();
    expect(rig.flows().map((flow) => flow.phase)).toEqual(['flowing', 'flowing']);
  });
});

describe('expiry', () => {
  it.each([
    ['a half-open flow after 120 s', (c: Conversation) => c.fromNear({ flags: SYN }), 120],
    [
      'a closed one after 15 s',
      (c: Conversation) => {
        c.open().fromNear({ flags: FIN | ACK });
        c.fromFar({ flags: FIN | ACK });
        c.fromNear();
      },
      15,
    ],
  ])('forgets %s of silence, and not before', (_, story, timeout) => {
    const c = new Conversation(new Rig());
    story(c);
    c.rig.advance((timeout - 1) * 1e6);
    expect(c.rig.flows()).toHaveLength(1);
    c.rig.advance(35e6);
    expect(c.rig.flows()).toEqual([]);
    c.rig.advance(5e6);
    expect(c.rig.isIdle).toBe(true);
  });

  it('forgets an established flow after days, not hours; a frozen one never', () => {
    const c = new Conversation(new Rig()).open();
    new Conversation(c.rig, { ...PLAIN, family: 6 }).open();
    // Coarse steps: the engine may be called late, after a suspend for example.
    for (let hour = 0; hour < 119; hour++) {
      c.rig.now += 3_600e6;
      c.rig.timeout();
    }
    expect(c.rig.flows()).toHaveLength(2);
    c.fromNear();
    c.rig.command({ kind: 'freeze', selector: { kind: 'host', address: c.farAddress } });
    for (let hour = 0; hour < 500; hour++) {
      c.rig.now += 3_600e6;
      for (let i = 0; i < 3; i++) c.rig.timeout();
    }
    expect(c.rig.flows().map((flow) => [flow.family, flow.phase])).toEqual([[4, 'frozen']]);
  });

  it('keeps its pace after a burst has used many entries', () => {
    const rig = new Rig({ maxFlows: 2_048 });
    flood(rig, 2_000, 10_000);
    rig.advance(200e6);
    expect(rig.flows()).toEqual([]);
    flood(rig, 5, 50_000);
    rig.advance(160e6);
    expect(rig.flows()).toEqual([]);
  });
});

describe('what is left alone', () => {
  const bend = (kind: number) => (bytes: Uint8Array) => {
    bytes[40] = kind;
  };
  it.each([
    [30, 'mptcp'],
    [19, 'tcp-md5'],
    [29, 'tcp-ao'],
  ])('option %i: %s, whatever happens to the link', (kind, reason) => {
    const c = new Conversation(new Rig());
    expect(c.fromNear({ flags: SYN, bend: bend(kind) }).unchanged).toBe(true);
    expect(c.rig.flow).toMatchObject({ phase: 'bypass', bypassReason: reason });
    expect(c.fromFar({ flags: SYN | ACK }).unchanged).toBe(true);
    c.lose();
    c.tick(60_000);
    expect(c.fromFar({ payload: stream(1, 10) }).unchanged).toBe(true);
    expect(c.rig.take()).toEqual([]);
    c.restore();
    c.tick(5_000);
    expect(c.fromNear({ payload: stream(1, 10) }).unchanged).toBe(true);
    expect(c.rig.take()).toEqual([]);
    expect(c.rig.counter('flowsBypassed')).toBe(1);
  });

  it('when freezing is refused, nothing is tracked and nothing is said', () => {
    const c = new Conversation(new Rig({ freezing: false })).open();
    c.data('near', 3);
    c.lose();
    c.tick(100_000);
    expect(c.fromNear({ payload: stream(c.near.nxt, 10) }).unchanged).toBe(true);
    expect(c.rig.flows()).toEqual([]);
    expect(c.seen()).toEqual([]);
  });

  it('what is not TCP, a fragment or nonsense passes and is counted by kind', () => {
    const rig = new Rig();
    const tcp = new Conversation(rig).bytes('near', { payload: stream(1, 30) });
    const change = (at: number, value: number): Uint8Array => tcp.map((byte, i) => (i === at ? value : byte));
    for (const bytes of [change(9, 17), change(6, 0x20), change(0, 0x95), tcp.slice(0, 25), Uint8Array.of(0x45)]) {
      expect(rig.packet(bytes)).toMatchObject({ disposition: 0, unchanged: true });
    }
    expect([rig.counter('notTcp'), rig.counter('fragments'), rig.counter('malformed')]).toEqual([1, 1, 3]);
    expect(rig.counter('forwarded')).toBe(5);
    expect(rig.flows()).toEqual([]);
  });
});
