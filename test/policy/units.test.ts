import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBytes, parseDuration } from '../../src/policy/units.ts';

describe('durations', () => {
  test.each([
    ['500ms', 500_000],
    ['10s', 10_000_000],
    ['1.5s', 1_500_000],
    ['2m', 120_000_000],
    ['1h', 3_600_000_000],
    ['1d', 86_400_000_000],
    ['0s', 0],
    [3, 3_000_000],
    [0.25, 250_000],
  ])('%s', (text, micros) => expect(parseDuration(text)).toBe(micros));

  test.each(['', '5', '5 s', '-1s', 's', '1e3s', '5x', '1s2', '١s', -1, Number.NaN, Number.POSITIVE_INFINITY])(
    '%s is none',
    (text) => expect(parseDuration(text)).toBeUndefined(),
  );

  test('whatever is written, a result is whole and not negative', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.double()), (value) => {
        const micros = parseDuration(value);
        expect(micros === undefined || (Number.isInteger(micros) && micros >= 0)).toBe(true);
      }),
    );
  });
});

describe('sizes', () => {
  test.each([
    ['65536', 65_536],
    [65_536, 65_536],
    ['512KiB', 524_288],
    ['64MiB', 67_108_864],
    ['0.5MiB', 524_288],
    ['1kB', 1_000],
    ['7B', 7],
  ])('%s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  test.each(['', 'MiB', '1.5', 0.5, -1, '64mib', '9999999999GiB', '1 KiB'])('%s is none', (text) =>
    expect(parseBytes(text)).toBeUndefined(),
  );
});
