/** Custody that is shown bit by bit, so that a busy sender never looks idle (freeze/dribble.ts), as the wire sees it. */
import { describe, expect, it } from 'vitest';
import { CONSUME } from '../../src/engine/engine.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, payloadLength, seq, toNear, tsEcr, tsVal, window } from './seen.ts';

const COUNT = 30;

/** A sender with a round trip of 30 ms behind the gateway and thirty segments in flight at the loss. */
function busy(variant = PLAIN): { c: Conversation; ce: number; flightTs: number } {
  const c = new Conversation(new Rig(), variant).open();
  c.data('near', 1);
  c.tick(30);
  c.acknowledge('far');
  const flightTs = c.near.ts;
  c.data('near', COUNT);
  c.rig.take();
  c.lose();
  return { c, ce: c.near.nxt, flightTs };
}

describe.each(VARIANTS)('$name', (variant) => {
  it('the ACK grows segment by segment up to CE, always with a shut window, never more than 60 s apart', () => {
    const { c, ce, flightTs } = busy(variant);
    c.tick(2 * 3_600_000);
    const all = c.seen();
    expect(all[0]!.ack).toBeLessThan(ce);
    let last = { ack: 0, at: all[0]!.at };
    for (const seen of all) {
      expectPacket(
        seen,
        toNear,
        flags('.'),
        seq(1),
        window(0),
        payloadLength(0),
        tsVal(variant.timestamps ? c.far.said : null),
      );
      expect(seen.ack).toBeGreaterThanOrEqual(last.ack);
      expect(seen.at - last.at).toBeLessThanOrEqual(60e6);
      if (seen.ack > last.ack) {
        expectPacket(seen, tsEcr(variant.timestamps ? flightTs : null));
        if (last.ack > 0) expect(seen.ack - last.ack).toBeLessThanOrEqual(SEGMENT);
      }
      last = seen;
    }
    expect(last.ack).toBe(ce);
  });

  it('a retransmission ends it: everything is shown, echoing the first transmission', () => {
    const { c, ce, flightTs } = busy(variant);
    c.tick(100);
    const shown = c.seen().at(-1)!.ack;
    expect(shown).toBeLessThan(ce);
    const outcome = c.fromNear({ seq: shown, payload: stream(shown, SEGMENT) });
    expect(outcome.disposition).toBe(CONSUME);
    expectPackets(c.seen(), [toNear, ack(ce), window(0), tsEcr(variant.timestamps ? flightTs : null)]);
    c.tick(50_000);
    expect(c.seen()).toEqual([]);
    expect(c.rig.flow.custodyBytes).toBe(COUNT * SEGMENT);
  });

  it('late ACKs that deliver all of custody show no more than is due, and the thaw opens with the rest', () => {
    const { c, ce } = busy(variant);
    c.tick(200);
    const before = c.seen().at(-1)!.ack;
    c.fromFar({ ack: ce });
    expect(c.rig.flow.custodyBytes).toBe(0);
    expect(c.seen()).toEqual([]);
    c.tick(2_000);
    const dribbled = c.seen();
    expect(dribbled.length).toBeGreaterThan(1);
    expect(dribbled[0]!.ack).toBe(before + SEGMENT);
    for (const seen of dribbled) expectPacket(seen, toNear, window(0));
    expect(dribbled.at(-1)!.ack).toBeLessThan(ce);
    c.restore();
    c.tick(1);
    const opening = c.seen().find((seen) => seen.to === 'near' && seen.window > 0);
    expect(opening?.ack).toBe(ce);
  });

  it('after the first progress of the far peer the ACK that opens the window shows the rest, too', () => {
    const { c, ce } = busy(variant);
    c.tick(3_000);
    c.rig.take();
    c.restore();
    c.tick(10);
    for (const seen of c.seen()) if (seen.to === 'near') expectPacket(seen, window(0));
    // Nearly all has arrived: what is left is soon sent, and the window may open by what was acknowledged.
    c.fromFar({ ack: ce - 2 * SEGMENT });
    c.tick(1_000);
    const told = c.seen().filter((seen) => seen.to === 'near');
    const opened = told.filter((seen) => seen.window > 0);
    expect(opened.length).toBeGreaterThan(0);
    for (const seen of opened) expectPacket(seen, ack(ce));
    const windows = told.map((seen) => seen.window);
    expect(windows).toEqual([...windows].sort((x, y) => x - y));
    expect(windows.at(-1)).toBe(((COUNT - 2) * SEGMENT) >> 7);
  });
});

describe('a sender that is not to be dribbled', () => {
  it('because it has retransmitted already sees everything at once', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.tick(30);
    c.acknowledge('far');
    const from = c.near.nxt;
    c.data('near', COUNT);
    c.fromNear({ seq: from, payload: stream(from, SEGMENT) });
    c.lose();
    expectPackets(c.seen(), [toNear, ack(c.near.nxt), window(0)]);
  });

  it('because the path was never timed, or hardly anything is in flight, too', () => {
    const untimed = new Conversation(new Rig()).open();
    untimed.data('near', COUNT);
    untimed.lose();
    expectPackets(untimed.seen(), [ack(untimed.near.nxt)]);
    const few = new Conversation(new Rig()).open();
    few.data('near', 1);
    few.tick(30);
    few.acknowledge('far');
    few.data('near', 3);
    few.lose();
    expectPackets(few.seen(), [ack(few.near.nxt)]);
  });
});
