/** What a selector means: its one label however it was spelled, and the addresses it covers. */
import { formatAddressBytes, formatPrefix, parseAddress, parsePrefix } from '../wire/address.ts';
import type { Selector } from './commands.ts';

/** Addresses as big-endian words, as the flow table keeps them. */
export interface Target {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly prefixLength: number;
}

/** The name under which a command is kept, shown and released. */
export function labelOf(selector: Selector): string {
  switch (selector.kind) {
    case 'link':
      return selector.name;
    // As parsed, so that every spelling of an address is the same scope.
    case 'host': {
      const address = parseAddress(selector.address);
      return address === undefined ? selector.address : formatAddressBytes(address);
    }
    case 'prefix': {
      const prefix = parsePrefix(selector.prefix);
      return prefix === undefined ? selector.prefix : formatPrefix(prefix);
    }
    case 'flow':
      return `flow ${selector.id}`;
    case 'all':
      return 'everything';
  }
}

/** The addresses of a host or prefix; null when it is neither, or not well-formed. */
export function targetOf(selector: Selector): Target | null {
  const text = selector.kind === 'host' ? selector.address : selector.kind === 'prefix' ? selector.prefix : '';
  const prefix = selector.kind === 'prefix' ? parsePrefix(text) : undefined;
  const address = prefix?.address ?? parseAddress(text);
  if (address === undefined) return null;
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const words = new Int32Array(4);
  for (let i = 0; i < address.byteLength / 4; i++) words[i] = view.getInt32(4 * i);
  return {
    family: address.byteLength === 4 ? 4 : 6,
    words,
    prefixLength: prefix?.prefixLength ?? address.byteLength * 8,
  };
}
