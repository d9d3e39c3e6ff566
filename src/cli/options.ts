/** How values are written on the command line. */
import { InvalidArgumentError } from 'commander';
import { DURATION_FORM, parseDuration } from '../policy/units.ts';
import { type Prefix, parsePrefix } from '../wire/address.ts';

/** `500ms`, `10s`, `2m`, `1h` to seconds. */
export function durationOption(text: string): number {
  const micros = parseDuration(text);
  if (micros === undefined) throw new InvalidArgumentError(`It must be ${DURATION_FORM}.`);
  return micros / 1e6;
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
