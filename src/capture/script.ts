/**
 * Link events for a replay, one per line, times in seconds from the first packet of the capture:
 *
 *     +12.5 lose wan0
 *     +40   restore wan0
 *     +3    lose host 10.0.0.7      # also: prefix 10.0.0.0/8
 */
import { TcpfreezeError } from '../base/errors.ts';
import { type Micros, seconds } from '../base/time.ts';
import { formatAddressBytes, formatPrefix, type Prefix, parseAddress, parsePrefix } from '../wire/address.ts';

export type ScriptScope =
  | { readonly kind: 'link'; readonly name: string }
  | { readonly kind: 'host' | 'prefix'; readonly prefix: Prefix; readonly text: string };

export interface ScriptEvent {
  /** From the first packet on. */
  readonly at: Micros;
  readonly isLoss: boolean;
  readonly scope: ScriptScope;
}

/** A script is written by hand; a larger file is another file. */
export const SCRIPT_MAX_BYTES = 1 << 20;

const LINE = /^\+(\d{1,6}(?:\.\d{1,6})?)\s+(lose|restore)\s+(?:(host|prefix)\s+)?(\S+)$/;

function wrong(line: number, what: string): TcpfreezeError {
  const remedy = 'write lines such as "+12.5 lose wan0" or "+40 restore host 10.0.0.7"';
  return new TcpfreezeError('SCRIPT_INVALID', `line ${line} of the script: ${what}`, remedy);
}

/**
 * @param links names that may be lost
 * @returns the events in the order of their times, those of one time as they stand
 * @throws TcpfreezeError SCRIPT_INVALID naming the line
 */
export function parseScript(text: string, links: readonly string[]): ScriptEvent[] {
  const events: ScriptEvent[] = [];
  text.split('\n').forEach((raw, index) => {
    const line = raw.replace(/#.*$/, '').trim();
    if (line === '') return;
    const match = LINE.exec(line);
    if (match === null) throw wrong(index + 1, `"${line.slice(0, 60)}" is no event`);
    const [, time, verb, kind, target] = match;
    events.push({
      at: Math.round(seconds(Number(time))),
      isLoss: verb === 'lose',
      scope: scopeOf(kind, target!, links, index + 1),
    });
  });
  return events.sort((a, b) => a.at - b.at);
}

function scopeOf(kind: string | undefined, target: string, links: readonly string[], line: number): ScriptScope {
  if (kind === undefined) {
    if (!links.includes(target)) throw wrong(line, `no link ${target}; there are ${links.join(' and ')}`);
    return { kind: 'link', name: target };
  }
  if (kind === 'host') {
    const address = parseAddress(target);
    if (address === undefined) throw wrong(line, `${target} is no address`);
    const prefix: Prefix = { family: address.length === 4 ? 4 : 6, address, prefixLength: address.length * 8 };
    return { kind: 'host', prefix, text: formatAddressBytes(address) };
  }
  const prefix = parsePrefix(target);
  if (prefix === undefined) throw wrong(line, `${target} is no prefix`);
  return { kind: 'prefix', prefix, text: formatPrefix(prefix) };
}
