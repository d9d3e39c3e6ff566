import fc from 'fast-check';
import { expect, test } from 'vitest';
import { barText, ProgressBar } from '../../src/cli/progress-bar.ts';

test('share, amount, rate and what is left', () => {
  expect(barText('replay', 412e6, 1000e6, 0.8, 79)).toBe(
    'replay  [###########---------------]   41 %  412 of 1000 MB  515 MB/s  2 s left',
  );
  // No room for a bar.
  expect(barText('replay', 1000e6, 1000e6, 2, 60)).toBe('replay  100 %  1000 of 1000 MB  500 MB/s  0 s left');
  expect(barText('replay', 3.25e6, 0, 1, 79)).toBe('replay  3.3 MB  3.3 MB/s');
});

test('it never leaves its line', () => {
  fc.assert(
    fc.property(
      fc.nat(2 ** 31),
      fc.nat(2 ** 31),
      fc.nat(10_000),
      fc.integer({ min: 1, max: 250 }),
      (done, size, seconds, width) => {
        const text = barText('replay', done, size, seconds, width);
        expect(text.length).toBeLessThanOrEqual(width);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
      },
    ),
  );
});

test('drawn ten times a second on a terminal, cleared at the end, silent elsewhere', () => {
  const drawn: string[] = [];
  let now = 0;
  const output = { isTTY: true, columns: 60, write: (text: string) => drawn.push(text) };
  const bar = new ProgressBar(output, 'replay', () => now);
  for (; now < 1_000; now += 10) bar.update(now * 1e6, 1e9);
  bar.end();
  expect(drawn).toHaveLength(10);
  expect(drawn[0]!.startsWith('\rreplay  ')).toBe(true);
  expect(drawn[0]).toContain('10 %');
  expect(drawn[0]!.endsWith('\x1b[K')).toBe(true);
  expect(drawn.at(-1)).toBe('\r\x1b[K');
  const silent = new ProgressBar({ ...output, isTTY: false }, 'replay', () => now);
  now += 1_000;
  silent.update(1, 2);
  silent.end();
  expect(drawn).toHaveLength(10);
});
