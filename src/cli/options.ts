/** How values are written on the command line. */
import { InvalidArgumentError } from 'commander';
import { SNAP_LENGTH_MAX } from '../policy/policy.ts';
import { DURATION_FORM, parseBytes, parseDuration } from '../policy/units.ts';
import { type Prefix, parsePrefix } from '../wire/address.ts';

/** `500ms`, `10s`, `2m`, `1h` to seconds. */
export function durationOption(text: string): number {
  const micros = parseDuration(text);
  if (micros === undefined) throw new InvalidArgumentError(`It must be ${DURATION_FORM}.`);
  return micros / 1e6;
}

export function familyOption(text: string): number {
  if (text !== '4' && text !== '6') throw new InvalidArgumentError('It must be 4 or 6.');
  return Number(text);
}

/** Whole seconds of a lease; 4294967295 stands for one without end. */
export function secondsOption(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of seconds.');
  return Number(text);
}

/** A whole number from 1 on. */
export function countOption(text: string): number {
  const count = Number(text);
  if (!/^\d{1,9}$/.test(text) || count < 1) throw new InvalidArgumentError('It must be a whole number, 1 or more.');
  return count;
}

/** `lan0,lan1` to a list; the option may be repeated, too. */
export function interfacesOption(text: string, before: readonly string[] | undefined): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === ''))
    throw new InvalidArgumentError('It must be interface names, separated by commas.');
  return [...(before ?? []), ...names];
}

/** `10.0.0.0/8,fd00::/8` to a list; the option may be repeated, too. */
export function prefixesOption(text: string, before: readonly Prefix[] | undefined): Prefix[] {
  const prefixes = text.split(',').map((part) => {
    const prefix = parsePrefix(part.trim());
    if (prefix === undefined)
      throw new InvalidArgumentError('It must be prefixes such as 10.0.0.0/8, separated by commas.');
    return prefix;
  });
  return [...(before ?? []), ...prefixes];
}

/** `128`: bytes kept of a packet. */
export function snaplenOption(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > SNAP_LENGTH_MAX)
    throw new InvalidArgumentError(`It must be a number, 1 to ${SNAP_LENGTH_MAX}.`);
  return value;
}

/** `100MB,5`: size of a file and number of files. */
export function rotateOption(text: string): { size: number; count: number } {
  const match = /^([^,]+),(\d{1,5})$/.exec(text);
  const size = match === null ? undefined : parseBytes(match[1]!.trim());
  const count = Number(match?.[2] ?? 0);
  if (size === undefined || size < 65_536 || count < 1)
    throw new InvalidArgumentError('It must be a size (64KiB at least) and a number of files, such as 100MB,5.');
  return { size, count };
}

/** `3`: number of a capture. */
export function captureIdArgument(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new InvalidArgumentError('It must be a number, as in "tcpfreeze capture status".');
  return Number(text);
}
