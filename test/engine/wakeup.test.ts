/** Far-sender wake-up (theory of operation 5.6, RFC 6069). */
import { describe, expect, it } from 'vitest';
import { RST } from '../../src/wire/tcp-flags.ts';
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
