/** Everything a held endpoint may send gets one answer, so that it waits for as long as it takes (theory of operation 3.5). */
import { describe, expect, it } from 'vitest';
import { CONSUME, DROP } from '../../src/engine/engine.ts';
import { ACK, FIN, RST } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, type Segment, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, payloadLength, seq, toNear, tsEcr, tsVal, window } from './seen.ts';

function frozen(variant = PLAIN, segments = 2): Conversation {
  const c = new Conversation(new Rig(), variant).open();
  c.data('near', segments);
  c.lose();
  c.rig.take();
  c.tick(200);
  return c;
}

const CE = 1 + 2 * SEGMENT;

describe.each(VARIANTS)('a closed window is probed ($name)', (variant) => {
  const forms: readonly (readonly [string, Segment])[] = [
    ['empty, one below (Linux, gVisor)', { seq: CE - 1 }],
    ['a keepalive with one garbage byte below (old BSD)', { seq: CE - 1, payload: Uint8Array.of(0) }],
    ['one new byte (BSD, Windows)', { payload: stream(CE, 1) }],
    ['a retransmission of the last segment', { seq: CE - SEGMENT, payload: stream(CE - SEGMENT, SEGMENT) }],
    ['a retransmission of the first segment', { seq: 1, payload: stream(1, SEGMENT) }],
  ];
  it.each(forms)('%s: one answer, nothing forwarded, nothing taken', (_, probe) => {
    const c = frozen(variant);
    for (let round = 1; round <= 3; round++) {
      c.tick(400);
      expect(c.fromNear(probe).disposition).toBe(CONSUME);
      c.near.nxt = CE;
      expectPackets(c.seen(), [
        toNear,
        flags('.'),
        seq(1),
        ack(CE),
        window(0),
        payloadLength(0),
        tsVal(variant.timestamps ? c.far.said : null),
        tsEcr(variant.timestamps ? c.near.said : null),
      ]);
      expect(c.rig.counter('probesAnswered')).toBe(round);
      expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT);
    }
  });

  it('a probe byte that was not taken is taken when it comes as data after the thaw', () => {
    const c = frozen(variant);
    c.fromNear({ payload: stream(CE, 1) });
    c.near.nxt = CE;
    c.restore();
    c.tick(50);
    c.acknowledge('far', CE);
    const outcome = c.fromNear({ payload: stream(CE, 500) });
    expect(outcome.unchanged).toBe(true);
  });
});

describe('segments that ignore the closed window', () => {
  it('are taken into custody and acknowledged, as far as the far window allows', () => {
    const c = frozen();
    c.fromNear({ payload: stream(CE, SEGMENT) });
    expectPackets(c.seen(), [toNear, ack(CE + SEGMENT), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(3 * SEGMENT);
  });

  it('beyond anything the far peer ever offered are answered and not taken', () => {
    const c = frozen();
    expect(c.fromNear({ seq: CE + 70_000, payload: stream(1, SEGMENT) }).disposition).toBe(CONSUME);
    expectPackets(c.seen(), [toNear, ack(CE), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT);
  });

  it('a super-packet that overlaps custody gives its new bytes only', () => {
    const c = new Conversation(new Rig({ vnetHeaderLength: 10, gso: true })).open();
    c.fromNear({ payload: stream(1, 5_000), gsoSize: SEGMENT });
    c.lose();
    expect(c.rig.flow.custodyBytes).toBe(5_000);
    c.fromNear({ seq: 4_001, payload: stream(4_001, 3_000), gsoSize: SEGMENT });
    expect(c.rig.flow.custodyBytes).toBe(7_000);
    c.rig.take();
    c.restore();
    c.tick(10);
    c.acknowledge('far', 1);
    c.tick(300);
    const bytes = new Uint8Array(7_000);
    for (const seen of c.seen())
      if (seen.to === 'far' && seen.isTcp) bytes.set(seen.payload, seen.payload.length ? seen.seq - 1 : 0);
    expect(Buffer.compare(bytes, stream(1, 7_000))).toBe(0);
  });

  it('a lone byte typed after a zero window that changed nothing is taken: nobody has probed yet', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    expectPackets(c.seen(), [toNear, ack(1), window(0)]);
    c.tick(5_000);
    c.fromNear({ payload: stream(1, 1) });
    expectPackets(c.seen(), [toNear, ack(2), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(1);
    // lwIP probes with the head of its queue, whether or not that byte is acknowledged by now.
    c.tick(3_000);
    c.fromNear({ seq: 1, payload: stream(1, 1) });
    expectPackets(c.seen(), [toNear, ack(2), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(1);
  });

  it('a FIN is taken behind its data', () => {
    const c = frozen();
    c.fromNear({ flags: FIN | ACK });
    expectPackets(c.seen(), [toNear, ack(CE + 1), window(0)]);
    c.restore();
    c.tick(60);
    const replayed = c.seen().filter((seen) => seen.to === 'far' && seen.isTcp);
    expect(replayed.some((seen) => (seen.flags & FIN) !== 0 && seen.seq + seen.payload.length === CE)).toBe(true);
    c.acknowledge('far', CE + 1);
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0 });
  });

  it('a FIN that was under way at the loss is acknowledged with the data', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.fromNear({ flags: FIN | ACK });
    c.lose();
    expectPacket(c.seen().at(-1), toNear, ack(2 + SEGMENT), window(0));
  });
});

describe('what must not be answered', () => {
  it('pure acknowledgements: answering them would start a war of ACKs', () => {
    const c = frozen();
    for (let i = 0; i < 5; i++) expect(c.fromNear().disposition).toBe(DROP);
    expect(c.seen()).toEqual([]);
  });

  it('resets, and anything after one: no refresh for an endpoint that is gone', () => {
    const c = frozen();
    expect(c.fromNear({ flags: RST }).disposition).toBe(CONSUME);
    c.tick(300_000);
    expect(c.seen()).toEqual([]);
  });
});

describe('refresh', () => {
  it('reminds every held endpoint within 60 s, for hours', () => {
    const c = frozen();
    c.tick(3_600_000);
    const times = c.seen().map((seen) => {
      expectPacket(seen, toNear, flags('.'), seq(1), ack(CE), window(0), tsVal(c.far.said), tsEcr(c.near.said));
      return seen.at;
    });
    expect(times.length).toBeGreaterThanOrEqual(60);
    times.reduce((before, at) => {
      expect(at - before).toBeLessThanOrEqual(60e6);
      return at;
    });
  });
});
