/** Tail loss probes (RFC 8985 7): the last segment again, or a new one, before any time-out; and a window of less than a segment. */
import { describe, expect, it } from 'vitest';
import { Conversation, SEGMENT, SHIFT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, content, expectPackets, flags, toFar, toNear, window } from './seen.ts';

const END = 1 + 3 * SEGMENT;

function held(variant?: (typeof VARIANTS)[number]): Conversation {
  const c = new Conversation(new Rig(), variant).open();
  c.data('near', 3);
  c.lose();
  c.tick(100);
  c.rig.take();
  return c;
}

describe.each(VARIANTS)('a tail loss probe ($name)', (variant) => {
  it('that repeats the last segment is answered with everything acknowledged, and not taken twice', () => {
    const c = held(variant);
    c.fromNear({ seq: END - SEGMENT, payload: stream(END - SEGMENT, SEGMENT) });
    expectPackets(c.seen(), [toNear, flags('.'), ack(END), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(3 * SEGMENT);
  });

  it('that brings a new segment is taken', () => {
    const c = held(variant);
    c.fromNear({ payload: stream(END, SEGMENT) });
    expectPackets(c.seen(), [toNear, ack(END + SEGMENT), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(4 * SEGMENT);
  });

  it('of the far peer, late, passes with the window shut and everything acknowledged', () => {
    const c = held(variant);
    const late = c.fromFar({ ack: 1, payload: stream(1, 100) });
    expectPackets([c.decode(late)], [toNear, ack(END), window(0), content(stream(1, 100))]);
  });
});

describe('a window below one segment', () => {
  it('is what the near endpoint gets back at the thaw, no more', () => {
    const c = new Conversation(new Rig()).open();
    const small = 3;
    c.fromFar({ window: small });
    c.data('near', 1, small << SHIFT);
    c.tick(20);
    c.fromFar({ window: small });
    c.lose();
    c.tick(1_000);
    c.rig.take();
    c.restore();
    c.tick(10);
    const told = c.seen().filter((seen) => seen.to === 'near');
    expect(told.map((seen) => seen.window)).toEqual([small]);
  });

  it('is not overrun by what is delivered from custody', () => {
    const c = new Conversation(new Rig());
    const small = 3;
    const bytes = small << SHIFT;
    c.far.window = small;
    c.open();
    c.data('near', 1, bytes);
    c.tick(1);
    c.lose();
    c.fromNear({ payload: stream(1 + bytes, SEGMENT) });
    c.tick(1_000);
    c.rig.take();
    c.restore();
    c.tick(10);
    const sent = (): [number, number][] =>
      c
        .seen()
        .filter((seen) => toFar(seen) === null && seen.payload.length > 0)
        .map((seen) => [seen.seq, seen.seq + seen.payload.length]);
    const first = sent();
    expect(Math.max(...first.map(([, end]) => end))).toBeLessThanOrEqual(1 + bytes);
    c.fromFar({ ack: 1 + bytes, window: small });
    c.tick(10);
    const second = sent();
    expect(second.length).toBeGreaterThan(0);
    for (const [, end] of second) {
      expect(end).toBeLessThanOrEqual(1 + 2 * bytes);
    }
  });
});
