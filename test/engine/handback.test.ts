/** Giving a connection back: what the far peer gets, and what the near endpoint is told meanwhile (theory of operation 5). */
import { describe, expect, it } from 'vitest';
import { CONSUME, FORWARD } from '../../src/engine/engine.ts';
import { Conversation, PLAIN, SEGMENT, SHIFT, stream, VARIANTS, WINDOW } from './conversation.ts';
import { Rig } from './rig.ts';
import {
  ack,
  content,
  expectPacket,
  flags,
  type Seen,
  sack,
  seq,
  toFar,
  toNear,
  tsEcr,
  tsVal,
  window,
} from './seen.ts';

/** A flow whose delivery rate and round trip are known: 1 MB/s, 40 ms. */
function warm(variant = PLAIN, rig = new Rig()): Conversation {
  const c = new Conversation(rig, variant).open();
  for (let i = 0; i < 200; i++) {
    c.fromNear({ payload: stream(c.near.nxt, SEGMENT) });
    if (i >= 40) c.acknowledge('far', c.near.nxt - 40 * SEGMENT);
    c.tick(1);
  }
  return c;
}

/** Loss with `segments` in flight, ten seconds, link-up; nothing of the far peer heard yet. */
function thawed(variant = PLAIN): Conversation {
  const c = warm(variant);
  c.lose();
  c.tick(10_000);
  c.rig.take();
  c.restore();
  c.rig.settle();
  return c;
}

const replayed = (all: readonly Seen[]): Seen[] =>
  all.filter((seen) => seen.to === 'far' && seen.isTcp && seen.payload.length > 0);

/** The bytes of [from, to) that arrived, in whatever order; throws when one is missing or wrong. */
function assemble(segments: readonly Seen[], from: number, to: number): void {
  const have = new Uint8Array(to - from);
  for (const seen of segments) {
    expectPacket(seen, content(stream(seen.seq, seen.payload.length)));
    for (let i = 0; i < seen.payload.length; i++)
      if (seen.seq + i >= from && seen.seq + i < to) have[seen.seq + i - from] = 1;
  }
  expect(have.indexOf(0)).toBe(-1);
}

describe.each(VARIANTS)('$name', (variant) => {
  it('every byte arrives over a far path that loses every third packet', () => {
    const c = thawed(variant);
    const una = c.near.nxt - 40 * SEGMENT;
    const end = c.near.nxt;
    const received = new Set<number>();
    const arrived: Seen[] = [];
    let count = 0;
    for (let turn = 0; turn < 2_000 && c.rig.flow.phase === 'handback'; turn++) {
      c.tick(5);
      for (const seen of replayed(c.seen())) {
        if (++count % 3 === 0) continue;
        arrived.push(seen);
        for (let i = 0; i < seen.payload.length; i += SEGMENT) received.add(seen.seq + i);
      }
      let ackTo = una;
      while (received.has(ackTo)) ackTo += SEGMENT;
      const above = [...received].filter((at) => at > ackTo).sort((a, b) => a - b)[0];
      c.fromFar({ ack: ackTo, ...(above !== undefined && { sack: [above, above + SEGMENT] }) });
    }
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0 });
    assemble(arrived, una, end);
    // Each retransmission answers a loss; without any, 40 segments are 40 packets.
    expect(count).toBeLessThan(150);
  });

  it('the near endpoint is clocked: never more than was in flight, never beyond the far window, never backwards', () => {
    const c = thawed(variant);
    const inFlight = 40 * SEGMENT;
    const ce = c.near.nxt;
    const una = ce - inFlight;
    c.seen();
    let edge = 0;
    for (let done = SEGMENT; done < inFlight; done += SEGMENT) {
      c.tick(1);
      c.rig.take();
      const outcome = c.fromFar({ ack: una + done });
      expect(outcome.disposition).toBe(CONSUME);
      const told = c.seen().filter((seen) => seen.to === 'near');
      for (const seen of told) {
        expectPacket(seen, flags('.'), ack(ce), seq(1));
        const offered = ce + (seen.window << SHIFT);
        expect(offered).toBeLessThanOrEqual(una + done + inFlight);
        expect(offered).toBeGreaterThanOrEqual(edge);
        expect(una + done + inFlight - offered).toBeLessThan(SEGMENT + (1 << SHIFT));
        edge = offered;
      }
    }
    c.rig.take();
    const last = c.acknowledge('far', ce);
    expect(last.unchanged).toBe(true);
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('data of the far peer passes with custody acknowledged, its SACK blocks below CE gone, its own bytes untouched', () => {
    const c = thawed(variant);
    const ce = c.near.nxt;
    const una = ce - 40 * SEGMENT;
    c.rig.take();
    const outcome = c.fromFar({ payload: stream(1, 300), ack: una + SEGMENT, sack: [una + 5_000, una + 7_000] });
    const seen = c.decode(outcome);
    // Custody may still be shown bit by bit; the window is shut then.
    expect(seen.ack).toBeGreaterThanOrEqual(una + SEGMENT);
    expect(seen.ack).toBeLessThanOrEqual(ce);
    if (seen.ack < ce) expectPacket(seen, window(0));
    expectPacket(seen, toNear, seq(1), sack(), content(stream(1, 300)), tsVal(variant.timestamps ? c.far.said : null));
  });
});

describe('window of the handback', () => {
  it('is floored to the window scale and follows a far window that is smaller than the flight', () => {
    const c = thawed();
    const ce = c.near.nxt;
    const una = ce - 40 * SEGMENT;
    // The far peer shrinks its offer: its right edge stays where it once was, at una + 64 000.
    c.tick(1);
    c.rig.take();
    c.fromFar({ ack: una + 30 * SEGMENT, window: 100 });
    c.tick(150);
    const told = c.seen().filter((seen) => seen.to === 'near');
    for (const seen of told) expectPacket(seen, ack(ce));
    // In flight would allow una + 70 000; the right edge that was shown before the loss was una + 64 000.
    const edges = told.map((seen) => ce + (seen.window << SHIFT));
    expect(Math.max(...edges)).toBeGreaterThan(una + 64_000 - SEGMENT - (1 << SHIFT));
    expect(Math.max(...edges)).toBeLessThanOrEqual(una + 64_000);
  });

  it('without any window yet, fresh data at CE is answered, not passed', () => {
    const c = thawed();
    c.rig.take();
    const outcome = c.fromNear({ payload: stream(c.near.nxt, SEGMENT) });
    expect(outcome.disposition).toBe(CONSUME);
  });

  it('stays within the far window while the far application does not read', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 20);
    c.lose();
    c.tick(100);
    c.rig.take();
    c.restore();
    c.tick(5);
    let top = 0;
    for (let k = 1; k < 20; k++) {
      c.fromFar({ ack: 1 + k * SEGMENT, window: Math.floor((64_000 - k * SEGMENT) / 128) });
      c.tick(40);
      for (const seen of c.seen())
        if (seen.to === 'near' && seen.isTcp) top = Math.max(top, seen.ack + seen.window * 128);
    }
    expect(top).toBeLessThanOrEqual(1 + 64_000);
    expect(top).toBeGreaterThan(1 + 20 * SEGMENT);
  });

  it('a silly window is not offered', () => {
    const c = thawed();
    const una = c.near.nxt - 40 * SEGMENT;
    c.rig.take();
    c.fromFar({ ack: una + 10 });
    expect(c.seen().filter((seen) => seen.to === 'near')).toEqual([]);
  });
});

describe('pace', () => {
  it('of the replay is the rate of before: 1 MB/s, not a burst', () => {
    const c = thawed();
    const una = c.near.nxt - 40 * SEGMENT;
    c.tick(5);
    c.fromFar({ ack: una + SEGMENT });
    c.rig.take();
    const start = c.rig.now;
    c.tick(20);
    const sent = replayed(c.seen()).reduce((sum, seen) => sum + seen.payload.length, 0);
    const elapsed = (c.rig.now - start) / 1e6;
    expect(sent / elapsed).toBeLessThan(1.4e6);
    expect(sent / elapsed).toBeGreaterThan(0.5e6);
  });

  it('of all flows of a link together is what the link delivered, also when each had it to itself before', () => {
    const rig = new Rig({ arenaBytes: 4 << 20 });
    const flows = [40_001, 40_002, 40_003].map((port) => new Conversation(rig, PLAIN, port).open());
    for (const c of flows) {
      for (let i = 0; i < 250; i++) {
        c.fromNear({ payload: stream(c.near.nxt, SEGMENT) });
        if (i >= 60) c.acknowledge('far', c.near.nxt - 60 * SEGMENT);
        rig.advance(1_000);
      }
    }
    flows[0]!.lose();
    rig.advance(5e6);
    flows[0]!.restore();
    rig.advance(40_000);
    for (const c of flows) c.acknowledge('far', c.near.nxt - 59 * SEGMENT);
    rig.take();
    rig.advance(25_000);
    const bytes = rig.take().reduce((sum, { bytes: packet }) => sum + (packet.length > 200 ? packet.length : 0), 0);
    expect(bytes / 0.025).toBeLessThan(1.5e6);
    expect(bytes).toBeGreaterThan(5_000);
  });
});

describe('retransmission by the gateway', () => {
  it('goes on with back-off while the far peer is silent, one segment at a time, for as long as it takes', () => {
    const c = thawed();
    c.rig.take();
    c.tick(60_000);
    const times = replayed(c.seen()).map((seen) => seen.at);
    expect(times.length).toBeGreaterThan(15);
    expect(times.length).toBeLessThan(60);
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10e6);
    expect(c.rig.flow.phase).toBe('handback');
  });

  it('a D-SACK below the cumulative ACK marks nothing as held', () => {
    const c = thawed();
    const una = c.near.nxt - 40 * SEGMENT;
    c.tick(5);
    c.rig.take();
    c.fromFar({ ack: una + 2 * SEGMENT, sack: [una, una + 2 * SEGMENT] });
    const arrived: Seen[] = [];
    for (let i = 0; i < 400 && c.rig.flow.phase === 'handback'; i++) {
      c.tick(5);
      arrived.push(...replayed(c.seen()));
      const top = Math.max(una + 2 * SEGMENT, ...arrived.map((seen) => seen.seq + seen.payload.length));
      if (i % 10 === 9) c.fromFar({ ack: top });
    }
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('respects the far window: a closed one is probed with one byte', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.acknowledge('far');
    c.fromNear({ payload: stream(c.near.nxt, 500) });
    c.fromFar({ ack: c.near.nxt, window: 0 });
    // The sender probes with data beyond the closed window, and the link goes.
    c.fromNear({ payload: stream(c.near.nxt, 1) });
    c.lose();
    c.tick(1_000);
    c.rig.take();
    c.restore();
    c.tick(20);
    const sent = replayed(c.seen());
    expect(sent.length).toBeGreaterThan(0);
    for (const seen of sent) expect(seen.payload.length).toBeLessThanOrEqual(1);
  });
});

describe('three cuts while a handback is under way', () => {
  it('lose nothing', () => {
    const c = warm();
    const una = c.near.nxt - 40 * SEGMENT;
    let ackTo = una;
    const arrived: Seen[] = [];
    for (let cut = 0; cut < 3; cut++) {
      c.lose();
      c.tick(2_000);
      expect(c.rig.flow.phase).toBe('frozen');
      c.rig.take();
      c.restore();
      for (let turn = 0; turn < 2; turn++) {
        c.tick(3);
        arrived.push(...replayed(c.seen()));
        const have = new Set(arrived.map((seen) => seen.seq));
        while (have.has(ackTo)) ackTo += SEGMENT;
        c.fromFar({ ack: ackTo });
        // The near endpoint uses the window it is given.
        c.rig.take();
      }
      expect(c.rig.flow.phase).toBe('handback');
    }
    for (let turn = 0; turn < 300 && c.rig.flow.phase === 'handback'; turn++) {
      c.tick(8);
      arrived.push(...replayed(c.seen()));
      const have = new Set(arrived.map((seen) => seen.seq));
      while (have.has(ackTo)) ackTo += SEGMENT;
      c.fromFar({ ack: ackTo });
    }
    expect(ackTo).toBe(c.near.nxt);
    assemble(arrived, una, c.near.nxt);
    expect(c.rig.custodyBytes).toBe(0);
  });
});

describe('late packets of the far peer while frozen', () => {
  it('an acknowledgement shortens custody, thaws nothing and is not passed on', () => {
    const c = warm();
    const una = c.near.nxt - 40 * SEGMENT;
    c.lose();
    c.rig.take();
    const outcome = c.fromFar({ ack: una + 10 * SEGMENT });
    expect(outcome.forwarded).toBeNull();
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 30 * SEGMENT });
    expect(c.seen()).toEqual([]);
  });

  it('data passes with the window shut and TSval as sent', () => {
    const c = warm();
    c.lose();
    c.tick(60_000);
    const shown = c.seen().at(-1)!.ack;
    const una = c.near.nxt - 40 * SEGMENT;
    const outcome = c.fromFar({
      payload: stream(1, 50),
      ack: una,
      sack: [una + 1_000, una + 2_000],
      ts: c.far.said + 7,
    });
    expect(outcome.disposition).toBe(FORWARD);
    expectPacket(c.decode(outcome), toNear, ack(shown), sack(), window(0), content(stream(1, 50)), tsVal(c.far.said));
  });
});

describe('timestamps of what the gateway says', () => {
  it('TSval is the newest that was forwarded, never newer; TSecr echoes the segment at the left edge, later the probe', () => {
    const c = new Conversation(new Rig()).open();
    c.tick(1_000);
    const first = c.near.ts;
    c.data('near', 1);
    c.tick(700);
    // The sender's RTO has fired: the same bytes again, with a newer clock.
    c.fromNear({ seq: 1, payload: stream(1, SEGMENT) });
    c.lose();
    expectPacket(c.seen().at(-1), ack(1 + SEGMENT), tsVal(c.far.said), tsEcr(first));
    c.tick(5_000);
    c.fromNear({ seq: SEGMENT });
    expectPacket(c.seen().at(-1), tsVal(c.far.said), tsEcr(c.near.said));
  });

  it('wrap around with their clocks', () => {
    const c = new Conversation(new Rig());
    c.near.ts = -30;
    c.far.ts = -15;
    c.open();
    c.data('near', 40);
    c.fromFar();
    c.lose();
    expectPacket(c.seen().at(-1), toNear, tsVal(c.far.said));
    expect(c.far.said).toBeGreaterThan(0);
  });

  it('towards the far peer they are the newest of both', () => {
    const c = thawed();
    const sent = replayed(c.seen());
    for (const seen of sent) expectPacket(seen, toFar, tsVal(c.near.said), tsEcr(c.far.said), window(WINDOW));
  });
});
