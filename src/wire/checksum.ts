/**
 * The Internet checksum: full (RFC 1071) and incremental (RFC 1624). Partial sums are big-endian: what would be added
 * if the bytes were read as 16-bit words in network order, whatever their alignment in memory.
 */

/** Whether this processor stores the low byte first. */
export const NATIVE_LITTLE_ENDIAN: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Below this many bytes the set-up of the word loop costs more than it saves. */
const SHORT_BYTES = 48;

// Word views of the last two buffers seen (in practice the arena and the outbox): making a view per call would cost
// more than summing a small packet. The memo keeps at most these two buffers reachable and influences no result.
let buffer0: ArrayBufferLike = new ArrayBuffer(0);
let words0: Uint32Array = new Uint32Array(buffer0);
let buffer1: ArrayBufferLike = buffer0;
let words1: Uint32Array = words0;

function wordsOf(buffer: ArrayBufferLike): Uint32Array {
  if (buffer === buffer0) return words0;
  const previousBuffer = buffer0;
  const previousWords = words0;
  if (buffer === buffer1) {
    words0 = words1;
  } else {
    words0 = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
  }
  buffer0 = buffer;
  buffer1 = previousBuffer;
  words1 = previousWords;
  return words0;
}

/** Folds a sum below 2^32 to 16 bits with end-around carry (RFC 1071 section 2). */
export function fold(sum: number): number {
  let folded = (sum & 0xffff) + (sum >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** The checksum field for a sum: folded and complemented. */
export function finish(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/**
 * Ones' complement sum of `bytes[from .. to)`, folded to 16 bits; an odd last byte counts as the high half of a word.
 *
 * @param from first byte, need not be even
 * @param to one past the last byte, within `bytes` (the caller's duty: nothing is checked here); at most 8 MiB
 * @param initial a sum to continue from, 0 .. 2^31-1; the bytes it covers must be of even number
 */
export function sum16(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  let sum = 0;
  if (to - from < SHORT_BYTES) {
    let i = from;
    const last = to - 1;
    for (; i < last; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
    if (i === last) sum += bytes[i] << 8;
    return fold(fold(sum) + fold(initial));
  }
  // The sum is independent of byte order up to a final swap (RFC 1071 section 2 B), and a start at an odd address
  // swaps it once more. So whole native words are added, from the first aligned one.
  const base = bytes.byteOffset;
  const start = base + from;
  const end = base + to;
  const words = wordsOf(bytes.buffer);
  // An even address holds the low half of a native word on a little-endian processor, else the high half.
  const oddShift = NATIVE_LITTLE_ENDIAN ? 8 : 0;
  let i = start;
  for (; (i & 3) !== 0; i += 1) sum += bytes[i - base] << ((i & 1) === 1 ? oddShift : 8 - oddShift);
  let k = i >> 2;
  const kEnd = end >> 2;
  // Sums of 32-bit words as doubles: exact up to 2^21 words (8 MiB), and on V8 twice as fast as adding 16-bit halves.
  let even = 0;
  let odd = 0;
  for (const unrolled = kEnd - 7; k < unrolled; k += 8) {
    even += words[k] + words[k + 1] + (words[k + 2] + words[k + 3]);
    odd += words[k + 4] + words[k + 5] + (words[k + 6] + words[k + 7]);
  }
  for (; k < kEnd; k += 1) even += words[k];
  even += odd;
  // 2^32 is 1 modulo 0xffff, so what is above bit 31 simply adds.
  const low = even >>> 0;
  sum += fold(low) + fold((even - low) / 0x1_0000_0000);
  for (i = kEnd << 2; i < end; i += 1) sum += bytes[i - base] << ((i & 1) === 1 ? oddShift : 8 - oddShift);
  sum = fold(sum);
  if (((start & 1) === 0) === NATIVE_LITTLE_ENDIAN) sum = ((sum & 0xff) << 8) | (sum >>> 8);
  return fold(sum + fold(initial));
}

/**
 * The checksum after one 16-bit word changed: HC' = ~(~HC + ~m + m') (RFC 1624 equation 3). `oldWord` and `newWord`
 * may also be folded sums of whole changed regions that begin at an even offset of the checksummed data.
 */
export function update16(check: number, oldWord: number, newWord: number): number {
  return ~fold((~check & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff;
}

/** As `update16` for an aligned 32-bit field; `oldValue` and `newValue` are int32 or uint32. */
export function update32(check: number, oldValue: number, newValue: number): number {
  return (
    ~fold((~check & 0xffff) + (~oldValue & 0xffff) + (~oldValue >>> 16) + (newValue & 0xffff) + (newValue >>> 16)) &
    0xffff
  );
}

/** The two bytes of a folded sum exchanged: the sum of the same data moved by one byte (RFC 1071 section 2 B). */
export function swap16(sum: number): number {
  return ((sum & 0xff) << 8) | ((sum >>> 8) & 0xff);
}

/**
 * Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1), not complemented: what a packet with a partial checksum
 * carries in its checksum field.
 *
 * @param srcAt offset of the source address, which the destination address follows in both IP versions
 * @param length upper-layer length in bytes
 */
export function pseudoSum(bytes: Uint8Array, srcAt: number, family: number, protocol: number, length: number): number {
  return sum16(bytes, srcAt, srcAt + (family === 4 ? 8 : 32), protocol + (length & 0xffff) + (length >>> 16));
}
