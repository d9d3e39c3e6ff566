import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { lineSplitter } from '../../src/lab/child.ts';
import { DataSource, Digest } from '../../src/lab/payload.ts';

test('lines come whole, however the stream is cut', () => {
  const text = '{"a":1}\n\n{"b":2}\nrest';
  for (let size = 1; size <= text.length; size++) {
    const lines: string[] = [];
    const split = lineSplitter((line) => lines.push(line));
    for (let at = 0; at < text.length; at += size) split(text.slice(at, at + size));
    expect(lines).toEqual(['{"a":1}', '{"b":2}']);
  }
});

describe('payload', () => {
  const whole = (seed: number, bytes: number): Buffer => {
    const source = new DataSource(seed, bytes);
    const pieces: Buffer[] = [];
    for (let piece = source.next(); piece !== undefined; piece = source.next()) pieces.push(piece);
    return Buffer.concat(pieces);
  };

  test('the length asked for, repeatable by seed', () => {
    for (const bytes of [0, 1, 65_535, 65_536, 65_537, 200_000]) expect(whole(1, bytes)).toHaveLength(bytes);
    expect(whole(1, 100_000).equals(whole(1, 100_000))).toBe(true);
    expect(whole(1, 100_000).equals(whole(2, 100_000))).toBe(false);
  });

  test('no piece repeats: a misplaced one changes the digest', () => {
    const data = whole(1, 3 * 65_536);
    expect(data.subarray(0, 65_536).equals(data.subarray(65_536, 131_072))).toBe(false);
  });

  test('the digest is SHA-256 of everything, and counts', () => {
    const data = whole(9, 100_001);
    const digest = new Digest();
    digest.add(data.subarray(0, 7));
    digest.add(data.subarray(7));
    expect(digest.bytes).toBe(100_001);
    expect(digest.hex()).toBe(createHash('sha256').update(data).digest('hex'));
  });
});
