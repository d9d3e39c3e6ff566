import { describe, expect, it } from 'vitest';
import { Conversation, SEGMENT, stream, VARIANTS, WINDOW } from './conversation.ts';
import { Rig } from './rig.ts';
import {
  ack,
  content,
  expectPacket,
  expectPackets,
  flags,
  flowLabel,
  payloadLength,
  seq,
  toNear,
  trafficClass,
  tsEcr,
  tsVal,
  ttl,
  window,
} from './seen.ts';

describe.each(VARIANTS)('$name', (variant) => {
  const orNull = (value: number): number | null => (variant.timestamps ? value : null);

  it('what is in flight and held is acknowledged with a window of zero', () => {
    const c = new Conversation(new Rig(), variant).open();
    const firstTs = c.near.ts;
    c.data('near', 3);
    c.rig.take();
    c.lose();
    expectPackets(c.seen(), [
      toNear,
      flags('.'),
      seq(1),
      ack(1 + 3 * SEGMENT),
      window(0),
      tsVal(orNull(c.far.said)),
      tsEcr(orNull(firstTs)),
      payloadLength(0),
      ttl(c.far.ttl),
      trafficClass(0x48),
      flowLabel(variant.family === 6 ? c.far.flowLabel : 0),
    ]);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 3 * SEGMENT });
  });

  it('is given back byte for byte, and leaves no trace', () => {
    const c = new Conversation(new Rig(), variant).open();
    c.data('near', 3);
    c.lose();
    c.tick(5_000);
    c.rig.take();
    c.restore();
    c.tick(90);
    const replayed = c.seen().filter((seen) => seen.isTcp && seen.payload.length > 0);
    expect(replayed.map((seen) => seen.to)).not.toContain('near');
    for (const seen of replayed) {
      expectPacket(seen, content(stream(seen.seq, seen.payload.length)), ack(1), tsEcr(orNull(c.far.said)));
    }
    expect(new Set(replayed.map((seen) => seen.seq))).toEqual(new Set([1, 1_001, 2_001]));
    const last = c.acknowledge('far');
    expectPacket(c.decode(last), toNear, ack(1 + 3 * SEGMENT), window(WINDOW));
    expect(last.unchanged).toBe(true);
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0, near: null });
    expect(c.rig.custodyBytes).toBe(0);
  });
});

describe('zero-window advertisement', () => {
  it('is sent when nothing is in flight, and undone by the far window at thaw', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    expectPackets(c.seen(), [toNear, flags('.'), seq(1), ack(1), window(0), tsVal(c.far.said), tsEcr(c.near.said)]);
    c.tick(1_000);
    c.restore();
    expectPacket(c.seen()[0], toNear, flags('.'), seq(1), ack(1), window(WINDOW));
  });
});
