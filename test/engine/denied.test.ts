/** No custody (policy, budget, or bytes that are not held): no closed window either (theory of operation 3.3). */
import { describe, expect, it } from 'vitest';
import { ACK, RST } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import {
  ack,
  content,
  expectPacket,
  expectPackets,
  flags,
  seq,
  toFar,
  toNear,
  tsVal,
  unreachable,
  window,
} from './seen.ts';

const UP_TO = 1 + 3 * SEGMENT;

function denied(variant = PLAIN): Conversation {
  const c = new Conversation(new Rig({ custodyBytesPerFlow: 2_500 }), variant).open();
  c.data('near', 3);
  c.lose();
  return c;
}

describe.each(VARIANTS.slice(0, 5))('custody that does not fit ($name)', (variant) => {
  it('closes no window; each retransmission of the head earns an ICMP error that quotes it', () => {
    const c = denied(variant);
    expect(c.seen()).toEqual([]);
    expect(c.rig.counter('custodyRefused')).toBe(1);
    for (let i = 0; i < 4; i++) {
      c.tick(500 << i);
      expect(c.fromNear({ seq: 1, payload: stream(1, SEGMENT) }).forwarded).toBeNull();
      expectPackets(c.seen(), [toNear, unreachable(1, variant.family)]);
    }
    expect(c.rig.flow.custodyBytes).toBe(0);
  });

  it('at thaw the newest head goes out, and the sender is told to retransmit', () => {
    const c = denied(variant);
    c.tick(1_000);
    c.fromNear({ seq: 1, payload: stream(1, SEGMENT) });
    c.tick(2_000);
    c.fromNear({ seq: 1, payload: stream(1, SEGMENT) });
    const newest = c.near.said;
    c.rig.take();
    c.restore();
    expectPackets(
      c.seen(),
      [toFar, seq(1), content(stream(1, SEGMENT)), tsVal(newest)],
      [toNear, unreachable(1, variant.family)],
    );
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0 });
  });
});

describe('a sender without custody', () => {
  it('gets a closed window before it would give up', () => {
    const c = denied();
    c.tick(799_000);
    expect(c.seen()).toEqual([]);
    c.tick(2_000);
    expectPackets(c.seen(), [toNear, flags('.'), ack(1), window(0)]);
  });

  it('may reset the connection; the far peer learns of it at thaw', () => {
    const c = denied();
    c.fromNear({ flags: RST });
    c.rig.take();
    c.restore();
    expectPacket(c.seen()[0], toFar, flags('R.'), seq(1));
    expect(c.rig.flow.phase).toBe('closing');
  });

  it('learns of late data of the far peer with its window as it was', () => {
    const c = denied();
    const late = c.fromFar({ payload: stream(1, 100), ack: 1 });
    expect(late.unchanged).toBe(true);
  });
});

describe('budget of all flows together', () => {
  it('denies the flow that does not fit, and serves the next one when room returns', () => {
    const rig = new Rig({ custodyBytesTotal: 7_000 });
    const a = new Conversation(rig, PLAIN, 40_001).open();
    const b = new Conversation(rig, PLAIN, 40_002).open();
    a.data('near', 3);
    b.data('near', 3);
    a.lose();
    expect(rig.custodyBytes).toBe(3_000);
    expect(rig.counter('custodyRefused')).toBe(1);
    rig.take();
    a.restore();
    rig.advance(50_000);
    rig.take();
    a.acknowledge('far', UP_TO);
    expect(rig.custodyBytes).toBe(0);
    a.lose();
    expect(rig.custodyBytes).toBe(3_000);
  });

  it('is never passed, whatever a sender pours in; what was taken is complete up to the ACK', () => {
    const rig = new Rig({ custodyBytesPerFlow: 4_300 });
    const c = new Conversation(rig).open();
    c.data('near', 2);
    c.lose();
    for (let i = 0; i < 5; i++) c.fromNear({ payload: stream(c.near.nxt, SEGMENT) });
    expect(rig.flow.custodyBytes).toBe(4_300);
    const last = c.seen().at(-1);
    expectPacket(last, toNear, ack(4_301), window(0));
  });
});

describe('bytes that are not held', () => {
  /** The second of three segments never passed the gateway (lost on the surviving side). */
  function withHole(): Conversation {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.near.nxt += SEGMENT;
    c.data('near', 1);
    c.rig.take();
    c.lose();
    return c;
  }

  it('are not acknowledged; the window stays open, because a closed one would bring one segment per RTO', () => {
    const c = withHole();
    const [seen, ...more] = c.seen();
    expect(more).toEqual([]);
    expectPacket(seen, toNear, ack(1 + SEGMENT));
    expect(seen!.window).toBe((64_000 - SEGMENT) >> 7);
    expect(c.rig.flow.custodyBytes).toBe(SEGMENT);
  });

  it('are taken when the sender brings them, with what lies behind; then the window closes', () => {
    const c = withHole();
    c.rig.take();
    c.fromNear({ seq: 1 + SEGMENT, payload: stream(1 + SEGMENT, SEGMENT) });
    expectPackets(c.seen(), [toNear, ack(UP_TO), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(3 * SEGMENT);
  });

  it('at the very front: nothing is said until they come', () => {
    const c = new Conversation(new Rig()).open();
    c.near.nxt += SEGMENT;
    c.data('near', 1);
    c.lose();
    c.tick(50);
    expect(c.seen()).toEqual([]);
    c.fromNear({ seq: 1, payload: stream(1, SEGMENT), flags: ACK });
    expectPackets(c.seen(), [toNear, ack(1 + 2 * SEGMENT), window(0)]);
  });

  it('because the arena came round: only what is still complete from the front counts', () => {
    const c = new Conversation(new Rig()).open();
    const other = new Conversation(c.rig, PLAIN, 40_001).open();
    c.data('near', 2);
    // The arena of the bench holds four of the largest packets; this much traffic laps it.
    for (let i = 0; i < 400; i++) {
      other.data('near', 1);
      other.acknowledge('far');
    }
    c.data('near', 1);
    c.rig.take();
    c.lose();
    expect(c.rig.flows().find((flow) => flow.id === c.id)).toMatchObject({ phase: 'frozen', custodyBytes: 0 });
    const said = c.rig.take().length;
    expect(said).toBeLessThanOrEqual(1);
  });
});
