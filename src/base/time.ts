/**
 * Time as the core sees it: microseconds as a number, on a monotonic scale chosen by the shell.
 * 2^53 microseconds are 285 years, so a double is exact for any uptime.
 */
export type Micros = number;

export const MICROS_PER_MILLI = 1_000;
export const MICROS_PER_SECOND = 1_000_000;

/** The deadline of a timer that is not set. Larger than every time, so `min` of deadlines needs no special case. */
export const NEVER: Micros = Number.POSITIVE_INFINITY;

/** Seconds to microseconds. */
export function seconds(value: number): Micros {
  return value * MICROS_PER_SECOND;
}

/** Milliseconds to microseconds. */
export function millis(value: number): Micros {
  return value * MICROS_PER_MILLI;
}
