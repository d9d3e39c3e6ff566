/** ICMPv6 (RFC 4443): its share of the error decoder, and the emission of its header. */
import { finish, pseudoSum, sum16 } from './checksum.ts';
import type { IcmpError } from './icmp.ts';
import { IPV6_HEADER_LENGTH, NEXT_DESTINATION, NEXT_FRAGMENT, NEXT_HOP_BY_HOP, NEXT_ROUTING } from './ipv6.ts';
import { PROTOCOL_ICMPV6 } from './kinds.ts';

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;

/** As many extension headers as the packet decoder walks. */
const MAX_EXTENSIONS = 8;

/** @returns whether `error.type` is an error whose quote can be read */
export function parseIcmpv6Head(error: IcmpError, view: DataView, at: number): boolean {
  if (error.type < ICMPV6_UNREACHABLE || error.type > ICMPV6_PARAMETER_PROBLEM) return false;
  // The field has 32 bits (RFC 4443 3.2); anything above 2^31 is no MTU of any link and stays a large number.
  if (error.type === ICMPV6_PACKET_TOO_BIG) error.mtu = view.getUint32(at + 4);
  return true;
}

/** Sets the addresses and protocol of the quoted packet. @returns offset of its transport header, or -1 */
export function locateIcmpv6Quote(error: IcmpError, view: DataView, at: number, end: number): number {
  if (end - at < IPV6_HEADER_LENGTH || view.getUint8(at) >>> 4 !== 6) return -1;
  error.srcAt = at + 8;
  error.dstAt = at + 24;
  let next = view.getUint8(at + 6);
  let cursor = at + IPV6_HEADER_LENGTH;
  for (let count = 0; count < MAX_EXTENSIONS; count += 1) {
    if (next === NEXT_FRAGMENT) {
      if (end - cursor < 8 || view.getUint16(cursor + 2) >>> 3 !== 0) return -1;
      next = view.getUint8(cursor);
      cursor += 8;
    } else if (next === NEXT_HOP_BY_HOP || next === NEXT_ROUTING || next === NEXT_DESTINATION) {
      if (end - cursor < 8) return -1;
      next = view.getUint8(cursor);
      cursor += (view.getUint8(cursor + 1) + 1) << 3;
      if (cursor > end) return -1;
    } else {
      error.protocol = next;
      return cursor;
    }
  }
  return -1;
}

/** Whether the checksum of the ICMPv6 message in `[at, end)` is right. @param srcAt offset of the packet's source address */
export function icmpv6ChecksumIsRight(bytes: Uint8Array, srcAt: number, at: number, end: number): boolean {
  return sum16(bytes, at, end, pseudoSum(bytes, srcAt, 6, PROTOCOL_ICMPV6, end - at)) === 0xffff;
}

/** Writes type, code, a zero word and the checksum around a quote that already stands in `[at + 8, end)`. */
export function emitIcmpv6Header(
  bytes: Uint8Array,
  view: DataView,
  srcAt: number,
  at: number,
  end: number,
  type: number,
  code: number,
): void {
  view.setUint16(at, (type << 8) | (code & 0xff));
  view.setUint16(at + 2, 0);
  view.setInt32(at + 4, 0);
  const pseudo = pseudoSum(bytes, srcAt, 6, PROTOCOL_ICMPV6, end - at);
  view.setUint16(at + 2, finish(sum16(bytes, at, end, pseudo)));
}
