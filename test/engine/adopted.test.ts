/** Connections that were under way when the gateway started: window scales are unknown, so only 0 and the peer's own raw field may be said. */
import { describe, expect, it } from 'vitest';
import { FORWARD } from '../../src/engine/engine.ts';
import { ACK, RST } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, content, expectPacket, expectPackets, flags, seq, toFar, toNear, tsVal, window } from './seen.ts';

/** A flow first heard in the middle; `first` speaks first. */
function adopted(variant = PLAIN, first: 'near' | 'far' = 'near'): Conversation {
  const c = new Conversation(new Rig(), variant);
  c.near.nxt = 70_001;
  c.far.nxt = 90_001;
  c.send(first);
  c.send(first === 'near' ? 'far' : 'near');
  expect(c.rig.flow.phase).toBe('flowing');
  return c;
}

describe.each(VARIANTS)('$name', (variant) => {
  it('freezes with custody and a window of zero, and opens only when the far peer has everything', () => {
    const c = adopted(variant, 'far');
    c.data('near', 3);
    c.lose();
    const ce = 70_001 + 3 * SEGMENT;
    expectPackets(c.seen(), [
      toNear,
      flags('.'),
      seq(90_001),
      ack(ce),
      window(0),
      tsVal(variant.timestamps ? c.far.said : null),
    ]);
    c.tick(4_000);
    c.restore();
    c.tick(30);
    c.rig.take();
    c.fromFar({ ack: 70_001 + SEGMENT, window: 333 });
    c.fromFar({ ack: 70_001 + 2 * SEGMENT, window: 333 });
    for (const seen of c.seen()) if (seen.to === 'near') expectPacket(seen, ack(ce), window(0));
    const last = c.fromFar({ ack: ce, window: 333 });
    expect(last).toMatchObject({ disposition: FORWARD, unchanged: true });
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('without data in flight it is given the far peer’s last raw window back', () => {
    const c = adopted(variant);
    c.fromFar({ window: 321 });
    c.lose();
    c.rig.take();
    c.tick(1_000);
    c.restore();
    expectPacket(c.seen()[0], toNear, flags('.'), ack(70_001), window(321));
  });
});

describe('heard from one side only', () => {
  it('nothing is said in the name of a peer that was never heard; the sender is only kept from the void', () => {
    const c = new Conversation(new Rig());
    c.near.nxt = 500;
    c.far.nxt = 900;
    c.data('near', 2);
    c.lose();
    c.tick(100);
    expect(c.fromNear({ payload: stream(c.near.nxt, SEGMENT) }).forwarded).toBeNull();
    c.tick(120_000);
    expect(c.seen()).toEqual([]);
    c.restore();
    c.tick(5_000);
    expect(c.seen()).toEqual([]);
    expect(c.fromNear({ seq: 500, payload: stream(500, SEGMENT) }).unchanged).toBe(true);
  });

  it('a flow that begins in the middle of an outage is held as far as it is known', () => {
    const c = new Conversation(new Rig());
    c.near.nxt = 500;
    c.far.nxt = 900;
    c.lose();
    expect(c.fromNear({ payload: stream(500, SEGMENT) }).forwarded).toBeNull();
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 0 });
    expect(c.seen()).toEqual([]);
  });

  it('segments that open nothing are not tracked', () => {
    const c = new Conversation(new Rig());
    for (const segment of [{ flags: RST }, { flags: RST | ACK }, { flags: 0, payload: stream(1, 10) }]) {
      expect(c.fromNear(segment).unchanged).toBe(true);
    }
    expect(c.rig.flows()).toEqual([]);
  });
});

describe('timestamps of an adopted flow', () => {
  it('with the top bit set are carried like any', () => {
    const c = new Conversation(new Rig());
    c.near.ts = -2_000_000_000;
    c.far.ts = -1_500_000_000;
    c.near.nxt = 10;
    c.far.nxt = 20;
    c.fromNear();
    c.fromFar();
    c.data('near', 1);
    c.lose();
    expectPacket(c.seen().at(-1), toNear, tsVal(c.far.said), window(0));
    c.restore();
    c.tick(5);
    const sent = c.seen().find((seen) => seen.to === 'far' && seen.payload.length > 0);
    expectPacket(sent, toFar, tsVal(c.near.said), content(stream(10, sent!.payload.length)));
  });
});
