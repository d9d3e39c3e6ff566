/**
 * The decoder of everything that passes the gateway: one object, re-pointed at each packet, nothing allocated. It reads
 * nothing outside the packet it was given and never throws, whatever the bytes are.
 */
import { NATIVE_LITTLE_ENDIAN } from './checksum.ts';
import { parseIpv4 } from './ipv4.ts';
import { parseIpv6 } from './ipv6.ts';
import {
  KIND_MALFORMED,
  KIND_TCP,
  MALFORMED_BOUNDS,
  MALFORMED_IP_VERSION,
  MALFORMED_NONE,
  MALFORMED_VNET_OFFLOAD,
  MALFORMED_VNET_TRUNCATED,
} from './kinds.ts';
import { parseTcp, TCP_CHECKSUM } from './tcp.ts';
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  VNET_CSUM_OFFSET,
  VNET_CSUM_START,
  VNET_F_NEEDS_CSUM,
  VNET_FLAGS,
  VNET_GSO_SIZE,
  VNET_GSO_TYPE,
} from './virtio.ts';

export * from './kinds.ts';

const NO_BUFFER = new ArrayBuffer(0);

/**
 * Offsets are absolute in the attached buffer; -1 means absent. 32-bit fields are int32. Fields are written by `parse`
 * and by the functions of rewrite.ts and gso.ts, which keep them in step with the bytes.
 */
export class Packet {
  view: DataView = new DataView(NO_BUFFER);
  bytes: Uint8Array = new Uint8Array(NO_BUFFER);

  /** First byte as read, virtio-net header included, and the number of bytes read. */
  start = 0;
  length = 0;
  /** 10 or 0. */
  vnetLength = 0;
  /** A MALFORMED_ code. */
  reason: number = MALFORMED_NONE;

  ipAt = 0;
  /** One past the IP datagram by its own length; bytes behind it are padding. */
  end = 0;
  family: 4 | 6 = 4;
  /** Upper-layer protocol, behind all extension headers that could be walked. */
  protocol = 0;
  srcAt = 0;
  dstAt = 0;
  /** DSCP and ECN. */
  trafficClass = 0;
  /** Or hop limit. */
  ttl = 0;
  flowLabel = 0;

  tcpAt = -1;
  tcpHeaderLength = 0;
  /** For KIND_OTHER and KIND_FRAGMENT: what follows the last IP header that was walked. */
  payloadAt = 0;
  payloadLength = 0;
  srcPort = 0;
  dstPort = 0;
  seq = 0;
  /** Meaningful with ACK set only. */
  ack = 0;
  /** Low 8 bits of the header, and AE as 0x100. */
  flags = 0;
  /** As in the header, not scaled. */
  window = 0;
  urgent = 0;
  /** SEG.LEN: payload, SYN and FIN (RFC 9293 3.3.1). */
  segLength = 0;

  mss = -1;
  /** 0 .. 14. */
  windowScale = -1;
  sackPermitted = false;
  /** Offset of TSval; TSecr follows it. */
  tsAt = -1;
  tsVal = 0;
  tsEcr = 0;
  /** Offset of the first block; the option starts two bytes earlier. */
  sackAt = -1;
  sackCount = 0;
  /** RFC 5482, raw: bit 15 is the granularity (1: minutes). */
  userTimeout = -1;
  fastOpen = false;
  md5 = false;
  ao = false;
  mptcp = false;
  /** The list ended wrongly or a known option had a wrong length; what could be read was. */
  optionsMalformed = false;

  /** The TCP checksum is partial: its field holds the pseudo-header sum. */
  needsChecksum = false;
  /** GSO_ constant of virtio.ts, GSO_ECN included. */
  gsoType: number = GSO_NONE;
  /** Payload bytes per segment of a super-packet. */
  gsoSize = 0;

  /** Points the decoder at another buffer. Allocates two views; not for every packet. */
  attach(buffer: ArrayBuffer): void {
    if (this.bytes.buffer === buffer) return;
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  /**
   * Decodes one packet. Trailing bytes beyond the length that the IP header states are ignored; fewer bytes than it
   * states are malformed. Checksums are not verified here (see `verifyChecksums`): the kernel did.
   *
   * @param offset first byte in the attached buffer
   * @param length bytes read, virtio-net header included
   * @returns a KIND_ constant; with KIND_MALFORMED, `reason` says why
   */
  parse(offset: number, length: number, vnetHeaderLength: 0 | 10): number {
    this.#reset(offset, length, vnetHeaderLength);
    const limit = offset + length;
    if (offset < 0 || length < 0 || limit > this.bytes.length) return this.#malformed(MALFORMED_BOUNDS);
    const at = offset + vnetHeaderLength;
    if (at >= limit) return this.#malformed(MALFORMED_VNET_TRUNCATED);
    const view = this.view;
    if (vnetHeaderLength !== 0) {
      this.gsoType = view.getUint8(offset + VNET_GSO_TYPE);
      this.gsoSize = view.getUint16(offset + VNET_GSO_SIZE, NATIVE_LITTLE_ENDIAN);
      this.needsChecksum = (view.getUint8(offset + VNET_FLAGS) & VNET_F_NEEDS_CSUM) !== 0;
    }
    const version = view.getUint8(at) >>> 4;
    let kind: number;
    if (version === 4) kind = parseIpv4(this, limit);
    else if (version === 6) kind = parseIpv6(this, limit);
    else return this.#malformed(MALFORMED_IP_VERSION);
    if (kind !== KIND_TCP) return kind;
    kind = parseTcp(this);
    if (kind === KIND_TCP && vnetHeaderLength !== 0 && !this.#offloadAgrees()) {
      return this.#malformed(MALFORMED_VNET_OFFLOAD);
    }
    return kind;
  }

  /** A partial checksum must be the TCP one, and a super-packet a TCP one of the right family. */
  #offloadAgrees(): boolean {
    if (this.needsChecksum) {
      const base = this.start + this.vnetLength;
      const csumStart = this.view.getUint16(this.start + VNET_CSUM_START, NATIVE_LITTLE_ENDIAN);
      const csumOffset = this.view.getUint16(this.start + VNET_CSUM_OFFSET, NATIVE_LITTLE_ENDIAN);
      if (base + csumStart !== this.tcpAt || csumOffset !== TCP_CHECKSUM) return false;
    }
    const type = this.gsoType & ~GSO_ECN;
    return type === GSO_NONE || (type === (this.family === 4 ? GSO_TCPV4 : GSO_TCPV6) && this.gsoSize > 0);
  }

  #malformed(reason: number): number {
    this.reason = reason;
    return KIND_MALFORMED;
  }

  #reset(offset: number, length: number, vnetLength: number): void {
    this.start = offset;
    this.length = length;
    this.vnetLength = vnetLength;
    this.reason = MALFORMED_NONE;
    this.ipAt = offset + vnetLength;
    this.end = offset + vnetLength;
    this.family = 4;
    this.protocol = 0;
    this.srcAt = offset;
    this.dstAt = offset;
    this.trafficClass = 0;
    this.ttl = 0;
    this.flowLabel = 0;
    this.tcpAt = -1;
    this.tcpHeaderLength = 0;
    this.payloadAt = offset + vnetLength;
    this.payloadLength = 0;
    this.srcPort = 0;
    this.dstPort = 0;
    this.seq = 0;
    this.ack = 0;
    this.flags = 0;
    this.window = 0;
    this.urgent = 0;
    this.segLength = 0;
    this.mss = -1;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.tsAt = -1;
    this.tsVal = 0;
    this.tsEcr = 0;
    this.sackAt = -1;
    this.sackCount = 0;
    this.userTimeout = -1;
    this.fastOpen = false;
    this.md5 = false;
    this.ao = false;
    this.mptcp = false;
    this.optionsMalformed = false;
    this.needsChecksum = false;
    this.gsoType = GSO_NONE;
    this.gsoSize = 0;
  }
}
