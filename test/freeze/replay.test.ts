import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { Pacer } from '../../src/freeze/pacer.ts';
import { Replay } from '../../src/freeze/replay.ts';

const SEGMENT = 1_000;

interface Sent {
  readonly at: number;
  readonly from: number;
  readonly length: number;
}

/** Lets the replay send what it may at `now`, without a link's pacer; relative to `una`. */
function burst(replay: Replay, una: number, length: number, fin: boolean, edge: number, now: number): Sent[] {
  const sent: Sent[] = [];
  const end = (una + length) | 0;
  for (let n = 0; n < 1_000; n++) {
    if (replay.rtoAt <= now) replay.onTimeout(now);
    const from = replay.choose(end, fin, (una + edge) | 0);
    if (replay.chosenLength < 0 || replay.nextSendAt > now) return sent;
    const { chosenLength } = replay;
    sent.push({ at: now, from: (from - una) | 0, length: chosenLength });
    if (chosenLength === 0 || (((from + chosenLength) | 0) === end && fin)) replay.finSent = true;
    replay.onSent(from, chosenLength, now);
  }
  throw new Error('a burst without an end');
}

describe('replay against a far peer that remembers every byte', () => {
  it('delivers everything in the end, over any path, from any place on the circle', () => {
    const scenario = fc.record({
      una: fc.constantFrom(5, -3_000, 0x7fff_ffff - 2_500),
      length: fc.integer({ min: 1, max: 40_000 }),
      fin: fc.boolean(),
      rate: fc.constantFrom(0, 0.2, 1, 10),
      rtt: fc.constantFrom(0, 5_000, 60_000),
      sack: fc.boolean(),
      had: fc.nat(20_000),
      losses: fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }),
      window: fc.constantFrom(3_000, 64_000),
    });
    fc.assert(
      fc.property(scenario, ({ una, length, fin, rate, rtt, sack, had, losses, window }) => {
        let now = 1_000_000;
        const replay = new Replay(una, SEGMENT, rate, length, length, rtt, rtt, now);
        const got = new Uint8Array(length);
        got.fill(1, 0, Math.min(had, length));
        let finGot = false;
        let acked = 0;
        let packets = 0;
        const total = length + (fin ? 1 : 0);
        for (let turn = 0; turn < 20_000 && acked < total; turn++) {
          const sent = burst(replay, una, length, fin, acked + window, now);
          for (const { from, length: count } of sent) {
            expect(from).toBeGreaterThanOrEqual(0);
            expect(from + count).toBeLessThanOrEqual(length);
            expect(count).toBeLessThanOrEqual(SEGMENT);
            packets++;
            // The first 500 packets may be lost, so that every schedule ends.
            if (packets < 500 && losses[packets % losses.length] && losses.includes(false)) continue;
            if (from + count <= acked + window + 1) got.fill(1, from, from + count);
            if (fin && from + count === length) finGot = true;
            const hole = got.indexOf(0);
            acked = hole < 0 ? length + (fin && finGot ? 1 : 0) : hole;
            if (sack) {
              for (let at = acked; at < length; ) {
                const left = got.indexOf(1, at);
                if (left < 0) break;
                const next = got.indexOf(0, left);
                const right = next < 0 ? length : next;
                if (left > acked) replay.scoreboard.add((una + left) | 0, (una + right) | 0);
                at = right;
              }
            }
            replay.onAck((una + acked) | 0, !sack, rtt, now);
          }
          now =
            sent.length > 0
              ? now + 200
              : Math.max(now + 200, Math.min(replay.rtoAt, replay.nextSendAt > now ? replay.nextSendAt : NEVER));
        }
        expect(acked).toBe(total);
      }),
      { numRuns: 150 },
    );
  });
});

describe('knock', () => {
  it('is short and begins at the front when nothing is known of the path', () => {
    const replay = new Replay(0, SEGMENT, 0, 50_000, 50_000, 0, 0, 0);
    const sent = burst(replay, 0, 50_000, false, 64_000, 0);
    expect(sent).toHaveLength(10);
    expect(sent[0]).toMatchObject({ from: 0, length: SEGMENT });
  });

  it('its first segment is repeated with growing intervals until the far peer is heard', () => {
    const replay = new Replay(0, SEGMENT, 1, 50_000, 50_000, 40_000, 40_000, 0);
    const times: number[] = [];
    for (let now = 0; now < 20_000_000; now += 1_000) {
      if (replay.rtoAt > now) continue;
      const sent = burst(replay, 0, 50_000, false, 64_000, now);
      expect(sent).toEqual([{ at: now, from: 0, length: SEGMENT }]);
      times.push(now);
    }
    if (times.length === 0) {
      burst(replay, 0, 50_000, false, 64_000, 0);
      for (let now = 0; now < 20_000_000; now += 1_000)
        if (replay.rtoAt <= now) times.push(...burst(replay, 0, 50_000, false, 64_000, now).map(({ at }) => at));
    }
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    expect(times.length).toBeGreaterThan(5);
    gaps.slice(1).forEach((gap, i) => {
      expect(gap).toBeGreaterThanOrEqual(gaps[i]!);
    });
    expect(Math.max(...gaps)).toBeLessThanOrEqual(3_010_000);
  });

  it('what the far peer turns out to have is not sent again', () => {
    const replay = new Replay(0, SEGMENT, 1, 40_000, 40_000, 40_000, 40_000, 0);
    burst(replay, 0, 40_000, false, 64_000, 0);
    replay.onAck(25_000, false, 40_000, 1_000);
    const rest: Sent[] = [];
    for (let now = 1_000; now < 60_000; now += 500) rest.push(...burst(replay, 0, 40_000, false, 89_000, now));
    expect(Math.min(...rest.map(({ from }) => from))).toBeGreaterThanOrEqual(25_000);
  });
});

describe('selective acknowledgement', () => {
  it('of what was never replayed (it got through before the loss) keeps it from being sent', () => {
    const replay = new Replay(0, SEGMENT, 0, 40_000, 40_000, 0, 0, 0);
    const sent = burst(replay, 0, 40_000, false, 64_000, 0);
    replay.scoreboard.add(12_000, 20_000);
    let acked = sent.length * SEGMENT;
    for (let now = 10_000; now < 200_000 && acked < 40_000; now += 10_000) {
      replay.onAck(acked >= 12_000 && acked < 20_000 ? 20_000 : acked, false, 10_000, now);
      for (const { from, length } of burst(replay, 0, 40_000, false, 90_000, now)) {
        expect(from + length <= 12_000 || from >= 20_000).toBe(true);
        acked = Math.max(acked, from + length);
      }
    }
    expect(acked).toBe(40_000);
  });
});

describe('pacer of a link', () => {
  it('spreads packets at the measured rate and forgives one tick of lateness, not more', () => {
    const pacer = new Pacer();
    for (let now = 0; now < 1_000_000; now += 1_000) pacer.onDelivered(2_000, now);
    expect(pacer.rate).toBeCloseTo(2, 1);
    const start = 10_000_000;
    let sent = 0;
    for (let now = start; now < start + 100_000; now += 1_000) {
      while (pacer.canSend(now)) {
        pacer.onSent(1_500, now);
        sent += 1_500;
      }
    }
    expect(sent).toBeGreaterThan(0.95 * 200_000);
    expect(sent).toBeLessThan(1.05 * 200_000 + 2 * 2_000 + 1_500);
  });

  it('a link that never carried anything measurable is assumed slow, not infinitely fast', () => {
    const pacer = new Pacer();
    pacer.onSent(1_500, 0);
    expect([pacer.canSend(9_999), pacer.canSend(12_000)]).toEqual([false, true]);
  });

  it('remembers its capacity through silence', () => {
    const pacer = new Pacer();
    for (let now = 0; now < 1_000_000; now += 1_000) pacer.onDelivered(10_000, now);
    const before = pacer.rate;
    pacer.onDelivered(100, 60_000_000);
    expect(pacer.rate).toBe(before);
  });
});
