/** Far-sender wake-up (theory of operation 5.6, RFC 6069). */
import { describe, expect, it } from 'vitest';
import { ACK, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, flags, type Seen, seq, toFar, toNear, tsVal, unreachable, window } from './seen.ts';

const icmp = (all: readonly Seen[]): Seen[] => all.filter((seen) => seen.icmp !== null);

/** A download: the far peer's data is in flight when the link goes. */
function download(variant = PLAIN): Conversation {
  const c = new Conversation(new Rig(), variant).open();
  c.data('far', 3);
  c.acknowledge('near', 1 + 2 * SEGMENT);
  c.lose();
  c.tick(10_000);
  c.rig.take();
  return c;
}

describe.each(VARIANTS)('$name', (variant) => {
  it('the far sender is told the current ACK first, then a burst that quotes exactly that number', () => {
    const c = download(variant);
    c.restore();
    c.tick(60);
    const all = c.seen().filter((seen) => seen.to === 'far');
    expectPacket(
      all[0],
      toFar,
      flags('.'),
      seq(1),
      ack(1 + 2 * SEGMENT),
      window(500),
      tsVal(variant.timestamps ? c.near.said : null),
    );
    const burst = icmp(all);
    expect(burst).toHaveLength(12);
    for (const seen of burst) expectPacket(seen, toFar, unreachable(1 + 2 * SEGMENT, variant.family));
    burst.slice(1).forEach((seen, i) => {
      const gap = seen.at - burst[i]!.at;
      expect(gap).toBeGreaterThanOrEqual(2_000);
      expect(gap).toBeLessThanOrEqual(5_000);
    });
  });

  it('ends as soon as the far peer sends data', () => {
    const c = download(variant);
    c.restore();
    c.tick(10);
    c.fromFar({ seq: 1 + 2 * SEGMENT, payload: stream(1 + 2 * SEGMENT, SEGMENT) });
    c.rig.take();
    c.tick(10_000);
    expect(icmp(c.seen())).toEqual([]);
    expect(c.rig.counter('wakeupsAnswered')).toBe(1);
  });
});

describe('a far peer that was silent before the loss', () => {
  function idle(): Conversation {
    const c = new Conversation(new Rig()).open();
    c.data('far', 1);
    c.acknowledge('near');
    c.tick(5_000);
    c.lose();
    c.tick(10_000);
    c.rig.take();
    c.restore();
    return c;
  }

  it('is asked first, and left alone when its answer shows that nothing is in flight', () => {
    const c = idle();
    c.rig.settle();
    const asked = c.seen().filter((seen) => seen.to === 'far');
    expect(asked).toHaveLength(1);
    expectPacket(asked[0], toFar, flags('.'), seq(0), ack(1 + SEGMENT));
    c.tick(40);
    c.fromFar();
    c.tick(10_000);
    expect(icmp(c.seen())).toEqual([]);
  });

  it('is woken at once when its answer shows that something is', () => {
    const c = idle();
    c.tick(40);
    c.rig.take();
    c.fromFar({ seq: 1 + 3 * SEGMENT });
    c.tick(60);
    const burst = icmp(c.seen());
    expect(burst).toHaveLength(12);
    expectPacket(burst[0], toFar, unreachable(1 + SEGMENT, 4));
  });

  it('is woken all the same when no answer comes', () => {
    const c = idle();
    c.tick(90);
    expect(icmp(c.seen())).toEqual([]);
    c.tick(60);
    expect(icmp(c.seen()).length).toBeGreaterThan(0);
  });

  it('is asked with what it has acknowledged, also while custody is delivered; its ACK ends the wake-up', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 3);
    c.tick(5_000);
    c.lose();
    c.tick(5_000);
    c.restore();
    c.tick(40);
    c.acknowledge('far', 1 + SEGMENT);
    c.rig.take();
    c.tick(10_000);
    expect(icmp(c.seen())).toEqual([]);
    expect(c.rig.counter('wakeups')).toBe(0);
  });

  it('with its window shut its answer says nothing (tcp_acceptable_seq)', () => {
    const c = new Conversation(new Rig()).open();
    c.data('far', 1);
    c.fromNear({ window: 0 });
    c.tick(5_000);
    c.lose();
    c.tick(5_000);
    c.restore();
    c.tick(40);
    c.fromFar();
    c.tick(1_000);
    expect(icmp(c.seen()).length).toBeGreaterThan(0);
  });
});

describe('schedule', () => {
  it('repeats the round while nothing answers, less and less often, and then stops', () => {
    const c = download();
    c.restore();
    const from = c.rig.now;
    c.tick(60_000);
    const burst = icmp(c.seen());
    const rounds = burst.filter((seen, i) => i === 0 || seen.at - burst[i - 1]!.at > 20_000);
    expect(rounds).toHaveLength(6);
    expect(burst).toHaveLength(6 * 12);
    const starts = rounds.map((seen) => (seen.at - from) / 1_000);
    [0, 100, 300, 700, 1_500, 3_100].forEach((millis, i) => {
      expect(starts[i]).toBeGreaterThanOrEqual(millis);
      expect(starts[i]).toBeLessThan(millis + 10);
    });
  });

  it('a new loss ends it; the next return begins it anew', () => {
    const c = download();
    c.restore();
    c.tick(10);
    c.lose();
    c.rig.take();
    c.tick(2_000);
    expect(icmp(c.seen())).toEqual([]);
    c.restore();
    c.tick(60);
    expect(icmp(c.seen()).length).toBeGreaterThanOrEqual(12);
  });

  it('hundreds of flows towards one host share an allowance', () => {
    const rig = new Rig({ maxFlows: 1_024 });
    const flows = Array.from({ length: 400 }, (_, i) => new Conversation(rig, PLAIN, 10_000 + i).open());
    for (const c of flows) c.fromFar({ payload: stream(1, 10) });
    flows[0]!.lose();
    rig.advance(1e6);
    rig.take();
    flows[0]!.restore();
    const before = rig.counter('wakeups');
    rig.advance(1e6);
    const sent = rig.counter('wakeups') - before;
    expect(sent).toBeLessThanOrEqual(2_001);
    expect(sent).toBeGreaterThan(900);
  });

  it('none without a loss, none for a connection that was reset meanwhile', () => {
    const c = new Conversation(new Rig()).open();
    c.data('far', 2);
    c.tick(10_000);
    c.restore();
    c.tick(5_000);
    expect(c.seen()).toEqual([]);
    const d = download();
    d.fromNear({ flags: RST });
    d.restore();
    d.tick(5_000);
    expect(icmp(d.seen())).toEqual([]);
  });
});

describe('the near endpoint at thaw', () => {
  it('is told the far window again until it speaks: the first time may be lost', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    c.tick(1_000);
    c.rig.take();
    c.restore();
    c.tick(800);
    const told = c.seen().filter((seen) => seen.to === 'near');
    expect(told.length).toBeGreaterThanOrEqual(2);
    for (const seen of told) expectPacket(seen, toNear, flags('.'), seq(1), ack(1), window(500));
  });
});

describe('the first data of the near endpoint after the thaw', () => {
  /** An idle connection after an outage; a line is typed the moment that the window opens. */
  function typed(): Conversation {
    const c = new Conversation(new Rig()).open();
    c.lose();
    c.tick(60_000);
    c.restore();
    c.tick(1);
    c.rig.take();
    expect(c.fromNear({ payload: stream(1, 29) }).forwarded).not.toBeNull();
    return c;
  }
  const data = (all: readonly Seen[]): Seen[] => all.filter((seen) => seen.to === 'far' && seen.payload.length > 0);

  it('is repeated while nothing comes back: its sender may be in a back-off of minutes', () => {
    const c = typed();
    const from = c.rig.now;
    c.tick(10_000);
    const repeated = data(c.seen());
    expect(repeated.map((seen) => Math.round((seen.at - from) / 100_000))).toEqual([1, 3, 7, 15, 31]);
    for (const seen of repeated) expectPacket(seen, toFar, flags('P.'), seq(1), ack(1), window(500));
    expect(repeated[0]!.payload).toEqual(stream(1, 29));
    expect(c.rig.counter('headReplays')).toBe(5);
  });

  it('is not repeated once it is acknowledged', () => {
    const c = typed();
    c.tick(50);
    c.acknowledge('far');
    c.tick(10_000);
    expect(data(c.seen())).toEqual([]);
  });

  it('is not repeated before an acknowledgement could have come', () => {
    const c = new Conversation(new Rig());
    c.fromNear({ flags: SYN });
    c.tick(10);
    c.fromFar({ flags: SYN | ACK });
    c.fromNear();
    c.fromNear({ payload: stream(1, 10) });
    c.tick(400);
    c.acknowledge('far');
    c.lose();
    c.tick(60_000);
    c.restore();
    c.tick(1);
    c.rig.take();
    const from = c.rig.now;
    c.fromNear({ payload: stream(11, 29) });
    c.tick(500);
    expect(data(c.seen()).filter((seen) => seen.at - from < 0.6 * 400_000)).toEqual([]);
  });
});

describe('a sender that was dribbled', () => {
  /** Handed back, with an estimate of the round trip as old as the outage; it has sent three segments, which are lost. */
  function handedBack(): Conversation {
    const c = new Conversation(new Rig()).open();
    for (let i = 0; i < 4; i++) {
      c.data('near', 10);
      c.tick(20);
      c.acknowledge('far');
    }
    c.data('near', 20);
    c.lose();
    c.tick(60_000);
    c.restore();
    c.tick(60);
    c.acknowledge('far', 1 + 60 * SEGMENT);
    c.tick(20);
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0 });
    c.rig.take();
    c.data('near', 3);
    return c;
  }
  const repeated = (c: Conversation): number[] =>
    c
      .seen()
      .filter((seen) => seen.to === 'far' && seen.payload.length > 0)
      .map((seen) => seen.seq);

  it('is spared its timers, which are as long as the outage: what is lost of its first flights is repeated', () => {
    const c = handedBack();
    const first = 1 + 60 * SEGMENT;
    c.tick(300);
    expect(new Set(repeated(c))).toEqual(new Set([first]));
    c.acknowledge('far', first + SEGMENT);
    c.tick(300);
    expect(new Set(repeated(c))).toEqual(new Set([first + SEGMENT]));
    c.acknowledge('far', first + 3 * SEGMENT);
    c.tick(20_000);
    expect(repeated(c)).toEqual([]);
  });

  it('is left to itself after ten seconds', () => {
    const c = handedBack();
    c.tick(12_000);
    expect(repeated(c).length).toBeGreaterThan(10);
    c.tick(60_000);
    expect(repeated(c)).toEqual([]);
  });
});

describe('a link whose next hop is not known yet', () => {
  it('gets no more packets than the kernel can keep, whatever the number of flows', () => {
    const rig = new Rig();
    const many = Array.from({ length: 60 }, (_, i) => new Conversation(rig, PLAIN, 40_000 + i).open());
    for (const c of many) c.fromFar({ payload: stream(1, 10) });
    many[0]!.lose();
    many[0]!.tick(10_000);
    rig.take();
    many[0]!.restore();
    many[0]!.tick(40);
    const towardsFar = (): number => rig.take().filter(({ bytes }) => decodeTo(many[0]!, bytes) === 'far').length;
    const crowded = towardsFar();
    expect(crowded).toBeGreaterThan(32);
    expect(crowded).toBeLessThan(32 + 40 + 5);
    // The first sign of life opens it for all.
    many[0]!.acknowledge('far');
    many[0]!.tick(60);
    expect(towardsFar()).toBeGreaterThan(300);
  });
});

/** Where a packet of the bench goes, whichever connection it belongs to. */
function decodeTo(c: Conversation, bytes: Uint8Array): string {
  const vnet = c.parties.vnet;
  return bytes[vnet + 16] === 10 ? 'near' : 'far';
}
