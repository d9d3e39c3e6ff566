/** Corners that belong to no single part. */
import { describe, expect, it } from 'vitest';
import { SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT, stream } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, content, expectPacket, expectPackets, flags, seq, toFar, toNear, window } from './seen.ts';

describe('windows', () => {
  it('that the far peer itself had closed stay closed at thaw', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.fromFar({ window: 0 });
    c.lose();
    c.tick(1_000);
    c.rig.take();
    c.restore();
    c.tick(1_000);
    const told = c.seen().filter((seen) => seen.to === 'near');
    expect(told.length).toBeGreaterThan(0);
    for (const seen of told) expectPacket(seen, ack(1 + SEGMENT), window(0));
  });
});

describe('super-packets', () => {
  it('larger than the room are taken as far as they fit', () => {
    const c = new Conversation(new Rig({ vnetHeaderLength: 10, gso: true, custodyBytesPerFlow: 30_000 })).open();
    c.data('near', 1);
    c.lose();
    c.rig.take();
    c.fromNear({ payload: stream(c.near.nxt, 50_000), gsoSize: SEGMENT });
    expect(c.rig.flow.custodyBytes).toBe(30_000);
    expectPackets(c.seen(), [toNear, ack(30_001), window(0)]);
  });
});

describe('handback', () => {
  it('gets through an outbox that holds one packet', () => {
    const c = new Conversation(new Rig({ outboxBytes: 1_500 })).open();
    c.data('near', 9);
    c.lose();
    c.tick(100);
    c.restore();
    c.tick(1_000);
    const sent = c.seen().filter((seen) => seen.to === 'far' && seen.isTcp && seen.payload.length > 0);
    expect(new Set(sent.map((seen) => seen.seq)).size).toBe(9);
  });

  it('passes fresh data that begins below CE whole', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 4);
    c.lose();
    c.tick(100);
    c.restore();
    c.tick(5);
    c.fromFar({ ack: 1 + 3 * SEGMENT });
    const from = 1 + 3 * SEGMENT + 500;
    const outcome = c.fromNear({ seq: from, payload: stream(from, SEGMENT) });
    expectPacket(c.decode(outcome), content(stream(from, SEGMENT)));
  });
});

describe('a parked SYN', () => {
  it('leaves as it came, virtio-net header included', () => {
    const c = new Conversation(new Rig({ vnetHeaderLength: 10 }));
    c.lose();
    c.fromNear({ flags: SYN });
    c.tick(100);
    c.restore();
    expectPackets(c.seen(), [toFar, flags('S'), seq(0)]);
  });
});
