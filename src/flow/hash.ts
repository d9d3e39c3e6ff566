/**
 * HalfSipHash-2-4 (Aumasson and Bernstein, SipHash, 2012; the 32-bit variant that the Linux kernel uses for hash tables,
 * include/linux/siphash.h). Keyed, so that nobody off-path can compute which connections share a bucket.
 */

/**
 * Hash of `count` 32-bit words.
 * @param words source array
 * @param from index of the first word
 * @param count number of words
 * @param k0 first key word
 * @param k1 second key word
 * @returns 32-bit hash as int32
 */
export function halfSipHash(words: Int32Array, from: number, count: number, k0: number, k1: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  const end = from + count;
  // One word beyond the input: the length word of the specification (whole words only, so no tail bytes).
  for (let i = from; i <= end; i++) {
    const m = i < end ? words[i]! : (count << 26) | 0;
    v3 ^= m;
    for (let round = 0; round < 2; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= m;
  }
  v2 ^= 0xff;
  for (let round = 0; round < 4; round++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v1 ^ v3;
}
