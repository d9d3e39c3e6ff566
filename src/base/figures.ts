/**
 * Layout of the shared figures: the counters, counters by label, and histograms, all in the one Float64Array into which the worker
 * counts and from which the main thread reads. Nothing here is done per packet but for `drops`.
 */
import { COUNTER_NAMES } from './counters.ts';
import { type Micros, millis, seconds } from './time.ts';

/** What can hold a link or scope for lost: the detectors by name, and people. `other`: a detector that is not in this list. */
export const LOSS_CAUSES = [
  'interface',
  'carrier',
  'address',
  'neighbour',
  'lease',
  'icmp',
  'echo',
  'silence',
  'damping',
  'command',
  'other',
] as const;
export type LossCause = (typeof LOSS_CAUSES)[number];

/** Why a connection is passed through untouched (theory of operation 6.8). */
export const BYPASS_REASONS = ['tcp-md5', 'tcp-ao', 'mptcp', 'no-route', 'policy'] as const;
export type BypassReason = (typeof BYPASS_REASONS)[number];

/**
 * Why a packet was dropped. lost: its link is lost and its connection is not held; unsound: wrong checksum; outOfWindow: cannot
 * belong to the connection; late: from beyond a loss, taken note of; unreachable: its addressee cannot be written to; absorbed: it
 * says nothing that is not known.
 */
export const DROP_REASONS = ['lost', 'unsound', 'outOfWindow', 'late', 'unreachable', 'absorbed'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Counters by label. */
export const FAMILIES = {
  freezes: LOSS_CAUSES,
  thaws: LOSS_CAUSES,
  bypasses: BYPASS_REASONS,
  drops: DROP_REASONS,
} as const;
export type FamilyName = keyof typeof FAMILIES;

/** Upper bounds of the buckets, micros. */
export const HISTOGRAM_BOUNDS = {
  /** From the freeze of a flow to its thaw. */
  freezeDuration: [0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 900, 3_600, 14_400].map(seconds),
  /** From the first sign of a loss to the verdict, where a detector can know it. */
  detectionDelay: [1, 3, 10, 30, 100, 300, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000].map(millis),
  /** From the thaw of a flow to the delivery of its last byte in custody. */
  handbackDuration: [10, 30, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000].map(millis),
  /** From the thaw of a flow to the first sign that bytes arrive again: custody acknowledged, or data of the far peer. */
  firstByte: [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000].map(millis),
  /** One turn of the datapath loop without its sleep. */
  turnTime: [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000],
} as const satisfies Readonly<Record<string, readonly Micros[]>>;
export type HistogramName = keyof typeof HISTOGRAM_BOUNDS;

interface HistogramPlace {
  readonly bounds: readonly Micros[];
  /** Index of the first bucket; behind the last one, which has no bound, lies the sum. */
  readonly start: number;
}

let next: number = COUNTER_NAMES.length;

function place<L extends string>(labels: readonly L[]): Readonly<Record<L, number>> {
  return Object.freeze(Object.fromEntries(labels.map((label) => [label, next++])) as Record<L, number>);
}

/** Index in the array of each labelled counter. */
export const FAMILY: { readonly [F in FamilyName]: Readonly<Record<(typeof FAMILIES)[F][number], number>> } =
  Object.freeze({
    freezes: place(FAMILIES.freezes),
    thaws: place(FAMILIES.thaws),
    bypasses: place(FAMILIES.bypasses),
    drops: place(FAMILIES.drops),
  });

function placeHistogram(bounds: readonly Micros[]): HistogramPlace {
  const start = next;
  next += bounds.length + 2;
  return { bounds, start };
}

export const HISTOGRAM: Readonly<Record<HistogramName, HistogramPlace>> = Object.freeze({
  freezeDuration: placeHistogram(HISTOGRAM_BOUNDS.freezeDuration),
  detectionDelay: placeHistogram(HISTOGRAM_BOUNDS.detectionDelay),
  handbackDuration: placeHistogram(HISTOGRAM_BOUNDS.handbackDuration),
  firstByte: placeHistogram(HISTOGRAM_BOUNDS.firstByte),
  turnTime: placeHistogram(HISTOGRAM_BOUNDS.turnTime),
});

/** Size of everything: what the shell has to provide. */
export const COUNTERS_BYTES: number = next * Float64Array.BYTES_PER_ELEMENT;

/** Takes one value into a histogram. Writes beyond the end of a shorter array are void, as typed arrays have it. */
export function observe(array: Float64Array, name: HistogramName, micros: Micros): void {
  const { bounds, start } = HISTOGRAM[name];
  let at = 0;
  while (at < bounds.length && micros > bounds[at]!) at++;
  array[start + at]! += 1;
  array[start + bounds.length + 1]! += micros;
}

export interface HistogramFigures {
  /** Values at or below each bound of HISTOGRAM_BOUNDS, cumulative. */
  readonly cumulative: readonly number[];
  readonly count: number;
  readonly sumMicros: Micros;
}

export function readHistogram(array: Float64Array, name: HistogramName): HistogramFigures {
  const { bounds, start } = HISTOGRAM[name];
  let count = 0;
  const cumulative = bounds.map((_, at) => {
    count += array[start + at] ?? 0;
    return count;
  });
  count += array[start + bounds.length] ?? 0;
  return { cumulative, count, sumMicros: array[start + bounds.length + 1] ?? 0 };
}

/** The counters of a family by label. */
export function readFamily(array: Float64Array, name: FamilyName): Record<string, number> {
  const places: Readonly<Record<string, number>> = FAMILY[name];
  return Object.fromEntries(Object.entries(places).map(([label, at]) => [label, array[at] ?? 0]));
}

/** The cause of a detector's name. */
export function lossCause(name: string): LossCause {
  return LOSS_CAUSES.find((cause) => cause === name) ?? 'other';
}
