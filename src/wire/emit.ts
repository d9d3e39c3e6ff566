/**
 * Building packets from scratch, into memory that the caller owns. The specifications are reusable records: set the
 * fields, emit, set them again.
 */
import { finish, pseudoSum, sum16 } from './checksum.ts';
import { emitIcmpHeader, ICMP_HEADER_LENGTH, ICMP_UNREACHABLE } from './icmp.ts';
import { emitIcmpv6Header, ICMPV6_UNREACHABLE } from './icmpv6.ts';
import { emitIpv4Header, IPV4_HEADER_LENGTH } from './ipv4.ts';
import { emitIpv6Header, IPV6_HEADER_LENGTH } from './ipv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from './kinds.ts';
import { TCP_CHECKSUM, TCP_HEADER_LENGTH, TCP_MAX_HEADER_LENGTH } from './tcp.ts';
import { ACK, CWR, FLAGS_MASK } from './tcp-flags.ts';
import {
  OPTION_MSS,
  OPTION_NOP,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMPS,
  OPTION_USER_TIMEOUT,
  OPTION_WINDOW_SCALE,
} from './tcp-options.ts';
import { emitPlainVnet, emitTcpGsoVnet } from './virtio.ts';

export { loadAddress } from './address.ts';

/** IPv4 total length and IPv6 payload length are 16-bit. */
const IP_LENGTH_MAX = 65_535;

/** A TCP segment to be built. 32-bit values are int32. */
export class TcpSpec {
  /** 10 with IFF_VNET_HDR. */
  vnetLength: 0 | 10 = 0;
  family: 4 | 6 = 4;
  /** Big-endian words, one per IPv4 and four per IPv6 address; `srcAt` and `dstAt` index the first word of each. */
  addresses: Int32Array = new Int32Array(8);
  srcAt = 0;
  dstAt = 4;
  srcPort = 0;
  dstPort = 0;
  seq = 0;
  ack = 0;
  /** Constants of tcp-flags.ts, AE included. */
  flags: number = ACK;
  /** Raw, 0 .. 65535. */
  window = 0;
  urgent = 0;
  ttl = 64;
  trafficClass = 0;
  /** IPv6 only, 20 bits. */
  flowLabel = 0;
  /** IPv4 only, 16 bits. */
  ipId = 0;
  hasTs = false;
  tsVal = 0;
  tsEcr = 0;
  /** Options of SYN segments; -1 leaves them out. */
  mss = -1;
  windowScale = -1;
  sackPermitted = false;
  /** RFC 5482, raw 16 bits; -1 leaves it out. */
  userTimeout = -1;
  /** Pairs of left and right edges. */
  sack: Int32Array | null = null;
  sackCount = 0;
  /** Payload is `payload[payloadFrom .. payloadTo)`. */
  payload: Uint8Array | null = null;
  payloadFrom = 0;
  payloadTo = 0;
  /**
   * 0: a plain packet of any size. Above 0, a payload larger than this leaves as one super-packet with a partial checksum,
   * to be cut by the kernel; that needs `vnetLength` 10.
   */
  gsoSize = 0;
}

/** A destination-unreachable message to be built: ICMP type 3 (RFC 792) or ICMPv6 type 1 (RFC 4443 3.1). */
export class UnreachableSpec {
  vnetLength: 0 | 10 = 0;
  family: 4 | 6 = 4;
  /** As in `TcpSpec`; of the message itself, so the destination is who sent the quoted segment. */
  addresses: Int32Array = new Int32Array(8);
  srcAt = 0;
  dstAt = 4;
  /** 0 is network unreachable (IPv4) or no route (IPv6), which RFC 6069 counts as an indication. */
  code = 0;
  ttl = 64;
  ipId = 0;
  /** The quoted segment: addresses, ports, seq, ack, flags, window, ttl, trafficClass, ipId; options are not quoted. */
  quoted: TcpSpec = new TcpSpec();
}

/** Bytes of the options that `spec` asks for, padded to a multiple of four. */
function optionsLength(spec: TcpSpec): number {
  let length = 0;
  if (spec.mss >= 0) length += 4;
  if (spec.sackPermitted) length += 4;
  if (spec.hasTs) length += 12;
  if (spec.windowScale >= 0) length += 4;
  if (spec.userTimeout >= 0) length += 4;
  if (spec.sackCount > 0) length += 4 + 8 * spec.sackCount;
  return length;
}

/** Each option is padded in front with NOPs to whole words, so that all values are aligned. */
function emitOptions(view: DataView, from: number, spec: TcpSpec): void {
  let at = from;
  if (spec.mss >= 0) {
    view.setUint16(at, (OPTION_MSS << 8) | 4);
    view.setUint16(at + 2, spec.mss);
    at += 4;
  }
  if (spec.sackPermitted) {
    view.setInt32(at, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK_PERMITTED << 8) | 2);
    at += 4;
  }
  if (spec.hasTs) {
    view.setInt32(at, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_TIMESTAMPS << 8) | 10);
    view.setInt32(at + 4, spec.tsVal);
    view.setInt32(at + 8, spec.tsEcr);
    at += 12;
  }
  if (spec.windowScale >= 0) {
    view.setInt32(at, (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (3 << 8) | (spec.windowScale & 0xff));
    at += 4;
  }
  if (spec.userTimeout >= 0) {
    view.setUint16(at, (OPTION_USER_TIMEOUT << 8) | 4);
    view.setUint16(at + 2, spec.userTimeout);
    at += 4;
  }
  const sack = spec.sack;
  if (sack !== null && spec.sackCount > 0) {
    const words = 2 * spec.sackCount;
    view.setInt32(at, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK << 8) | (2 + 4 * words));
    at += 4;
    for (let i = 0; i < words; i += 1) view.setInt32(at + 4 * i, sack[i]);
  }
}

/** The fixed TCP header with a checksum field of zero. */
function emitTcpHeader(view: DataView, at: number, spec: TcpSpec, headerLength: number): void {
  view.setUint16(at, spec.srcPort);
  view.setUint16(at + 2, spec.dstPort);
  view.setInt32(at + 4, spec.seq);
  view.setInt32(at + 8, spec.ack);
  view.setUint16(at + 12, ((headerLength >> 2) << 12) | (spec.flags & FLAGS_MASK));
  view.setUint16(at + 14, spec.window);
  view.setUint16(at + TCP_CHECKSUM, 0);
  view.setUint16(at + 18, spec.urgent);
}

function emitIpOfTcp(bytes: Uint8Array, view: DataView, at: number, spec: TcpSpec, segmentLength: number): void {
  const { addresses, srcAt, dstAt } = spec;
  if (spec.family === 4) {
    const total = IPV4_HEADER_LENGTH + segmentLength;
    const src = addresses[srcAt];
    const dst = addresses[dstAt];
    emitIpv4Header(bytes, view, at, total, PROTOCOL_TCP, spec.trafficClass, spec.ttl, spec.ipId, src, dst);
  } else {
    const { trafficClass, flowLabel, ttl } = spec;
    emitIpv6Header(view, at, segmentLength, PROTOCOL_TCP, trafficClass, flowLabel, ttl, addresses, srcAt, dstAt);
  }
}

/**
 * Builds a TCP packet, with a virtio-net header in front when `spec.vnetLength` is 10. Plain packets have complete
 * checksums and an all-zero virtio-net header.
 *
 * @param bytes where to build it; `view` covers the same memory
 * @param at offset of the first byte, virtio-net header included
 * @returns bytes written, virtio-net header included; 0, with nothing written, when it does not fit: the memory, 40
 *   bytes of options, 65535 bytes of datagram, or a super-packet without a virtio-net header
 */
export function emitTcp(bytes: Uint8Array, view: DataView, at: number, spec: TcpSpec): number {
  const payload = spec.payload;
  const payloadLength = payload === null ? 0 : spec.payloadTo - spec.payloadFrom;
  const headerLength = TCP_HEADER_LENGTH + optionsLength(spec);
  const ipHeaderLength = spec.family === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
  const segmentLength = headerLength + payloadLength;
  const total = spec.vnetLength + ipHeaderLength + segmentLength;
  const gso = spec.gsoSize > 0 && payloadLength > spec.gsoSize;
  if (headerLength > TCP_MAX_HEADER_LENGTH || payloadLength < 0) return 0;
  if ((spec.family === 4 ? ipHeaderLength : 0) + segmentLength > IP_LENGTH_MAX) return 0;
  if (at + total > bytes.length || (gso && spec.vnetLength === 0)) return 0;

  const ipAt = at + spec.vnetLength;
  const tcpAt = ipAt + ipHeaderLength;
  if (gso) {
    const ecn = (spec.flags & CWR) !== 0;
    emitTcpGsoVnet(view, at, spec.family, ipHeaderLength, headerLength, spec.gsoSize, ecn);
  } else if (spec.vnetLength !== 0) {
    emitPlainVnet(view, at);
  }
  emitIpOfTcp(bytes, view, ipAt, spec, segmentLength);
  emitTcpHeader(view, tcpAt, spec, headerLength);
  emitOptions(view, tcpAt + TCP_HEADER_LENGTH, spec);
  if (payload !== null) copyBytes(bytes, tcpAt + headerLength, payload, spec.payloadFrom, spec.payloadTo);
  const srcAt = ipAt + (spec.family === 4 ? 12 : 8);
  const pseudo = pseudoSum(bytes, srcAt, spec.family, PROTOCOL_TCP, segmentLength);
  const check = gso ? pseudo : finish(sum16(bytes, tcpAt, tcpAt + segmentLength, pseudo));
  view.setUint16(tcpAt + TCP_CHECKSUM, check);
  return total;
}

/** Below this many bytes a loop is faster than making a view of the source. */
const SHORT_COPY_BYTES = 128;

/** Copies `source[from .. to)` to `target[at ..)`. Overlap within one buffer is handled. */
export function copyBytes(target: Uint8Array, at: number, source: Uint8Array, from: number, to: number): void {
  if (source === target) {
    target.copyWithin(at, from, to);
  } else if (to - from < SHORT_COPY_BYTES && source.buffer !== target.buffer) {
    for (let i = from, j = at; i < to; i += 1, j += 1) target[j] = source[i];
  } else {
    target.set(source.subarray(from, to), at);
  }
}

/**
 * Builds a destination-unreachable message that quotes the IP header and the first 20 bytes of TCP of `spec.quoted`. The
 * quoted header states the segment's real length (its payload included, of which nothing is quoted) and has right
 * checksums, so that address translation on the way can find and translate it.
 *
 * @returns bytes written, virtio-net header included; 0, with nothing written, when it does not fit
 */
export function emitUnreachable(bytes: Uint8Array, view: DataView, at: number, spec: UnreachableSpec): number {
  const { family, addresses, srcAt, dstAt, quoted } = spec;
  const ipHeaderLength = family === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
  const messageLength = ICMP_HEADER_LENGTH + ipHeaderLength + TCP_HEADER_LENGTH;
  const total = spec.vnetLength + ipHeaderLength + messageLength;
  const payloadLength = quoted.payload === null ? 0 : quoted.payloadTo - quoted.payloadFrom;
  if (at + total > bytes.length || quoted.family !== family || payloadLength < 0) return 0;
  if (ipHeaderLength + TCP_HEADER_LENGTH + payloadLength > IP_LENGTH_MAX) return 0;

  const ipAt = at + spec.vnetLength;
  const icmpAt = ipAt + ipHeaderLength;
  const end = icmpAt + messageLength;
  if (spec.vnetLength !== 0) emitPlainVnet(view, at);

  const quotedIpAt = icmpAt + ICMP_HEADER_LENGTH;
  const quotedTcpAt = quotedIpAt + ipHeaderLength;
  const quotedLength = TCP_HEADER_LENGTH + payloadLength;
  emitIpOfTcp(bytes, view, quotedIpAt, quoted, quotedLength);
  emitTcpHeader(view, quotedTcpAt, quoted, TCP_HEADER_LENGTH);
  const quotedSrcAt = quotedIpAt + (family === 4 ? 12 : 8);
  let sum = pseudoSum(bytes, quotedSrcAt, family, PROTOCOL_TCP, quotedLength);
  if (quoted.payload !== null) sum = sum16(quoted.payload, quoted.payloadFrom, quoted.payloadTo, sum);
  view.setUint16(quotedTcpAt + TCP_CHECKSUM, finish(sum16(bytes, quotedTcpAt, end, sum)));

  if (family === 4) {
    const length = ipHeaderLength + messageLength;
    const src = addresses[srcAt];
    const dst = addresses[dstAt];
    emitIpv4Header(bytes, view, ipAt, length, PROTOCOL_ICMP, 0, spec.ttl, spec.ipId, src, dst);
    emitIcmpHeader(bytes, view, icmpAt, end, ICMP_UNREACHABLE, spec.code);
  } else {
    emitIpv6Header(view, ipAt, messageLength, PROTOCOL_ICMPV6, 0, 0, spec.ttl, addresses, srcAt, dstAt);
    emitIcmpv6Header(bytes, view, ipAt + 8, icmpAt, end, ICMPV6_UNREACHABLE, spec.code);
  }
  return total;
}
