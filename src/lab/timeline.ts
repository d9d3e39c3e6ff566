/** Bytes over time at a receiver, in small bins: compact enough to hand over at the end of a transfer. */

/** Width of a bin, microseconds: well below any round trip that is judged with it. */
export const BIN_MICROS = 2_000;

export interface Timeline {
  /** Start of bin 0, microseconds of CLOCK_MONOTONIC. */
  readonly origin: number;
  readonly binMicros: number;
  /** Bins with data, ascending: number of the bin, bytes received in it. */
  readonly bins: readonly (readonly [number, number])[];
}

/** Records a timeline; times must not go back. */
export class TimelineRecorder {
  readonly #origin: number;
  readonly #bins: [number, number][] = [];

  /** @param origin microseconds of CLOCK_MONOTONIC */
  constructor(origin: number) {
    this.#origin = origin;
  }

  add(at: number, bytes: number): void {
    const bin = Math.max(0, Math.floor((at - this.#origin) / BIN_MICROS));
    const last = this.#bins.at(-1);
    if (last !== undefined && last[0] === bin) last[1] += bytes;
    else this.#bins.push([bin, bytes]);
  }

  timeline(): Timeline {
    return { origin: this.#origin, binMicros: BIN_MICROS, bins: this.#bins };
  }
}

/** Bytes in bins that start within [from, to), microseconds of CLOCK_MONOTONIC. */
export function bytesBetween(timeline: Timeline, from: number, to: number): number {
  const { origin, binMicros, bins } = timeline;
  let low = 0;
  let high = bins.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (origin + bins[middle]![0] * binMicros < from) low = middle + 1;
    else high = middle;
  }
  let sum = 0;
  for (; low < bins.length; low++) {
    const [bin, bytes] = bins[low]!;
    if (origin + bin * binMicros >= to) break;
    sum += bytes;
  }
  return sum;
}

/** Sum of several receivers' timelines, on the earliest one's origin (they share the clock; bins may shift by one). */
export function addTimelines(timelines: readonly Timeline[]): Timeline {
  const origin = Math.min(...timelines.map((one) => one.origin));
  const sums = new Map<number, number>();
  for (const one of timelines) {
    const shift = Math.floor((one.origin - origin) / BIN_MICROS);
    for (const [bin, bytes] of one.bins) sums.set(bin + shift, (sums.get(bin + shift) ?? 0) + bytes);
  }
  return { origin, binMicros: BIN_MICROS, bins: [...sums].sort((a, b) => a[0] - b[0]) };
}
