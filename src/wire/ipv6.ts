/** IPv6 with extension headers (RFC 8200) behind `Packet`, and the emission of its header. */
import {
  KIND_FRAGMENT,
  KIND_MALFORMED,
  KIND_OTHER,
  KIND_TCP,
  MALFORMED_IP_TOTAL_LENGTH,
  MALFORMED_IP_TRUNCATED,
  MALFORMED_IPV6_EXTENSION,
  PROTOCOL_TCP,
} from './kinds.ts';
import type { Packet } from './packet.ts';
import { GSO_ECN, GSO_TCPV6 } from './virtio.ts';

export const IPV6_HEADER_LENGTH = 40;

export const NEXT_HOP_BY_HOP = 0;
export const NEXT_ROUTING = 43;
export const NEXT_FRAGMENT = 44;
export const NEXT_DESTINATION = 60;

/** RFC 8200 4.1 knows six in order; a longer chain serves only to exhaust parsers. */
const MAX_EXTENSIONS = 8;

/**
 * Reads the IPv6 header at `p.ipAt` and walks its extension headers. Authentication (51) and encapsulation (50) end
 * the walk as KIND_OTHER: what follows is protected or unreadable.
 *
 * @param limit one past the last byte that may be read
 * @returns KIND_TCP when a TCP header should follow at `p.payloadAt`, else the packet's final kind
 */
export function parseIpv6(p: Packet, limit: number): number {
  const view = p.view;
  const at = p.ipAt;
  const room = limit - at - IPV6_HEADER_LENGTH;
  if (room < 0) {
    p.reason = MALFORMED_IP_TRUNCATED;
    return KIND_MALFORMED;
  }
  let payload = view.getUint16(at + 4);
  // 0 is a jumbogram (RFC 2675); between TUN and us it can only be a super-packet beyond 65535 bytes. Otherwise it
  // means what it says: no payload.
  if (payload === 0 && (p.gsoType & ~GSO_ECN) === GSO_TCPV6) payload = room;
  if (payload > room) {
    p.reason = MALFORMED_IP_TOTAL_LENGTH;
    return KIND_MALFORMED;
  }
  const word = view.getInt32(at);
  p.family = 6;
  p.trafficClass = (word >>> 20) & 0xff;
  p.flowLabel = word & 0xfffff;
  p.ttl = view.getUint8(at + 7);
  p.srcAt = at + 8;
  p.dstAt = at + 24;
  const end = at + IPV6_HEADER_LENGTH + payload;
  p.end = end;

  let next = view.getUint8(at + 6);
  let cursor = at + IPV6_HEADER_LENGTH;
  let kind = KIND_TCP;
  for (let count = 0; next !== PROTOCOL_TCP && kind === KIND_TCP; count += 1) {
    const walkable =
      next === NEXT_HOP_BY_HOP || next === NEXT_ROUTING || next === NEXT_FRAGMENT || next === NEXT_DESTINATION;
    if (!walkable) {
      kind = KIND_OTHER;
      break;
    }
    // Hop-by-hop options stand directly behind the fixed header or nowhere (RFC 8200 4.3).
    const misplaced = next === NEXT_HOP_BY_HOP && count > 0;
    if (misplaced || count === MAX_EXTENSIONS || end - cursor < 8) {
      p.reason = MALFORMED_IPV6_EXTENSION;
      return KIND_MALFORMED;
    }
    if (next === NEXT_FRAGMENT) {
      // Offset or more-fragments set; both zero is an atomic fragment (RFC 6946), a whole packet.
      if ((view.getUint16(cursor + 2) & 0xfff9) !== 0) kind = KIND_FRAGMENT;
      next = view.getUint8(cursor);
      cursor += 8;
      continue;
    }
    const length = (view.getUint8(cursor + 1) + 1) << 3;
    if (length > end - cursor) {
      p.reason = MALFORMED_IPV6_EXTENSION;
      return KIND_MALFORMED;
    }
    // With segments left, the destination field names a waypoint and not the endpoint.
    if (next === NEXT_ROUTING && view.getUint8(cursor + 3) !== 0) kind = KIND_OTHER;
    next = view.getUint8(cursor);
    cursor += length;
  }
  p.protocol = next;
  p.payloadAt = cursor;
  p.payloadLength = end - cursor;
  return kind;
}

/**
 * Writes the fixed 40-byte header.
 *
 * @param payloadLength bytes behind this header, 0 .. 65535
 * @param addresses big-endian words; `src` and `dst` index the first of four each
 */
export function emitIpv6Header(
  view: DataView,
  at: number,
  payloadLength: number,
  nextHeader: number,
  trafficClass: number,
  flowLabel: number,
  hopLimit: number,
  addresses: Int32Array,
  src: number,
  dst: number,
): void {
  view.setInt32(at, 0x60000000 | ((trafficClass & 0xff) << 20) | (flowLabel & 0xfffff));
  view.setUint16(at + 4, payloadLength);
  view.setUint8(at + 6, nextHeader);
  view.setUint8(at + 7, hopLimit);
  for (let i = 0; i < 4; i += 1) {
    view.setInt32(at + 8 + 4 * i, addresses[src + i]);
    view.setInt32(at + 24 + 4 * i, addresses[dst + i]);
  }
}
