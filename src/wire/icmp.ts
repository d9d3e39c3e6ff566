/** ICMP for IPv4 (RFC 792) and the decoder of quoted packets that both families share. */
import { finish, sum16 } from './checksum.ts';
import { locateIcmpv6Quote, parseIcmpv6Head } from './icmpv6.ts';
import { IPV4_HEADER_LENGTH } from './ipv4.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from './kinds.ts';

/** Type, code, checksum and the four bytes that depend on the type; the quote follows. */
export const ICMP_HEADER_LENGTH = 8;

export const ICMP_UNREACHABLE = 3;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;
/** Code of type 3: fragmentation needed and DF set; carries the next-hop MTU (RFC 1191 section 4). */
export const ICMP_CODE_FRAGMENTATION_NEEDED = 4;

/** Ports and sequence number: what even a router of RFC 792 quotes of a TCP header. */
const QUOTED_TRANSPORT_MIN = 8;

/**
 * Reusable decoder of an ICMP or ICMPv6 error. Offsets are absolute in the view that was parsed. Nothing here says that
 * the message is genuine: that the quoted sequence number lies in flight is for the flow's owner to check (RFC 5927 4.1).
 */
export class IcmpError {
  family: 4 | 6 = 4;
  type = 0;
  code = 0;
  /** Next-hop MTU of "fragmentation needed" or "packet too big", as stated; 0 when the message has none. */
  mtu = 0;
  /** Offsets of the addresses of the quoted packet: `srcAt` is whom the message is meant for. */
  srcAt = 0;
  dstAt = 0;
  /** Upper-layer protocol of the quoted packet. */
  protocol = 0;
  /** 0 unless the quoted packet is TCP or UDP. */
  srcPort = 0;
  dstPort = 0;
  /** int32; valid if `hasSeq`: TCP, and the quote reaches that far. */
  seq = 0;
  hasSeq = false;

  /**
   * Reads the ICMP message in `[at, end)`, i.e. from `Packet.payloadAt` to `Packet.end`. The quote may be cut off
   * anywhere behind its ports. Informational messages and redirects are no errors.
   *
   * @returns whether it is an error that quotes an unfragmented (or first) packet with readable addresses and, for TCP
   *   and UDP, ports; if not, the fields mean nothing
   */
  parse(view: DataView, at: number, end: number, family: 4 | 6): boolean {
    this.mtu = 0;
    this.srcPort = 0;
    this.dstPort = 0;
    this.seq = 0;
    this.hasSeq = false;
    if (end > view.byteLength || at < 0 || end - at < ICMP_HEADER_LENGTH) return false;
    this.family = family;
    this.type = view.getUint8(at);
    this.code = view.getUint8(at + 1);
    const quoteAt = at + ICMP_HEADER_LENGTH;
    let transportAt: number;
    if (family === 4) {
      if (!this.#parseHead(view, at)) return false;
      transportAt = this.#locateQuote(view, quoteAt, end);
    } else {
      if (!parseIcmpv6Head(this, view, at)) return false;
      transportAt = locateIcmpv6Quote(this, view, quoteAt, end);
    }
    if (transportAt < 0) return false;
    if (this.protocol !== PROTOCOL_TCP && this.protocol !== PROTOCOL_UDP) return true;
    if (end - transportAt < 4) return false;
    this.srcPort = view.getUint16(transportAt);
    this.dstPort = view.getUint16(transportAt + 2);
    if (this.protocol === PROTOCOL_TCP && end - transportAt >= QUOTED_TRANSPORT_MIN) {
      this.seq = view.getInt32(transportAt + 4);
      this.hasSeq = true;
    }
    return true;
  }

  #parseHead(view: DataView, at: number): boolean {
    const type = this.type;
    if (type === ICMP_UNREACHABLE) {
      if (this.code === ICMP_CODE_FRAGMENTATION_NEEDED) this.mtu = view.getUint16(at + 6);
      return true;
    }
    return type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM;
  }

  /** Offset of the quoted transport header, or -1. */
  #locateQuote(view: DataView, at: number, end: number): number {
    if (end - at < IPV4_HEADER_LENGTH) return -1;
    const first = view.getUint8(at);
    const headerLength = (first & 0x0f) << 2;
    if (first >>> 4 !== 4 || headerLength < IPV4_HEADER_LENGTH || headerLength > end - at) return -1;
    // Behind a fragment offset there are no ports.
    if ((view.getUint16(at + 6) & 0x1fff) !== 0) return -1;
    this.protocol = view.getUint8(at + 9);
    this.srcAt = at + 12;
    this.dstAt = at + 16;
    return at + headerLength;
  }
}

/** Whether the checksum of the ICMP (not ICMPv6) message in `[at, end)` is right. */
export function icmpChecksumIsRight(bytes: Uint8Array, at: number, end: number): boolean {
  return sum16(bytes, at, end) === 0xffff;
}

/** Writes type, code, a zero word and the checksum around a quote that already stands in `[at + 8, end)`. */
export function emitIcmpHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  type: number,
  code: number,
): void {
  view.setUint16(at, (type << 8) | (code & 0xff));
  view.setUint16(at + 2, 0);
  view.setInt32(at + 4, 0);
  view.setUint16(at + 2, finish(sum16(bytes, at, end)));
}
