/** IPv4 (RFC 791) behind `Packet`, and the emission of its header. */
import { finish, sum16 } from './checksum.ts';
import {
  KIND_FRAGMENT,
  KIND_MALFORMED,
  KIND_OTHER,
  KIND_TCP,
  MALFORMED_IP_HEADER_LENGTH,
  MALFORMED_IP_TOTAL_LENGTH,
  MALFORMED_IP_TRUNCATED,
  PROTOCOL_TCP,
} from './kinds.ts';
import type { Packet } from './packet.ts';
import { GSO_ECN, GSO_TCPV4 } from './virtio.ts';

export const IPV4_HEADER_LENGTH = 20;
/** Offset of the header checksum. */
export const IPV4_CHECKSUM = 10;
/** More-fragments bit and offset of the flags word. */
const FRAGMENT_MASK = 0x3fff;
const DONT_FRAGMENT = 0x4000;

/**
 * Reads the IPv4 header at `p.ipAt`.
 *
 * @param limit one past the last byte that may be read
 * @returns KIND_TCP when a TCP header should follow at `p.payloadAt`, else the packet's final kind
 */
export function parseIpv4(p: Packet, limit: number): number {
  const view = p.view;
  const at = p.ipAt;
  const room = limit - at;
  if (room < IPV4_HEADER_LENGTH) {
    p.reason = MALFORMED_IP_TRUNCATED;
    return KIND_MALFORMED;
  }
  const headerLength = (view.getUint8(at) & 0x0f) << 2;
  if (headerLength < IPV4_HEADER_LENGTH || headerLength > room) {
    p.reason = MALFORMED_IP_HEADER_LENGTH;
    return KIND_MALFORMED;
  }
  let totalLength = view.getUint16(at + 2);
  // Linux writes 0 for a super-packet longer than 65535 bytes (iph_set_totlen in include/linux/ip.h).
  if (totalLength === 0 && (p.gsoType & ~GSO_ECN) === GSO_TCPV4) totalLength = room;
  if (totalLength < headerLength || totalLength > room) {
    p.reason = MALFORMED_IP_TOTAL_LENGTH;
    return KIND_MALFORMED;
  }
  p.family = 4;
  p.end = at + totalLength;
  p.trafficClass = view.getUint8(at + 1);
  p.ttl = view.getUint8(at + 8);
  p.protocol = view.getUint8(at + 9);
  p.srcAt = at + 12;
  p.dstAt = at + 16;
  p.payloadAt = at + headerLength;
  p.payloadLength = totalLength - headerLength;
  if ((view.getUint16(at + 6) & FRAGMENT_MASK) !== 0) return KIND_FRAGMENT;
  if (p.protocol !== PROTOCOL_TCP) return KIND_OTHER;
  if (headerLength > IPV4_HEADER_LENGTH && hasSourceRoute(view, at + IPV4_HEADER_LENGTH, p.payloadAt)) {
    return KIND_OTHER;
  }
  return KIND_TCP;
}

/**
 * Whether a loose or strict source route (options 131 and 137) is among the options: the destination field then names
 * a waypoint and not the endpoint, so the packet belongs to no flow that could be tracked by its addresses.
 */
function hasSourceRoute(view: DataView, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const kind = view.getUint8(at);
    if (kind === 0) return false;
    if (kind === 1) {
      at += 1;
      continue;
    }
    if (kind === 131 || kind === 137) return true;
    const length = at + 1 < to ? view.getUint8(at + 1) : 0;
    if (length < 2) return false;
    at += length;
  }
  return false;
}

/**
 * Writes a 20-byte header with a right checksum; the addresses are stored as given. Don't Fragment is set, as on every
 * TCP segment of a stack that does path MTU discovery (RFC 1191).
 *
 * @param totalLength header included, 20 .. 65535
 * @param src int32, the address as a big-endian load
 */
export function emitIpv4Header(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  totalLength: number,
  protocol: number,
  trafficClass: number,
  ttl: number,
  ipId: number,
  src: number,
  dst: number,
): void {
  view.setUint8(at, 0x45);
  view.setUint8(at + 1, trafficClass);
  view.setUint16(at + 2, totalLength);
  view.setUint16(at + 4, ipId);
  view.setUint16(at + 6, DONT_FRAGMENT);
  view.setUint8(at + 8, ttl);
  view.setUint8(at + 9, protocol);
  view.setUint16(at + IPV4_CHECKSUM, 0);
  view.setInt32(at + 12, src);
  view.setInt32(at + 16, dst);
  refreshIpv4Checksum(bytes, view, at);
}

/** Recomputes the header checksum of the IPv4 header at `at` over the length that it states. */
export function refreshIpv4Checksum(bytes: Uint8Array, view: DataView, at: number): void {
  view.setUint16(at + IPV4_CHECKSUM, 0);
  const headerLength = (view.getUint8(at) & 0x0f) << 2;
  view.setUint16(at + IPV4_CHECKSUM, finish(sum16(bytes, at, at + headerLength)));
}
