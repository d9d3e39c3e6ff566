import { describe, expect, it } from 'vitest';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from '../../src/wire/seq.ts';

// The circle of RFC 9293 3.4 in exact arithmetic.
const slowDiff = (a: number, b: number): number => {
  const distance = Number((BigInt(a) - BigInt(b)) & 0xffff_ffffn);
  return distance >= 2 ** 31 ? distance - 2 ** 32 : distance;
};

const CORNERS = [0, 1, -1, 2, 1448, 0x7fff_ffff, 0x7fff_fffe, -0x8000_0000, -0x7fff_ffff, 0x4000_0000, -0x4000_0000];

describe('sequence numbers', () => {
  it('order as on the circle, for all pairs of corner values', () => {
    for (const a of CORNERS) {
      for (const b of CORNERS) {
        const diff = slowDiff(a, b);
        expect(seqDiff(a, b)).toBe(diff);
        expect(seqLt(a, b)).toBe(diff < 0);
        expect(seqLe(a, b)).toBe(diff <= 0);
        expect(seqGt(a, b)).toBe(diff > 0);
        expect(seqGe(a, b)).toBe(diff >= 0);
        expect(seqMax(a, b)).toBe(diff >= 0 ? a : b);
        expect(seqMin(a, b)).toBe(diff <= 0 ? a : b);
      }
    }
  });

  it('wrap when added to', () => {
    expect(seqAdd(0x7fff_ffff, 1)).toBe(-0x8000_0000);
    expect(seqAdd(-1, 1)).toBe(0);
    expect(seqAdd(0, -1)).toBe(-1);
    expect(seqLt(0x7fff_fff0, seqAdd(0x7fff_fff0, 64))).toBe(true);
  });
});
