import { describe, expect, it } from 'vitest';
import { finish, fold, pseudoSum, sum16, swap16, update16, update32 } from '../../src/wire/checksum.ts';
import { pattern, slowSum } from './workbench.ts';

describe('full checksum', () => {
  it('equals its slow twin for every length 0..9001', () => {
    const bytes = pattern(9100);
    // The slow sum grows along: the sum up to an even length, and a last odd byte on top.
    let even = 0;
    for (let length = 0; length <= 9001; length += 1) {
      if (length >= 2 && length % 2 === 0) even = slowSum(bytes, 3 + length - 2, 3 + length, even);
      const expected = length % 2 === 0 ? even : slowSum(bytes, 3 + length - 1, 3 + length, even);
      const actual = sum16(bytes, 3, 3 + length);
      if (actual !== expected) expect({ length, actual }).toEqual({ length, actual: expected });
    }
  });

  it('equals its slow twin at every alignment, in views that start anywhere', () => {
    const buffer = pattern(4003).buffer as ArrayBuffer;
    for (let base = 0; base < 5; base += 1) {
      const bytes = new Uint8Array(buffer, base, 3000);
      for (let from = 0; from < 9; from += 1) {
        for (const length of [0, 1, 2, 19, 20, 47, 48, 49, 50, 51, 52, 79, 80, 81, 1447, 1448, 2900]) {
          expect(sum16(bytes, from, from + length)).toBe(slowSum(bytes, from, from + length));
        }
      }
    }
  });

  it('carries correctly when every addend is the largest', () => {
    const bytes = new Uint8Array(65_535).fill(0xff);
    for (const to of [1, 2, 47, 48, 1000, 16_383, 16_384, 32_768, 65_534, 65_535]) {
      expect(sum16(bytes, 0, to)).toBe(slowSum(bytes, 0, to));
    }
    expect(sum16(bytes, 0, 65_534, 0x7fff_ffff)).toBe(slowSum(bytes, 0, 65_534, fold(0x7fff_ffff)));
  });

  it('reads a buffer whose size is no multiple of four up to its last byte', () => {
    for (const size of [61, 62, 63]) {
      const bytes = pattern(size, size);
      expect(bytes.buffer.byteLength).toBe(size);
      expect(sum16(bytes, 0, size)).toBe(slowSum(bytes, 0, size));
    }
  });

  it('gives the same result whichever buffers were summed in between', () => {
    const buffers = [1, 2, 3, 4].map((salt) => pattern(200, salt));
    for (let round = 0; round < 40; round += 1) {
      const bytes = buffers[(round * 7) % 4];
      expect(sum16(bytes, 1, 180)).toBe(slowSum(bytes, 1, 180));
    }
  });

  it('continues from an initial sum', () => {
    const bytes = pattern(400);
    expect(sum16(bytes, 100, 333, sum16(bytes, 0, 100))).toBe(sum16(bytes, 0, 333));
    expect(sum16(bytes, 40, 60, sum16(bytes, 0, 40))).toBe(sum16(bytes, 0, 60));
  });

  it('reproduces the worked example of RFC 1071 section 3', () => {
    const bytes = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    expect(sum16(bytes, 0, 8)).toBe(0xddf2);
    expect(finish(0x2ddf0)).toBe(0xddf2 ^ 0xffff);
  });

  it('sums the pseudo-header of both families', () => {
    const bytes = pattern(64);
    expect(pseudoSum(bytes, 12, 4, 6, 0x1_2345)).toBe(slowSum([0, 6, 0, 1, 0x23, 0x45], 0, 6, slowSum(bytes, 12, 20)));
    expect(pseudoSum(bytes, 8, 6, 58, 100)).toBe(slowSum([0, 58, 0, 100], 0, 4, slowSum(bytes, 8, 40)));
  });
});

describe('incremental checksum', () => {
  it('reproduces the example of RFC 1624 section 4', () => {
    expect(update16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  it('equals a full recomputation for every new value of a word', () => {
    const data = pattern(40);
    const view = new DataView(data.buffer);
    const old = view.getUint16(10);
    const check = finish(slowSum(data, 0, 40));
    for (let value = 0; value <= 0xffff; value += 1) {
      view.setUint16(10, value);
      const expected = finish(sum16(data, 0, 40));
      const actual = update16(check, old, value);
      if (actual !== expected) expect({ value, actual }).toEqual({ value, actual: expected });
    }
  });

  it('equals a full recomputation for 32-bit values, signed or unsigned', () => {
    const data = pattern(40);
    const view = new DataView(data.buffer);
    const corners = [0, 1, -1, 0xffff, 0x10000, 0x7fff_ffff, -0x8000_0000, 0xffff_0000 | 0, 0x1234_5678];
    for (const old of corners) {
      for (const value of corners) {
        view.setInt32(12, old);
        const check = finish(slowSum(data, 0, 40));
        view.setInt32(12, value);
        expect(update32(check, old, value)).toBe(finish(slowSum(data, 0, 40)));
        expect(update32(check, old >>> 0, value >>> 0)).toBe(finish(slowSum(data, 0, 40)));
      }
    }
  });

  it('swaps the bytes of a sum moved by one byte', () => {
    const data = pattern(21);
    const moved = new Uint8Array(22);
    moved.set(data, 1);
    expect(slowSum(moved, 0, 22)).toBe(swap16(slowSum(data, 0, 21)));
  });
});
