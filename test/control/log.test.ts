import { expect, test } from 'vitest';
import { asText } from '../../src/control/log.ts';

test('a line for people', () => {
  const json =
    '{"level":"info","time":"2026-01-01T00:00:00.000Z","tun":"tf0","table":7100,"words":"a b","msg":"ready"}';
  expect(asText(json)).toBe('2026-01-01T00:00:00.000Z info  ready tun=tf0 table=7100 words="a b"\n');
});

test('an error shows where it came from, below its line', () => {
  const json = JSON.stringify({
    level: 'error',
    time: 't',
    msg: 'm',
    err: { message: 'x', stack: 'Error: x\n    at y' },
  });
  expect(asText(json)).toBe('t error m\nError: x\n    at y\n');
});
