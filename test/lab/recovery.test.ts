import { describe, expect, test } from 'vitest';
import { judgeRecovery } from '../../src/lab/recovery.ts';
import { addTimelines, BIN_MICROS, bytesBetween, type Timeline, TimelineRecorder } from '../../src/lab/timeline.ts';

const ORIGIN = 5_000_000_000;
const SECOND = 1_000_000;

/** Bytes per 2 ms bin at a rate of 10 MB/s. */
const FULL = 20_000;

/** Pieces of constant rate: [from, to) in seconds since the origin, bytes per bin. */
function timeline(...pieces: [number, number, number][]): Timeline {
  const recorder = new TimelineRecorder(ORIGIN);
  for (const [from, to, bytes] of pieces) {
    for (let at = from * SECOND; at < to * SECOND - 1; at += BIN_MICROS) recorder.add(ORIGIN + at, bytes);
  }
  return recorder.timeline();
}

const OUTAGE = { cutAt: ORIGIN + 5 * SECOND, restoredAt: ORIGIN + 15 * SECOND, rttMillis: 40 };

describe('judgeRecovery', () => {
  test('a clean return', () => {
    const verdict = judgeRecovery(timeline([0, 5, FULL], [15.1, 20, FULL]), OUTAGE);
    expect(verdict.rateBefore).toBeCloseTo(10e6, -4);
    expect(verdict.firstByteMillis).toBeCloseTo(100, 0);
    // 85 % of a 50 ms window that starts with the first byte: its end is what counts.
    expect(verdict.to85Millis).toBeCloseTo(150, 0);
    expect(verdict.deadAirMillis).toBeCloseTo(10_102, 0);
  });

  test('slow start counts from the window that reaches the rate', () => {
    const verdict = judgeRecovery(timeline([0, 5, FULL], [15.1, 16, FULL / 2], [16, 20, FULL]), OUTAGE);
    expect(verdict.firstByteMillis).toBeCloseTo(100, 0);
    expect(verdict.to85Millis).toBeGreaterThan(1000);
    expect(verdict.to85Millis).toBeLessThan(1060);
  });

  test('a burst that is followed by silence is no recovery', () => {
    const verdict = judgeRecovery(timeline([0, 5, FULL], [15.1, 15.16, 2 * FULL], [18, 20, FULL]), OUTAGE);
    expect(verdict.firstByteMillis).toBeCloseTo(100, 0);
    expect(verdict.to85Millis).toBeGreaterThan(2800);
  });

  test('start-up of the connection does not lower the rate before', () => {
    const verdict = judgeRecovery(timeline([0, 2.5, 1000], [2.5, 5, FULL], [15, 20, FULL]), OUTAGE);
    expect(verdict.rateBefore).toBeCloseTo(10e6, -4);
  });

  test('nothing came back', () => {
    const verdict = judgeRecovery(timeline([0, 5, FULL]), OUTAGE);
    expect(verdict).toMatchObject({ firstByteMillis: undefined, to85Millis: undefined, deadAirMillis: undefined });
    expect(verdict.rateBefore).toBeGreaterThan(0);
  });

  test('something came back, but too little', () => {
    const verdict = judgeRecovery(timeline([0, 5, FULL], [15.1, 20, FULL / 2]), OUTAGE);
    expect(verdict.firstByteMillis).toBeCloseTo(100, 0);
    expect(verdict.to85Millis).toBeUndefined();
  });

  test('an empty timeline', () => {
    expect(judgeRecovery(timeline(), OUTAGE)).toMatchObject({ rateBefore: 0, firstByteMillis: undefined });
  });
});

describe('timeline', () => {
  test('bytes of a span', () => {
    const one = timeline([0, 1, 10]);
    expect(bytesBetween(one, ORIGIN, ORIGIN + SECOND)).toBe(5000);
    expect(bytesBetween(one, ORIGIN + BIN_MICROS, ORIGIN + 3 * BIN_MICROS)).toBe(20);
    expect(bytesBetween(one, ORIGIN + 2 * SECOND, ORIGIN + 3 * SECOND)).toBe(0);
    expect(bytesBetween(one, ORIGIN - SECOND, ORIGIN)).toBe(0);
  });

  test('a sum keeps every byte and its time', () => {
    const late = new TimelineRecorder(ORIGIN + SECOND);
    late.add(ORIGIN + 2 * SECOND, 7);
    const sum = addTimelines([late.timeline(), timeline([0, 1, 10])]);
    expect(sum.origin).toBe(ORIGIN);
    expect(bytesBetween(sum, 0, Number.MAX_SAFE_INTEGER)).toBe(5007);
    expect(bytesBetween(sum, ORIGIN + 2 * SECOND, ORIGIN + 2 * SECOND + BIN_MICROS)).toBe(7);
  });
});
