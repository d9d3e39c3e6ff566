/** How a transfer came back after an outage, judged by the receiver's timeline alone. Pure. */
import { bytesBetween, type Timeline } from './timeline.ts';

export interface Outage {
  /** Nothing passes from here ... */
  readonly cutAt: number;
  /** ... to here; microseconds of CLOCK_MONOTONIC. */
  readonly restoredAt: number;
  /** Round-trip time of the link, milliseconds. */
  readonly rttMillis: number;
}

export interface Recovery {
  /** Bytes per second before the cut. */
  readonly rateBefore: number;
  /** From link-up to the first new byte, milliseconds; undefined: none came. */
  readonly firstByteMillis: number | undefined;
  /** From link-up until the old rate is back at 85 %, milliseconds; undefined: never. */
  readonly to85Millis: number | undefined;
  /** From the last byte before to the first byte after, milliseconds. */
  readonly deadAirMillis: number | undefined;
}

/** The share of the old rate that counts as recovered. */
const SHARE = 0.85;
/** The average before the cut is taken over at most this much, which leaves start-up out. */
const BEFORE_MICROS = 2_000_000;
/** The rate must hold for this long in all, so that one burst into an empty queue does not pass for recovery. */
const HOLD_MICROS = 250_000;

/**
 * Judges one outage.
 *
 * Rate before: the average of the last 2 s before the cut. Recovered to 85 %: the end of the first window of max(RTT, 50 ms) whose
 * rate reaches 85 % of that, provided that the average over 250 ms from the window's start (or up to the transfer's
 * end) reaches it as well. Windows move by bins of 2 ms.
 *
 * @param timeline the receiver's; bytes of several flows may be added up beforehand
 */
export function judgeRecovery(timeline: Timeline, outage: Outage): Recovery {
  const { cutAt, restoredAt, rttMillis } = outage;
  const { origin, binMicros, bins } = timeline;
  const timeOf = (index: number): number => origin + bins[index]![0] * binMicros;

  const firstAfter = bins.findIndex((_, index) => timeOf(index) + binMicros > restoredAt);
  const lastBefore = firstAfter === -1 ? bins.length - 1 : firstAfter - 1;
  const start = bins.length === 0 ? cutAt : Math.max(timeOf(0), cutAt - BEFORE_MICROS);
  const rateBefore = start < cutAt ? bytesBetween(timeline, start, cutAt) / ((cutAt - start) / 1e6) : 0;
  if (firstAfter === -1) {
    return { rateBefore, firstByteMillis: undefined, to85Millis: undefined, deadAirMillis: undefined };
  }
  // A bin tells its bytes' time to 2 ms; its start may lie just before link-up.
  const firstByteAt = Math.max(timeOf(firstAfter), restoredAt);
  const windowMicros = Math.max(rttMillis * 1000, 50_000);
  const end = timeOf(bins.length - 1) + binMicros;
  const reaches = (from: number, to: number): boolean =>
    bytesBetween(timeline, from, to) / ((to - from) / 1e6) >= SHARE * rateBefore;
  let to85Millis: number | undefined;
  for (let from = timeOf(firstAfter); from + windowMicros <= end; from += binMicros) {
    const holdEnd = Math.min(Math.max(from + HOLD_MICROS, from + windowMicros), end);
    if (!reaches(from, from + windowMicros) || !reaches(from, holdEnd)) continue;
    to85Millis = (from + windowMicros - restoredAt) / 1000;
    break;
  }
  return {
    rateBefore,
    firstByteMillis: (firstByteAt - restoredAt) / 1000,
    to85Millis,
    deadAirMillis: lastBefore >= 0 ? (firstByteAt - timeOf(lastBefore)) / 1000 : undefined,
  };
}

/**
 * The longest silence at the receiver between two moments, milliseconds: how long a transfer stalled.
 * @param from, to microseconds of CLOCK_MONOTONIC
 */
export function longestGapMillis(timeline: Timeline, from: number, to: number): number {
  let last = from;
  let longest = 0;
  for (const [bin] of timeline.bins) {
    const at = timeline.origin + bin * timeline.binMicros;
    if (at < from) continue;
    if (at >= to) break;
    longest = Math.max(longest, at - last);
    last = at + timeline.binMicros;
  }
  return Math.max(longest, to - last) / 1000;
}
