/** Structure-aware damage: fields that look like lengths and types, words cut out, doubled, or taken from another sample. */
import type { Prng } from '../../src/base/prng.ts';

const BYTES = [0, 1, 2, 3, 4, 5, 6, 8, 10, 16, 17, 20, 28, 40, 58, 0x7f, 0x80, 0xfe, 0xff];
const WORDS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff];

function pick<T>(random: Prng, from: readonly T[]): T {
  return from[random.nextBelow(from.length)]!;
}

/** A sample with one to six changes; sometimes a piece of another one is put into it. */
export function mutateBytes(random: Prng, samples: readonly Uint8Array[]): Uint8Array {
  let bytes = pick(random, samples).slice();
  for (let left = 1 + random.nextBelow(6); left > 0 && bytes.length > 0; left--) {
    const at = random.nextBelow(bytes.length);
    switch (random.nextBelow(8)) {
      case 0:
        bytes[at]! ^= 1 << random.nextBelow(8);
        break;
      case 1:
        bytes[at] = random.nextUint32();
        break;
      case 2:
        bytes[at] = pick(random, BYTES);
        break;
      case 3:
        // A length or a count, in either order.
        if (at + 1 < bytes.length)
          new DataView(bytes.buffer).setUint16(at, pick(random, WORDS), random.nextBelow(2) === 0);
        break;
      case 4:
        if (at + 3 < bytes.length)
          new DataView(bytes.buffer).setUint32(at, random.nextUint32() >>> random.nextBelow(32), true);
        break;
      case 5:
        bytes = bytes.slice(0, at);
        break;
      case 6: {
        const other = pick(random, samples);
        const from = random.nextBelow(other.length + 1);
        const piece = other.subarray(from, from + random.nextBelow(64));
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...piece, ...bytes.subarray(at)]);
        break;
      }
      default:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + random.nextBelow(16))]);
    }
  }
  return bytes;
}

/**
 * Texts put together anew from the pieces of samples, with characters changed.
 * @param words of the language
 */
export function mutateText(random: Prng, samples: readonly string[], words: readonly string[]): string {
  let text = pick(random, samples);
  for (let left = 1 + random.nextBelow(5); left > 0; left--) {
    const at = random.nextBelow(text.length + 1);
    const until = at + random.nextBelow(12);
    const what = random.nextBelow(5);
    const put =
      what === 0
        ? ''
        : what === 1
          ? String.fromCharCode(random.nextBelow(0x250))
          : what === 2
            ? pick(random, samples)
            : pick(random, words);
    text = text.slice(0, at) + put + text.slice(what === 4 ? at : until);
  }
  return text;
}
