/**
 * What is known of interfaces, addresses, routes and neighbours, and how each netlink message changes it. Turns messages into
 * link events that report changes only: refreshed lifetimes, repeated states and tentative addresses make none.
 *
 * It has to remember, because the kernel does not tell everything: IPv4 routes of an interface that goes down vanish
 * without RTM_DELROUTE (fib_table_flush in net/ipv4/fib_trie.c notifies no one); a replaced route is reported as a new one
 * with NLM_F_REPLACE only; messages name interfaces by index; and after an overrun only a new dump, compared with
 * the old state, shows what was lost. One route costs about 300 bytes.
 */
import type { LinkEvent } from '../link/events.ts';
import { NeighbourTable, sameBytes } from './neighbour-table.ts';
import type { AddressMessage, Hop, LinkMessage, NetlinkMessage, RouteMessage } from './netlink-messages.ts';

interface KnownAddress {
  readonly message: AddressMessage;
  generation: number;
}

interface KnownRoute {
  readonly hop: Hop;
  readonly message: RouteMessage;
  generation: number;
}

interface KnownLink {
  message: LinkMessage;
  generation: number;
}

export type DumpKind = 'link' | 'address' | 'route' | 'neighbour';

export type LinkSink = (event: LinkEvent) => void;

export class LinkTable {
  readonly #links = new Map<number, KnownLink>();
  readonly #addresses = new Map<string, KnownAddress>();
  /** By destination and metric; one entry per next hop. */
  readonly #routes = new Map<string, KnownRoute[]>();
  readonly #neighbours = new NeighbourTable((index) => this.#links.get(index)?.message.name);
  #generation = 0;
  /** Set when routes may have vanished without a message; whoever reads the socket dumps the routes again and clears it. */
  routesDoubtful = false;

  /** Applies one message and reports what changed. Control messages change nothing. */
  handle(message: NetlinkMessage, sink: LinkSink): void {
    switch (message.kind) {
      case 'link':
        if (message.added) this.#linkAdded(message, sink);
        else this.#linkGone(message.index, sink);
        break;
      case 'address':
        this.#address(message, sink);
        break;
      case 'route':
        if (message.added) this.#routeAdded(message, sink);
        else this.#routeGone(message, sink);
        break;
      case 'neighbour':
        this.#neighbours.handle(message, this.#generation, sink);
        break;
    }
  }

  /** A dump begins: what it does not mention until `endDump` is gone. */
  beginDump(): void {
    this.#generation++;
  }

  /** A dump of one kind is complete: reports as gone what it did not mention. */
  endDump(kind: DumpKind, sink: LinkSink): void {
    if (kind === 'link') {
      for (const [index, link] of this.#links) if (link.generation !== this.#generation) this.#linkGone(index, sink);
    } else if (kind === 'address') {
      for (const [key, known] of this.#addresses) {
        if (known.generation !== this.#generation) this.#dropAddress(key, known, sink);
      }
    } else if (kind === 'route') {
      this.#dropRoutes((route) => route.generation !== this.#generation, sink);
    } else {
      this.#neighbours.dropBefore(this.#generation, sink);
    }
  }

  /** Index of the interface with this name; undefined when there is none. */
  indexOf(name: string): number | undefined {
    for (const [index, { message }] of this.#links) if (message.name === name) return index;
    return undefined;
  }

  /** Everything known, as events; for a consumer that joins late. */
  snapshot(sink: LinkSink): void {
    for (const { message } of this.#links.values()) sink(interfaceEvent(message));
    for (const { message } of this.#addresses.values()) this.#emitAddress(message, true, sink);
    for (const list of this.#routes.values()) for (const route of list) this.#emitRoute(route, true, sink);
    this.#neighbours.snapshot(sink);
  }

  #linkAdded(message: LinkMessage, sink: LinkSink): void {
    const known = this.#links.get(message.index);
    if (known === undefined) {
      this.#links.set(message.index, { message, generation: this.#generation });
      sink(interfaceEvent(message));
      return;
    }
    const before = known.message;
    known.generation = this.#generation;
    if (sameLink(before, message)) return;
    if (before.name !== message.name) {
      // Renamed: for everyone who knows interfaces by name the old one went and another came.
      this.#emitDependents(message.index, false, sink);
      sink({ kind: 'interface-gone', name: before.name });
      known.message = message;
      sink(interfaceEvent(message));
      this.#emitDependents(message.index, true, sink);
    } else {
      known.message = message;
      sink(interfaceEvent(message));
    }
    if (before.up && !message.up) {
      this.#dropRoutes((route) => route.hop.index === message.index && route.message.family === 4, sink);
    }
  }

  #linkGone(index: number, sink: LinkSink): void {
    const known = this.#links.get(index);
    if (known === undefined) return;
    this.#dropRoutes((route) => route.hop.index === index, sink);
    this.#neighbours.dropLink(index, sink);
    for (const [key, address] of this.#addresses) {
      if (address.message.index === index) this.#dropAddress(key, address, sink);
    }
    this.#links.delete(index);
    sink({ kind: 'interface-gone', name: known.message.name });
  }

  #address(message: AddressMessage, sink: LinkSink): void {
    const key = `${message.index} ${message.prefixLength} ${message.address.join('.')}`;
    const known = this.#addresses.get(key);
    if (message.added && message.usable) {
      if (known !== undefined) {
        known.generation = this.#generation;
        return;
      }
      this.#addresses.set(key, { message, generation: this.#generation });
      this.#emitAddress(message, true, sink);
    } else if (known !== undefined) {
      this.#dropAddress(key, known, sink);
      // Routes with this preferred source go silently (fib_sync_down_addr).
      if (message.family === 4) this.routesDoubtful = true;
    }
  }

  #routeAdded(message: RouteMessage, sink: LinkSink): void {
    const key = routeKey(message);
    let list = this.#routes.get(key);
    if (list === undefined) {
      list = [];
      this.#routes.set(key, list);
    } else if (message.replaces) {
      const replaced = list.filter((route) => !message.hops.some((hop) => sameHop(hop, route.hop)));
      list = list.filter((route) => !replaced.includes(route));
      this.#routes.set(key, list);
      for (const route of replaced) this.#emitRoute(route, false, sink);
    }
    for (const hop of message.hops) {
      const known = list.find((route) => sameHop(hop, route.hop));
      if (known !== undefined) {
        known.generation = this.#generation;
        continue;
      }
      const route = { hop, message, generation: this.#generation };
      list.push(route);
      this.#emitRoute(route, true, sink);
    }
  }

  #routeGone(message: RouteMessage, sink: LinkSink): void {
    const key = routeKey(message);
    const isGone = (route: KnownRoute): boolean => message.hops.some((hop) => sameHop(hop, route.hop));
    this.#dropFrom(key, this.#routes.get(key) ?? [], isGone, sink);
  }

  #dropRoutes(isGone: (route: KnownRoute) => boolean, sink: LinkSink): void {
    for (const [key, list] of this.#routes) this.#dropFrom(key, list, isGone, sink);
  }

  #dropFrom(key: string, list: KnownRoute[], isGone: (route: KnownRoute) => boolean, sink: LinkSink): void {
    const gone = list.filter(isGone);
    if (gone.length === 0) return;
    const kept = list.filter((route) => !gone.includes(route));
    if (kept.length === 0) this.#routes.delete(key);
    else this.#routes.set(key, kept);
    for (const route of gone) this.#emitRoute(route, false, sink);
    // Two routers on one link: whoever thinks in prefixes and interfaces must not believe that both went.
    for (const route of kept) {
      if (gone.some((other) => other.hop.index === route.hop.index)) this.#emitRoute(route, true, sink);
    }
  }

  #dropAddress(key: string, known: KnownAddress, sink: LinkSink): void {
    this.#addresses.delete(key);
    this.#emitAddress(known.message, false, sink);
  }

  #emitDependents(index: number, present: boolean, sink: LinkSink): void {
    for (const { message } of this.#addresses.values()) {
      if (message.index === index) this.#emitAddress(message, present, sink);
    }
    for (const list of this.#routes.values()) {
      for (const route of list) if (route.hop.index === index) this.#emitRoute(route, present, sink);
    }
  }

  #emitAddress(message: AddressMessage, present: boolean, sink: LinkSink): void {
    const name = this.#links.get(message.index)?.message.name;
    if (name === undefined) return;
    const { family, address, prefixLength, global } = message;
    sink({ kind: 'address', name, family, address, prefixLength, global, present });
  }

  #emitRoute(route: KnownRoute, present: boolean, sink: LinkSink): void {
    const name = this.#links.get(route.hop.index)?.message.name;
    if (name === undefined) return;
    const { family, destination, prefixLength, metric } = route.message;
    const { gateway } = route.hop;
    const event = { kind: 'route', family, destination, prefixLength, name, metric, present } as const;
    sink(gateway === undefined ? event : { ...event, gateway });
  }
}

function routeKey(message: RouteMessage): string {
  const { family, prefixLength, tos, metric, destination } = message;
  return `${family} ${prefixLength} ${tos} ${metric} ${destination.join('.')}`;
}

function sameHop(a: Hop, b: Hop): boolean {
  return a.index === b.index && sameBytes(a.gateway, b.gateway);
}

function interfaceEvent(message: LinkMessage): LinkEvent {
  const { name, index, up, carrier, operState, mtu, hardware } = message;
  const event = { kind: 'interface', name, index, up, carrier, operState, mtu } as const;
  return hardware === undefined ? event : { ...event, hardware };
}

function sameLink(a: LinkMessage, b: LinkMessage): boolean {
  const isStateSame = a.up === b.up && a.carrier === b.carrier && a.operState === b.operState;
  return a.name === b.name && isStateSame && a.mtu === b.mtu && sameBytes(a.hardware, b.hardware);
}
