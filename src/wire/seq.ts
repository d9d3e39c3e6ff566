/**
 * Sequence number arithmetic modulo 2^32 (RFC 9293 3.4). Sequence numbers are int32 everywhere in the core: V8 keeps
 * them unboxed, and a wrapped difference orders any two numbers less than 2^31 apart.
 */

/** a - b on the circle, in -2^31 .. 2^31-1. Exactly opposite numbers come out as -2^31: "less". */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

/** a + n on the circle; `n` may be negative. */
export function seqAdd(a: number, n: number): number {
  return (a + n) | 0;
}

export function seqLt(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export function seqLe(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

export function seqGt(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export function seqGe(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}

/** The later of the two. */
export function seqMax(a: number, b: number): number {
  return ((a - b) | 0) >= 0 ? a : b;
}

/** The earlier of the two. */
export function seqMin(a: number, b: number): number {
  return ((a - b) | 0) <= 0 ? a : b;
}
