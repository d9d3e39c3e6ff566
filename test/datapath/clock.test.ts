import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { monotonicMicros, toDate } from '../../src/datapath/clock.ts';

test('never decreases and is whole', () => {
  let last = monotonicMicros();
  for (let i = 0; i < 100_000; i++) {
    const now = monotonicMicros();
    expect(now >= last && Number.isInteger(now)).toBe(true);
    last = now;
  }
});

test('means the same instant in another process', () => {
  const before = monotonicMicros();
  const theirs = Number(
    execFileSync(process.execPath, ['-p', 'process.hrtime.bigint() / 1000n'], { encoding: 'utf8' }).replace('n', ''),
  );
  const after = monotonicMicros();
  // 2 us: each side rounds.
  expect(theirs).toBeGreaterThanOrEqual(before - 2);
  expect(theirs).toBeLessThanOrEqual(after + 2);
});

test('dates follow the wall clock', () => {
  expect(Math.abs(toDate(monotonicMicros()).getTime() - Date.now())).toBeLessThan(50);
  expect(toDate(monotonicMicros() + 60e6).getTime() - Date.now()).toBeGreaterThan(59_000);
});
