/** What the shell would tell the engine about the simulated router's interfaces, and the addresses behind them. */
import type { Command } from '../../src/engine/commands.ts';
import type { InterfaceEvent, LinkEvent, RouteEvent } from '../../src/link/events.ts';

/**
 * How a loss becomes known: the carrier goes, the administrator sets the interface down, its address goes, somebody
 * commands it (for the link, for the hosts behind it), or not at all.
 */
export type LossKind = 'carrier' | 'down' | 'address' | 'command' | 'prefix' | 'none';

export type Step =
  | { readonly kind: 'event'; readonly event: LinkEvent }
  | { readonly kind: 'command'; readonly command: Command };

type Side = 'lan' | 'wan';

/** 10.1.0.0/16 and fd00:1::/64 are the LAN; everything else is behind the WAN's default route. */
const LAN4 = [10, 1, 0, 1];
const WAN4 = [192, 0, 2, 2];
const LAN6 = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const WAN6 = [0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/** Address words of a host as big-endian loads: own from 0, peer from 4. */
export function addresses(family: 4 | 6, side: Side, lanHost: number, wanHost: number): Int32Array {
  const lan = family === 4 ? [(10 << 24) | (1 << 16) | (10 + lanHost)] : [0xfd00_0001 | 0, 0, 0, 16 + lanHost];
  // 198.51.100.0/24 and 2001:db8::/32 are for documentation (RFC 5737, RFC 3849).
  const wan =
    family === 4 ? [(198 << 24) | (51 << 16) | (100 << 8) | (10 + wanHost)] : [0x2001_0db8, 0, 0, 16 + wanHost];
  const words = new Int32Array(8);
  words.set(side === 'lan' ? lan : wan, 0);
  words.set(side === 'lan' ? wan : lan, 4);
  return words;
}

function interfaceEvent(side: Side, up: boolean, carrier: boolean): InterfaceEvent {
  return {
    kind: 'interface',
    name: `${side}0`,
    index: side === 'lan' ? 2 : 3,
    up,
    carrier,
    operState: up && carrier ? 6 : 2,
    mtu: 1500,
  };
}

function addressEvents(side: Side, present: boolean): LinkEvent[] {
  const of = (family: 4 | 6, address: number[], prefixLength: number): LinkEvent => ({
    kind: 'address',
    name: `${side}0`,
    family,
    address: Uint8Array.from(address),
    prefixLength,
    global: true,
    present,
  });
  return side === 'lan' ? [of(4, LAN4, 16), of(6, LAN6, 64)] : [of(4, WAN4, 24), of(6, WAN6, 64)];
}

function routeEvents(side: Side, present: boolean): RouteEvent[] {
  const of = (family: 4 | 6, destination: number[], prefixLength: number): RouteEvent => ({
    kind: 'route',
    family,
    destination: Uint8Array.from(destination),
    prefixLength,
    name: `${side}0`,
    metric: 0,
    present,
  });
  const zeros = (count: number): number[] => new Array<number>(count).fill(0);
  if (side === 'lan') return [of(4, [10, 1, 0, 0], 16), of(6, [0xfd, 0, 0, 1, ...zeros(12)], 64)];
  return [of(4, [192, 0, 2, 0], 24), of(4, zeros(4), 0), of(6, [0xfd, 0, 0, 2, ...zeros(12)], 64), of(6, zeros(16), 0)];
}

/** Both interfaces up, with addresses and routes. */
export function startEvents(): LinkEvent[] {
  return (['lan', 'wan'] as const).flatMap((side) => [
    interfaceEvent(side, true, true),
    ...addressEvents(side, true),
    ...routeEvents(side, true),
  ]);
}

const asSteps = (events: readonly LinkEvent[]): Step[] => events.map((event) => ({ kind: 'event', event }));

function commanded(side: Side, verb: 'freeze' | 'resume', kind: LossKind): Step[] {
  const prefixes = side === 'lan' ? ['10.1.0.0/16', 'fd00:1::/64'] : ['198.51.100.0/24', '2001:db8::/32'];
  if (kind === 'prefix') {
    return prefixes.map((prefix) => ({
      kind: 'command',
      command: { kind: verb, selector: { kind: 'prefix', prefix } },
    }));
  }
  return [{ kind: 'command', command: { kind: verb, selector: { kind: 'link', name: `${side}0` } } }];
}

/** In the order in which rtnetlink reports them. */
export function cutEvents(side: Side, kind: LossKind): Step[] {
  switch (kind) {
    case 'carrier':
      return asSteps([interfaceEvent(side, true, false)]);
    case 'down':
      return asSteps([...routeEvents(side, false), interfaceEvent(side, false, false)]);
    case 'address':
      return asSteps([...routeEvents(side, false), ...addressEvents(side, false)]);
    case 'none':
      return [];
    default:
      return commanded(side, 'freeze', kind);
  }
}

export function restoreEvents(side: Side, kind: LossKind): Step[] {
  switch (kind) {
    case 'carrier':
      return asSteps([interfaceEvent(side, true, true)]);
    case 'down':
      return asSteps([interfaceEvent(side, true, true), ...routeEvents(side, true)]);
    case 'address':
      return asSteps([...addressEvents(side, true), ...routeEvents(side, true)]);
    case 'none':
      return [];
    default:
      return commanded(side, 'resume', kind);
  }
}
