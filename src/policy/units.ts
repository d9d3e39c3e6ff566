/**
 * Durations and sizes as people write them, in files and on the command line.
 */
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';

/** Durations: a number and a unit, no blank between. */
export const DURATION_PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** Sizes: a number and, mostly, a unit; powers of 1024 (IEC 80000-13) and of 1000. */
export const BYTES_PATTERN = /^(\d+(?:\.\d+)?)(B|kB|MB|GB|KiB|MiB|GiB)?$/;

/** How a duration is written, for messages. */
export const DURATION_FORM = 'a duration such as 500ms, 10s, 2m or 1h';

/** How a size is written, for messages. */
export const BYTES_FORM = 'a size in bytes such as 65536, 512KiB or 64MiB';

const SECONDS_PER_UNIT: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3_600, d: 86_400 };

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/**
 * @param value text such as `500ms`, or a number of seconds
 * @returns microseconds, 0 or more, rounded; undefined when it is not a duration
 */
export function parseDuration(value: string | number): Micros | undefined {
  const seconds = typeof value === 'number' ? value : secondsOf(value);
  const micros = Math.round(seconds * MICROS_PER_SECOND);
  // Beyond 285 years doubles are no longer exact; and -0 is 0.
  return Number.isSafeInteger(micros) && micros >= 0 ? Math.abs(micros) : undefined;
}

function secondsOf(text: string): number {
  const match = DURATION_PATTERN.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * SECONDS_PER_UNIT[match[2]!]!;
}

/**
 * @param value text such as `64MiB`, or a number of bytes
 * @returns a whole number of bytes, 0 or more; undefined when it is none
 */
export function parseBytes(value: string | number): number | undefined {
  const match = BYTES_PATTERN.exec(String(value));
  if (match === null) return undefined;
  const bytes = Number(match[1]) * BYTES_PER_UNIT[match[2] ?? 'B']!;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
