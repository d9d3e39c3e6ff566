/** A default route as the kernel tells of it, for tests that need a next hop. */
import type { RouteEvent } from '../../src/link/events.ts';
import { parseAddress } from '../../src/wire/address.ts';

/** @param gateway IPv4 address of the next hop behind wan0 */
export function defaultRoute(gateway: string, change: Partial<RouteEvent> = {}): RouteEvent {
  return {
    kind: 'route',
    family: 4,
    destination: new Uint8Array(4),
    prefixLength: 0,
    name: 'wan0',
    metric: 0,
    present: true,
    gateway: parseAddress(gateway)!,
    ...change,
  };
}
