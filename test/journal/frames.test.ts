/** What a journal says, however its file was left: whole records are read, and nothing behind the first that is not whole. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FRAME_BYTES } from '../../src/freeze/record.ts';
import { byTable, crc32, readFrames, sealFrames } from '../../src/journal/frames.ts';

/** Framed records with these bodies, sealed. */
function framed(bodies: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(bodies.reduce((sum, body) => sum + FRAME_BYTES + body.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const body of bodies) {
    view.setUint32(at, body.length, true);
    bytes.set(body, at + FRAME_BYTES);
    at += FRAME_BYTES + body.length;
  }
  sealFrames(bytes);
  return bytes;
}

const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 8 });

describe('CRC-32', () => {
  test('of the standard check string', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf4_3926);
  });

  test('by zlib and by table agree', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc32(bytes) === byTable(bytes)));
  });
});

describe('frames', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(bodies, (written) => {
        const bytes = framed(written);
        const { records, end } = readFrames(bytes);
        expect(records.map((record) => [...record])).toEqual(written.map((body) => [...body]));
        expect(end).toBe(bytes.length);
      }),
    );
  });

  test('cut at any byte: the records before the cut, no others', () => {
    fc.assert(
      fc.property(bodies, fc.nat(), (written, where) => {
        const bytes = framed(written);
        const cut = bytes.length === 0 ? 0 : where % bytes.length;
        let at = 0;
        let whole = 0;
        for (const body of written) {
          at += FRAME_BYTES + body.length;
          if (at <= cut) whole++;
        }
        expect(readFrames(bytes.slice(0, cut)).records).toHaveLength(whole);
      }),
    );
  });

  test('one bit changed anywhere: nothing from that record on', () => {
    fc.assert(
      fc.property(bodies, fc.nat(), (written, where) => {
        const bytes = framed(written);
        if (bytes.length === 0) return;
        const bit = where % (8 * bytes.length);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        const { records } = readFrames(bytes);
        let at = 0;
        for (const [index, body] of written.entries()) {
          at += FRAME_BYTES + body.length;
          if (bit >> 3 < at) {
            expect(records.length).toBe(index);
            return;
          }
        }
      }),
    );
  });

  test('garbage is no journal', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => readFrames(bytes).end <= bytes.length));
  });
});
