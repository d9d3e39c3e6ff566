/** Commands that cannot be carried out: what is wrong, and what to do instead. */
import type { Reply, Selector } from './commands.ts';
import { labelOf } from './selector.ts';

export function refused(code: string, message: string, remedy: string): Reply {
  return { kind: 'refused', code, message, remedy };
}

export function unknownLink(selector: Selector): Reply {
  return refused('UNKNOWN_LINK', `no link ${labelOf(selector)}`, 'see "tcpfreeze status" for the links');
}

export function badAddress(label: string): Reply {
  return refused(
    'BAD_ADDRESS',
    `${label} is not an address or prefix`,
    'give an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/8',
  );
}
