/** What counts as growth over a process's life. */
import { closeSync, openSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { childrenOf, type GaugeSample, judgeGrowth, readProcess } from '../../src/lab/process-gauge.ts';

const MEGABYTE = 2 ** 20;

/** An hour, a sample per 10 s; `megabytes` and `descriptors` by the second. */
function life(megabytes: (second: number) => number, descriptors: (second: number) => number): GaugeSample[] {
  return Array.from({ length: 360 }, (_, index) => {
    const at = 1000 + 10 * index;
    return { at, bytes: megabytes(10 * index) * MEGABYTE, descriptors: descriptors(10 * index) };
  });
}

describe('growth', () => {
  test('a heap that breathes does not grow', () => {
    const verdict = judgeGrowth(
      life(
        (second) => 100 + (second % 170) / 10,
        (second) => 40 + (second % 3),
      ),
      300,
    );
    expect(verdict).toMatchObject({ seconds: 3290, descriptors: 40, descriptorsGrown: 0 });
    expect(Math.abs(verdict!.megabytesGrown)).toBeLessThan(2);
    expect(Math.abs(verdict!.megabytesPerHour)).toBeLessThan(2);
  });

  test('a leak under it does, by what its floor rises', () => {
    const verdict = judgeGrowth(
      life(
        (second) => 100 + (second % 170) / 10 + second / 100,
        (second) => 40 + Math.floor(second / 360),
      ),
      300,
    );
    // 36 MB and 10 descriptors per hour; from the first third to the last are two thirds of 55 minutes.
    expect(verdict!.megabytesPerHour).toBeCloseTo(36, 0);
    expect(verdict!.megabytesGrown).toBeGreaterThan(20);
    expect(verdict!.descriptorsPerHour).toBeCloseTo(10, 0);
    expect(verdict!.descriptorsGrown).toBeGreaterThanOrEqual(5);
  });

  test('what is filled within the warm-up is no growth', () => {
    const verdict = judgeGrowth(
      life(
        (second) => 50 + Math.min(second, 290) / 2,
        () => 40,
      ),
      300,
    );
    expect(verdict).toMatchObject({ megabytesGrown: 0, megabytesPerHour: 0 });
  });

  test('a short life says nothing', () => {
    const samples = life(
      () => 100,
      () => 40,
    );
    expect(judgeGrowth(samples.slice(0, 44), 300)).toBeUndefined();
    expect(judgeGrowth(samples.slice(0, 45), 300)).toBeDefined();
    expect(judgeGrowth([], 300)).toBeUndefined();
  });
});

test('a process of its own is read; one that is gone is not', () => {
  const before = readProcess(process.pid, 1)!;
  expect(before.bytes).toBeGreaterThan(10 * MEGABYTE);
  const more = Array.from({ length: 20 }, () => openSync('/dev/null', 'r'));
  const during = readProcess(process.pid, 2)!;
  for (const descriptor of more) closeSync(descriptor);
  expect(during.descriptors).toBeGreaterThan(before.descriptors + 10);
  expect(readProcess(2 ** 30, 3)).toBeUndefined();
  expect(childrenOf(2 ** 30)).toEqual([]);
});
