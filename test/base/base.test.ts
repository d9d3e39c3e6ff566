import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COUNTER, COUNTER_NAMES, readCounters } from '../../src/base/counters.ts';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { Median } from '../../src/base/median.ts';
import { Prng } from '../../src/base/prng.ts';
import { millis, NEVER, seconds } from '../../src/base/time.ts';

describe('time', () => {
  it('is in microseconds, and NEVER is after everything', () => {
    expect(seconds(1.5)).toBe(1_500_000);
    expect(millis(2)).toBe(2_000);
    expect(Math.min(Number.MAX_SAFE_INTEGER, NEVER)).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe('median', () => {
  it('is the middle (the lower one of two) of the last five samples', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 40 }),
        (samples) => {
          const median = new Median();
          samples.forEach((sample, i) => {
            const recent = samples.slice(Math.max(0, i - 4), i + 1).sort((a, b) => a - b);
            expect(median.add(sample)).toBe(recent[(recent.length - 1) >> 1]);
          });
        },
      ),
    );
  });

  it('is not moved by two outliers of five', () => {
    const median = new Median();
    for (const sample of [10, 1e9, 11, 1e9]) median.add(sample);
    expect(median.add(12)).toBe(12);
  });
});

describe('generator', () => {
  it('repeats itself for a seed, differs between seeds, and has no fixed point', () => {
    const take = (seed: number): number[] => {
      const prng = new Prng(seed);
      return Array.from({ length: 50 }, () => prng.nextUint32());
    };
    expect(take(5)).toEqual(take(5));
    expect(take(5)).not.toEqual(take(6));
    for (const seed of [0, -0x9e3779b9, 0x61c88647, -1, 2 ** 31]) expect(new Set(take(seed)).size).toBe(50);
  });

  it('stays in its bounds and reaches them all', () => {
    const prng = new Prng(1);
    const seen = new Set<number>();
    for (let i = 0; i < 1_000; i++) {
      seen.add(prng.nextBelow(7));
      const float = prng.nextFloat();
      expect(float >= 0 && float < 1).toBe(true);
    }
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});

describe('counters', () => {
  it('have one place each and are read by name', () => {
    expect(new Set(Object.values(COUNTER)).size).toBe(COUNTER_NAMES.length);
    const array = new Float64Array(COUNTER_NAMES.length).map((_, i) => i * 3);
    const read = readCounters(array);
    for (const name of COUNTER_NAMES) expect(read[name]).toBe(3 * COUNTER[name]);
  });
});

describe('error', () => {
  it('is one line with its remedy, and keeps code, cause and exit code', () => {
    const cause = new Error('deep');
    const error = new TcpfreezeError('TUN_BUSY', 'the name is in use', 'choose another', 2, cause);
    expect(error.line()).toBe('the name is in use; choose another');
    expect(error).toMatchObject({ code: 'TUN_BUSY', exitCode: 2, name: 'TcpfreezeError', cause });
    expect(new TcpfreezeError('X', 'only this', '')).toMatchObject({ exitCode: 1 });
    expect(new TcpfreezeError('X', 'only this', '').line()).toBe('only this');
  });
});
