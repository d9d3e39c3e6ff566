/** What the judge of the stacks' uploads expects of the program that sends them (src/lab/stacks/peer.c). */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { generatedHash } from '../../../src/lab/stacks/peer.ts';

test('the generator is xorshift32, words in little-endian order, cut off at any byte', () => {
  // The first two words from seed 1, as published: 270369 and 67634689.
  const bytes = Uint8Array.of(0x21, 0x20, 0x04, 0x00, 0x01, 0x06, 0x08, 0x04);
  expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(270369);
  expect(new DataView(bytes.buffer).getUint32(4, true)).toBe(67634689);
  for (const length of [0, 1, 4, 7, 8]) {
    expect(generatedHash(1, length)).toBe(createHash('sha256').update(bytes.subarray(0, length)).digest('hex'));
  }
});
