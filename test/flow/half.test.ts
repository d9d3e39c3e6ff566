import { describe, expect, it } from 'vitest';
import { Half } from '../../src/flow/half.ts';

describe('what a half connection is known to do', () => {
  it('promises no window while its scale is unknown', () => {
    const half = new Half();
    half.rcvWnd = 65_535;
    expect(half.windowBytes()).toBe(0);
    half.rcvWndShift = 0;
    expect(half.windowBytes()).toBe(65_535);
    half.rcvWndShift = 14;
    expect(half.windowBytes()).toBe(65_535 * 16_384);
  });

  it('smooths round trips by an eighth (RFC 6298 2.3) and keeps the smallest', () => {
    const half = new Half();
    half.onRoundTrip(80_000, 1_000_000);
    expect([half.srtt, half.minRtt]).toEqual([80_000, 80_000]);
    half.onRoundTrip(40_000, 2_000_000);
    expect([half.srtt, half.minRtt]).toEqual([75_000, 40_000]);
    half.onRoundTrip(400_000, 3_000_000);
    expect(half.minRtt).toBe(40_000);
  });

  it('believes a longer path after one to two windows', () => {
    const half = new Half();
    for (let at = 1; at < 30; at++) half.onRoundTrip(10_000, at * 1e6);
    for (let at = 30; at < 200; at++) half.onRoundTrip(90_000, at * 1e6);
    expect(half.minRtt).toBe(90_000);
  });

  it('measures a steady delivery in bytes per microsecond, undisturbed by one clump or one silence', () => {
    const half = new Half();
    let now = 10_000_000;
    const deliver = (bytes: number, micros: number): void => {
      now += micros;
      half.onDelivered(bytes, now);
    };
    for (let i = 0; i < 200; i++) deliver(1_000, 1_000);
    expect(half.deliveryRate).toBeCloseTo(1, 1);
    deliver(500_000, 20_000);
    for (let i = 0; i < 200; i++) deliver(1_000, 1_000);
    deliver(1_000, 1_900_000);
    expect(half.deliveryRate).toBeGreaterThan(0.9);
    expect(half.deliveryRate).toBeLessThan(1.1);
    // After a pause of over two seconds counting starts afresh instead of averaging over the pause.
    deliver(1_000, 3_000_000);
    expect(half.deliveryRate).toBeGreaterThan(0.9);
  });
});
