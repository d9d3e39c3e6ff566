/**
 * Byte streams whose every byte is known from a seed and its offset, so that a receiver can judge each byte without
 * a copy of what was sent. Neighbouring laps of the table differ, hence a shift by any amount shows.
 */
import { Prng } from '../../src/base/prng.ts';

/** A prime, so that shifts by powers of two or by a segment size never map the table onto itself. */
const LAP = 65_521;

const TABLE = ((): Uint8Array => {
  const prng = new Prng(20_231);
  return Uint8Array.from({ length: LAP }, () => prng.nextUint32() >>> 24);
})();

/** The table under each salt, made when first asked for: filling and comparing are then whole blocks of memory. */
const SALTED: (Uint8Array | undefined)[] = [];

function salted(salt: number): Uint8Array {
  const known = SALTED[salt];
  if (known !== undefined) return known;
  const made = TABLE.map((byte) => byte ^ salt);
  SALTED[salt] = made;
  return made;
}

export class Content {
  readonly #shift: number;
  readonly #salt: number;

  constructor(seed: number) {
    const prng = new Prng(seed);
    this.#shift = prng.nextBelow(LAP);
    this.#salt = prng.nextBelow(256);
  }

  /** The byte at an offset of the stream. */
  at(offset: number): number {
    const place = offset + this.#shift;
    const lap = Math.floor(place / LAP);
    return TABLE[place - lap * LAP]! ^ ((this.#salt + Math.imul(lap, 0x3d)) & 0xff);
  }

  /** Write bytes `from`..`to` of the stream to `target`, beginning at its start. */
  fill(target: Uint8Array, from: number, to: number): void {
    let offset = from;
    while (offset < to) {
      const place = offset + this.#shift;
      const lap = Math.floor(place / LAP);
      const start = place - lap * LAP;
      const count = Math.min(to - offset, LAP - start);
      const salt = (this.#salt + Math.imul(lap, 0x3d)) & 0xff;
      target.set(salted(salt).subarray(start, start + count), offset - from);
      offset += count;
    }
  }

  /** Offset of the first byte of `bytes[start..start+length)` that differs from the stream at `from`, or -1. */
  mismatch(bytes: Uint8Array, start: number, length: number, from: number): number {
    let offset = from;
    while (offset < from + length) {
      const place = offset + this.#shift;
      const lap = Math.floor(place / LAP);
      const at = place - lap * LAP;
      const count = Math.min(from + length - offset, LAP - at);
      const table = salted((this.#salt + Math.imul(lap, 0x3d)) & 0xff);
      const first = start + offset - from;
      if (Buffer.compare(bytes.subarray(first, first + count), table.subarray(at, at + count)) !== 0) {
        for (let index = 0; ; index++) if (bytes[first + index] !== table[at + index]) return offset + index;
      }
      offset += count;
    }
    return -1;
  }
}
