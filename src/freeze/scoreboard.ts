/**
 * SACK scoreboard of a replay (RFC 2018, RFC 6675 in spirit): which bytes above the cumulative ACK the far peer already has.
 * A handful of disjoint ranges in ascending order; when there are more, the highest are forgotten, which costs a
 * retransmission and nothing else.
 */
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';

const MAX_RANGES = 32;

export class Scoreboard {
  readonly #edges = new Int32Array(2 * (MAX_RANGES + 1));
  count = 0;

  clear(): void {
    this.count = 0;
  }

  /** Adds [left, right). */
  add(left: number, right: number): void {
    const edges = this.#edges;
    let newLeft = left;
    let newRight = right;
    let out = 0;
    let placed = false;
    const kept = new Int32Array(2 * (MAX_RANGES + 2));
    for (let i = 0; i < this.count; i++) {
      const a = edges[2 * i]!;
      const b = edges[2 * i + 1]!;
      if (seqLt(b, newLeft)) {
        kept[2 * out] = a;
        kept[2 * out++ + 1] = b;
      } else if (seqGt(a, newRight)) {
        if (!placed) {
          kept[2 * out] = newLeft;
          kept[2 * out++ + 1] = newRight;
          placed = true;
        }
        kept[2 * out] = a;
        kept[2 * out++ + 1] = b;
      } else {
        if (seqLt(a, newLeft)) newLeft = a;
        if (seqGt(b, newRight)) newRight = b;
      }
    }
    if (!placed) {
      kept[2 * out] = newLeft;
      kept[2 * out++ + 1] = newRight;
    }
    this.count = Math.min(out, MAX_RANGES);
    edges.set(kept.subarray(0, 2 * this.count));
  }

  /** Forgets everything below the cumulative ACK. */
  release(ack: number): void {
    const edges = this.#edges;
    let out = 0;
    for (let i = 0; i < this.count; i++) {
      if (seqLe(edges[2 * i + 1]!, ack)) continue;
      edges[2 * out] = seqLt(edges[2 * i]!, ack) ? ack : edges[2 * i]!;
      edges[2 * out + 1] = edges[2 * i + 1]!;
      out++;
    }
    this.count = out;
  }

  /** First byte at or after `from` that is not covered. */
  nextHole(from: number): number {
    let at = from;
    for (let i = 0; i < this.count; i++) {
      if (seqGt(this.#edges[2 * i]!, at)) break;
      if (seqGt(this.#edges[2 * i + 1]!, at)) at = this.#edges[2 * i + 1]!;
    }
    return at;
  }

  /** End of the hole that starts at `from`: the next covered byte, or `limit`. */
  holeEnd(from: number, limit: number): number {
    for (let i = 0; i < this.count; i++) {
      const left = this.#edges[2 * i]!;
      if (seqGe(left, from)) return seqLt(left, limit) ? left : limit;
    }
    return limit;
  }

  /** Highest covered byte + 1, or `fallback` when nothing is covered. */
  highest(fallback: number): number {
    return this.count === 0 ? fallback : this.#edges[2 * this.count - 1]!;
  }

  /** Bytes covered below `limit`. */
  coveredBelow(limit: number): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) {
      const left = this.#edges[2 * i]!;
      const right = this.#edges[2 * i + 1]!;
      if (seqGe(left, limit)) break;
      sum += seqDiff(seqLt(right, limit) ? right : limit, left);
    }
    return sum;
  }
}
