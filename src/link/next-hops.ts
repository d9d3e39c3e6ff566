/**
 * Next hops: the routers that routes lead to, by link. They are what can be asked whether a link works, and what takes every
 * connection with it when it fails. Those of a link that is lost are remembered: the kernel forgets its routes, but
 * the router is still the one to ask.
 *
 * Limits. MAX_PER_LINK per link; later ones are not remembered.
 */
import type { RouteEvent } from './events.ts';

export interface NextHop {
  readonly port: number;
  readonly family: 4 | 6;
  /** Network byte order. */
  readonly address: Uint8Array;
  /** Prefixes of present routes over it, as "family destination/length". */
  readonly routes: Set<string>;
  /** Whether the family's default route leads to it, or did when the link was lost. */
  isDefault: boolean;
}

const MAX_PER_LINK = 16;

export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export class NextHops {
  #hops: NextHop[] = [];

  onRoute(port: number, event: RouteEvent): void {
    const { gateway, family, destination, prefixLength } = event;
    const route = `${destination.join('.')}/${prefixLength}`;
    if (gateway === undefined || gateway.every((byte) => byte === 0)) return;
    // An IPv4 route may lead to an IPv6 next hop (RTA_VIA, RFC 5549).
    const hopFamily = gateway.length === 4 ? 4 : 6;
    let hop = this.of(port, gateway);
    if (!event.present) {
      hop?.routes.delete(`${family} ${route}`);
      return;
    }
    if (prefixLength === 0) {
      // Another default router took its place: the earlier one carries nothing any more.
      for (const other of this.#hops) {
        if (other.port === port && other.family === hopFamily && other !== hop && other.routes.size === 0)
          other.isDefault = false;
      }
    }
    if (hop === undefined) {
      this.#hops = this.#hops.filter((one) => one.port !== port || one.isDefault || one.routes.size > 0);
      if (this.#hops.filter((one) => one.port === port).length >= MAX_PER_LINK) return;
      hop = { port, family: hopFamily, address: Uint8Array.from(gateway), routes: new Set(), isDefault: false };
      this.#hops.push(hop);
    }
    if (hop.routes.size < 1_024) hop.routes.add(`${family} ${route}`);
    if (prefixLength === 0) hop.isDefault = true;
  }

  of(port: number, address: Uint8Array): NextHop | undefined {
    return this.#hops.find((hop) => hop.port === port && isSameBytes(hop.address, address));
  }

  /** The routers of the default routes over a link. */
  defaultsOf(port: number): readonly NextHop[] {
    return this.#hops.filter((hop) => hop.port === port && hop.isDefault);
  }

  get size(): number {
    return this.#hops.length;
  }
}
