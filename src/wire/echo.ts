/** ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4): the gateway's own questions to next hops and hosts. Pure. */
import { finish, sum16 } from './checksum.ts';
import { ICMP_HEADER_LENGTH } from './icmp.ts';

const ICMP_ECHO_REPLY = 0;
const ICMP_ECHO_REQUEST = 8;
const ICMPV6_ECHO_REQUEST = 128;
const ICMPV6_ECHO_REPLY = 129;

/** Echoed data: a number that only this process knows, so that nobody who has not seen a question can answer it. */
export const ECHO_DATA_LENGTH = 8;
export const ECHO_LENGTH: number = ICMP_HEADER_LENGTH + ECHO_DATA_LENGTH;

/**
 * An echo request without IP header. The checksum of ICMPv6 is left zero: it covers the IPv6 header, and the kernel
 * writes it on raw sockets of that protocol (RFC 3542 3.1).
 * @param identifier 16 bits
 * @param sequence 16 bits
 * @param data ECHO_DATA_LENGTH bytes
 */
export function emitEchoRequest(family: 4 | 6, identifier: number, sequence: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ECHO_LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, family === 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST);
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  bytes.set(data.subarray(0, ECHO_DATA_LENGTH), ICMP_HEADER_LENGTH);
  if (family === 4) view.setUint16(2, finish(sum16(bytes, 0, bytes.length)));
  return bytes;
}

/**
 * The sequence number of an echo reply, or -1 where it is none, or not to this identifier and data.
 * @param bytes as a raw socket delivers it: with the IP header for IPv4, without for IPv6
 */
export function sequenceOfReply(family: 4 | 6, bytes: Uint8Array, identifier: number, data: Uint8Array): number {
  const at = family === 4 ? (bytes.length > 0 ? (bytes[0]! & 0x0f) << 2 : 0) : 0;
  if (bytes.length < at + ECHO_LENGTH || (family === 4 && at < 20)) return -1;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, ECHO_LENGTH);
  if (view.getUint16(0) !== (family === 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY) << 8) return -1;
  if (view.getUint16(4) !== identifier) return -1;
  for (let i = 0; i < ECHO_DATA_LENGTH; i++) if (view.getUint8(ICMP_HEADER_LENGTH + i) !== data[i]) return -1;
  return view.getUint16(6);
}
