/**
 * A small seeded generator (xorshift32 over a splitmix-style seed) for what must look random but be repeatable:
 * IP identification of synthesized packets, jitter, simulations. Not for secrets: the flow table's key comes from the shell.
 */
export class Prng {
  #state: number;

  /** @param seed any integer; 0 is mapped to a constant because xorshift has a fixed point there. */
  constructor(seed: number) {
    let z = (seed + 0x9e3779b9) | 0;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    z ^= z >>> 16;
    this.#state = z === 0 ? 0x6d2b79f5 : z;
  }

  /** Next 32 bits, as an unsigned integer. */
  nextUint32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** Uniform in [0, bound), bound in 1..2^32. The modulo bias is below 2^-16 for the bounds used here. */
  nextBelow(bound: number): number {
    return this.nextUint32() % bound;
  }

  /** Uniform in [0, 1). */
  nextFloat(): number {
    return this.nextUint32() / 0x1_0000_0000;
  }
}
