/**
 * Which side of the gateway an address of a capture lies on. A capture has no routes, so they are inferred: what the user
 * names is LAN and everything else WAN; without that, of two endpoints the private one is LAN, and where that does not decide,
 * the one that opened the connection. What was decided for an address stays.
 */
import type { RouteEvent } from '../link/events.ts';
import { formatAddressBytes, type Prefix, parsePrefix, prefixContains } from '../wire/address.ts';
import type { Packet } from '../wire/packet.ts';
import { ACK, SYN } from '../wire/tcp-flags.ts';

export const LAN = 0;
export const WAN = 1;
export type Side = typeof LAN | typeof WAN;

/** Names of the two links, by side. */
export const LINK_NAMES: readonly [string, string] = ['lan0', 'wan0'];

/** RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 2.5.6, loopback. */
const PRIVATE: readonly Prefix[] = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '127.0.0.0/8',
  'fc00::/7',
  'fe80::/10',
].map((text) => parsePrefix(text)!);

/** Addresses that are told apart; the engine's route table has room for about this many. Later ones count as WAN. */
const MAX_ADDRESSES = 4_000;

const NO_ROUTES: readonly RouteEvent[] = [];

/** Below it, ports belong to services (RFC 6335 section 6). */
const SERVICE_PORTS = 1_024;

export class Sides {
  readonly #prefixes: readonly Prefix[];
  /** By the address itself (IPv4) or its text (IPv6). */
  readonly #known = new Map<number | string, Side>();
  /** Addresses found to be LAN, as text, in the order of their appearance. */
  readonly #lan: string[] = [];
  readonly #scratch4 = new Uint8Array(4);
  readonly #scratch16 = new Uint8Array(16);
  /** Decisions that rest on who opened the connection, or seems to have. */
  inferred = 0;

  /** @param prefixes the LAN, as the user names it; empty: infer it */
  constructor(prefixes: readonly Prefix[]) {
    this.#prefixes = prefixes;
  }

  /** Routes of the start: both default routes to the WAN, the named prefixes to the LAN. */
  routes(): RouteEvent[] {
    return [
      route({ family: 4, address: new Uint8Array(4), prefixLength: 0 }, WAN),
      route({ family: 6, address: new Uint8Array(16), prefixLength: 0 }, WAN),
      ...this.#prefixes.map((prefix) => route(prefix, LAN)),
    ];
  }

  /**
   * Decides for the endpoints of a TCP segment, before the engine sees it.
   * @returns the routes that follow from it
   */
  learn(packet: Packet): readonly RouteEvent[] {
    if (this.#prefixes.length > 0) return NO_ROUTES;
    const src = this.#key(packet, packet.srcAt);
    const dst = this.#key(packet, packet.dstAt);
    if (this.#known.has(src) && this.#known.has(dst)) return NO_ROUTES;
    if (this.#known.size + 2 > MAX_ADDRESSES) return NO_ROUTES;
    const isSrcLan = this.#isSourceLan(packet, this.#known.get(src), this.#known.get(dst));
    const routes: RouteEvent[] = [];
    for (const [key, at, isLan] of [
      [src, packet.srcAt, isSrcLan],
      [dst, packet.dstAt, !isSrcLan],
    ] as const) {
      if (this.#known.has(key)) continue;
      this.#known.set(key, isLan ? LAN : WAN);
      if (isLan) {
        const address = packet.bytes.slice(at, at + (packet.family === 4 ? 4 : 16));
        this.#lan.push(formatAddressBytes(address));
        routes.push(route({ family: packet.family, address, prefixLength: address.length * 8 }, LAN));
      }
    }
    return routes;
  }

  #isSourceLan(packet: Packet, src: Side | undefined, dst: Side | undefined): boolean {
    if (src !== undefined) return src === LAN;
    if (dst !== undefined) return dst !== LAN;
    const srcPrivate = isPrivate(this.#address(packet, packet.srcAt));
    const dstPrivate = isPrivate(this.#address(packet, packet.dstAt));
    if (srcPrivate !== dstPrivate) return srcPrivate;
    this.inferred++;
    const handshake = packet.flags & (SYN | ACK);
    if (handshake === SYN) return true;
    if (handshake === (SYN | ACK)) return false;
    // Mid-stream: a service port is the responder's; else who is heard first.
    return !(packet.srcPort < SERVICE_PORTS && packet.dstPort >= SERVICE_PORTS);
  }

  /** The side that the address at `at` lies on. */
  of(packet: Packet, at: number): Side {
    if (this.#prefixes.length === 0) return this.#known.get(this.#key(packet, at)) ?? WAN;
    const address = this.#address(packet, at);
    return this.#prefixes.some((prefix) => prefixContains(prefix, address)) ? LAN : WAN;
  }

  /** What counts as LAN, as text; at most `most` entries. */
  lanText(most: number): string {
    const names =
      this.#prefixes.length > 0
        ? this.#prefixes.map((prefix) => `${formatAddressBytes(prefix.address)}/${prefix.prefixLength}`)
        : this.#lan;
    const rest = names.length - most;
    return `${names.slice(0, most).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
  }

  #address(packet: Packet, at: number): Uint8Array {
    const scratch = packet.family === 4 ? this.#scratch4 : this.#scratch16;
    for (let i = 0; i < scratch.length; i++) scratch[i] = packet.bytes[at + i]!;
    return scratch;
  }

  #key(packet: Packet, at: number): number | string {
    return packet.family === 4 ? packet.view.getInt32(at) : formatAddressBytes(this.#address(packet, at));
  }
}

function isPrivate(address: Uint8Array): boolean {
  return PRIVATE.some((prefix) => prefixContains(prefix, address));
}

function route(prefix: Prefix, side: Side): RouteEvent {
  const { family, address, prefixLength } = prefix;
  return {
    kind: 'route',
    family,
    destination: address,
    prefixLength,
    name: LINK_NAMES[side],
    metric: 0,
    present: true,
  };
}
