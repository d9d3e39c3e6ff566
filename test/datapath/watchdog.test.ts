/** When a loop without turns counts as hanging. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Watchdog, waitedMillis } from '../../src/datapath/watchdog.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Runs for `millis`; whether the loop counted as stalled, and when. */
async function watch(millis: number, turns: () => number, waited: () => number): Promise<number | null> {
  let stalledAt: number | null = null;
  const watchdog = new Watchdog(turns, () => {});
  void watchdog.stalled.then(() => {
    stalledAt ??= performance.now() - began;
  });
  const began = performance.now();
  watchdog.start(waited);
  for (let at = 0; at < millis; at += 50) await vi.advanceTimersByTimeAsync(50);
  watchdog.stop();
  return stalledAt;
}

describe('the watchdog', () => {
  it('takes a loop that makes no turn for a second for stalled', async () => {
    expect(
      await watch(
        3_000,
        () => 7,
        () => 0,
      ),
    ).toBe(1_000);
  });

  it('leaves a loop alone that turns, however slowly', async () => {
    let turns = 0;
    expect(
      await watch(
        10_000,
        () => Math.floor(turns++ / 3),
        () => 0,
      ),
    ).toBeNull();
  });

  it('does not count time in which the thread waited for a processor', async () => {
    const began = performance.now();
    expect(
      await watch(
        10_000,
        () => 7,
        () => 0.95 * (performance.now() - began),
      ),
    ).toBeNull();
    const later = performance.now();
    expect(
      await watch(
        10_000,
        () => 7,
        () => 0.5 * (performance.now() - later),
      ),
    ).toBe(2_000);
  });

  it('loses patience in the end', async () => {
    const began = performance.now();
    expect(
      await watch(
        20_000,
        () => 7,
        () => performance.now() - began,
      ),
    ).toBe(15_000);
  });

  it('sees nothing before its start', async () => {
    let stalled = false;
    void new Watchdog(
      () => 0,
      () => {},
    ).stalled.then(() => {
      stalled = true;
    });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(stalled).toBe(false);
  });
});

it('the kernel says how long a thread waited for a processor', () => {
  expect(waitedMillis('self')).toBeGreaterThanOrEqual(0);
  expect(waitedMillis('0')).toBe(0);
});
