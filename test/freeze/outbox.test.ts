import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Note } from '../../src/flow/note.ts';
import { Outbox } from '../../src/freeze/outbox.ts';

const note = new Note();

describe('outbox', () => {
  it('hands out what was put in, in order and intact, and never writes over what waits', () => {
    // A little more is put than taken, in small pieces, so that the ring is mostly full and wraps often.
    const step = fc.oneof(
      { arbitrary: fc.record({ put: fc.integer({ min: 1, max: 40 }), slack: fc.nat(12) }), weight: 3 },
      { arbitrary: fc.constant({ put: 0, slack: 0 }), weight: 2 },
    );
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 20, maxLength: 300 }),
        fc.constantFrom(64, 250, 256, 1_000),
        (steps, size) => {
          const outbox = new Outbox(new ArrayBuffer(size));
          const twin: number[][] = [];
          steps.forEach(({ put, slack }, i) => {
            if (put === 0) {
              const length = outbox.take(note);
              const expected = twin.shift() ?? [];
              expect([...outbox.bytes.subarray(outbox.offset, outbox.offset + length)]).toEqual(expected);
              // What was noted comes out with its packet; its number is the bytes' here, its half follows from it.
              if (length > 0) expect([note.code, note.from]).toEqual([expected[0], expected[0]! % 2]);
              return;
            }
            const at = outbox.reserve(put + slack);
            if (at < 0) {
              if (twin.length === 0) expect(put + slack).toBeGreaterThan(size);
              return;
            }
            expect(at + put + slack).toBeLessThanOrEqual(size);
            // All that was reserved may be scribbled on; a smaller packet may come of it.
            outbox.bytes.fill(0xcc, at, at + put + slack);
            outbox.bytes.fill(i & 0x7f, at, at + put);
            outbox.commit(at, put, null, i % 2 === 0 ? 0 : 1, i & 0x7f);
            twin.push(new Array<number>(put).fill(i & 0x7f));
            expect(outbox.pending).toBe(twin.length);
          });
          for (const expected of twin) {
            const length = outbox.take(note);
            expect([...outbox.bytes.subarray(outbox.offset, outbox.offset + length)]).toEqual(expected);
          }
          expect(outbox.take(note)).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('does not reach into the oldest packet after it has wrapped, not even by a few bytes', () => {
    const outbox = new Outbox(new ArrayBuffer(256));
    for (let i = 0; i < 2; i++) outbox.commit(outbox.reserve(104), 104, null, 0, 0);
    outbox.take(note);
    const at = outbox.reserve(96);
    expect(at).toBe(0);
    outbox.commit(at, 96, null, 0, 0);
    // Eight bytes are left before the packet that waits at 104.
    expect([outbox.reserve(9), outbox.reserve(16)]).toEqual([-1, -1]);
  });

  it('a reservation that comes to nothing costs nothing for good', () => {
    const outbox = new Outbox(new ArrayBuffer(256));
    for (let i = 0; i < 50; i++) {
      expect(outbox.reserve(100)).toBeGreaterThanOrEqual(0);
      const at = outbox.reserve(60);
      expect(at).toBeGreaterThanOrEqual(0);
      outbox.commit(at, 60, null, 0, 0);
      if (i > 0) outbox.take(note);
    }
  });

  it('says no when it is full, and yes again after one packet was taken', () => {
    const outbox = new Outbox(new ArrayBuffer(1_024));
    let count = 0;
    for (let at = outbox.reserve(100); at >= 0; at = outbox.reserve(100)) {
      outbox.commit(at, 100, null, 0, 0);
      count++;
    }
    expect(count).toBeGreaterThanOrEqual(8);
    outbox.take(note);
    outbox.take(note);
    expect(outbox.reserve(100)).toBeGreaterThanOrEqual(0);
  });
});
