import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scoreboard } from '../../src/freeze/scoreboard.ts';

const SPAN = 120;

describe('scoreboard against a set of integers', () => {
  it.each([0, -60, 0x7fff_ffff - 40])('starting at %i', (base) => {
    const range = fc.tuple(fc.nat(SPAN - 2), fc.integer({ min: 1, max: 15 }));
    const step = fc.record({ range, ack: fc.option(fc.nat(SPAN), { freq: 6 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 14 }), (steps) => {
        const board = new Scoreboard();
        const twin = new Set<number>();
        const abs = (n: number): number => (base + n) | 0;
        const rel = (n: number): number => (n - base) | 0;
        let acked = 0;
        for (const {
          range: [from, length],
          ack,
        } of steps) {
          const left = Math.max(from, acked + 1);
          board.add(abs(left), abs(left + length));
          for (let n = left; n < left + length; n++) twin.add(n);
          if (ack !== null) {
            acked = Math.max(acked, ack);
            board.release(abs(acked));
            for (const n of twin) if (n < acked) twin.delete(n);
          }
          const top = twin.size === 0 ? null : Math.max(...twin) + 1;
          expect(board.highest(abs(-7))).toBe(abs(top ?? -7));
          for (let n = acked; n < SPAN + 20; n += 3) {
            let hole = n;
            while (twin.has(hole)) hole++;
            expect(rel(board.nextHole(abs(n)))).toBe(hole);
            expect(board.coveredBelow(abs(n))).toBe([...twin].filter((m) => m < n).length);
            if (!twin.has(n)) {
              let end = n;
              while (end < SPAN + 30 && !twin.has(end)) end++;
              expect(rel(board.holeEnd(abs(n), abs(SPAN + 30)))).toBe(end);
            }
          }
        }
        board.clear();
        expect(board.nextHole(abs(3))).toBe(abs(3));
      }),
      { numRuns: 150 },
    );
  });

  it('forgets the highest ranges when there are too many, never invents any', () => {
    const board = new Scoreboard();
    for (let i = 0; i < 60; i++) board.add(10 * i, 10 * i + 5);
    expect(board.count).toBe(32);
    expect(board.highest(0)).toBe(315);
    expect(board.coveredBelow(10_000)).toBe(160);
    board.add(-20, -10);
    expect(board.nextHole(-20)).toBe(-10);
    expect(board.count).toBe(32);
    board.add(-20, 10_000);
    expect([board.count, board.nextHole(-20)]).toEqual([1, 10_000]);
  });
});
