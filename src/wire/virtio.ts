/**
 * The virtio-net header that a TUN device with IFF_VNET_HDR puts before each datagram (struct virtio_net_hdr in
 * include/uapi/linux/virtio_net.h; without VIRTIO_NET_F_MRG_RXBUF it has 10 bytes):
 *
 *     0 u8 flags   1 u8 gso_type   2 u16 hdr_len   4 u16 gso_size   6 u16 csum_start   8 u16 csum_offset
 *
 * The 16-bit fields are in the byte order of the host, unless TUNSETVNETLE or TUNSETVNETBE was called
 * (tun_is_little_endian in drivers/net/tun.c). Every function takes the order as its last parameter; the default is the
 * host's own, and the gateway never calls those two ioctls.
 */
import { NATIVE_LITTLE_ENDIAN } from './checksum.ts';

export const VNET_HEADER_LENGTH = 10;

/** The transport checksum is partial: to be completed from csum_start, stored at csum_start + csum_offset. */
export const VNET_F_NEEDS_CSUM = 1;
/** The transport checksum has been verified by a device. */
export const VNET_F_DATA_VALID = 2;

export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_UDP = 3;
export const GSO_TCPV6 = 4;
/** Or-ed to the type: the super-packet has CWR set, to be kept on its first segment only. */
export const GSO_ECN = 0x80;

/** Offsets within the header. */
export const VNET_FLAGS = 0;
export const VNET_GSO_TYPE = 1;
export const VNET_HDR_LEN = 2;
export const VNET_GSO_SIZE = 4;
export const VNET_CSUM_START = 6;
export const VNET_CSUM_OFFSET = 8;

/** Reusable decoded header. All lengths are in bytes; `csumStart` counts from the end of this header. */
export class VnetHeader {
  flags = 0;
  gsoType = GSO_NONE;
  hdrLen = 0;
  gsoSize = 0;
  csumStart = 0;
  csumOffset = 0;

  /** Reads ten bytes at `at`, which the caller knows to exist. */
  parse(view: DataView, at: number, littleEndian: boolean = NATIVE_LITTLE_ENDIAN): void {
    this.flags = view.getUint8(at + VNET_FLAGS);
    this.gsoType = view.getUint8(at + VNET_GSO_TYPE);
    this.hdrLen = view.getUint16(at + VNET_HDR_LEN, littleEndian);
    this.gsoSize = view.getUint16(at + VNET_GSO_SIZE, littleEndian);
    this.csumStart = view.getUint16(at + VNET_CSUM_START, littleEndian);
    this.csumOffset = view.getUint16(at + VNET_CSUM_OFFSET, littleEndian);
  }

  /** Writes ten bytes at `at`. */
  emit(view: DataView, at: number, littleEndian: boolean = NATIVE_LITTLE_ENDIAN): void {
    view.setUint8(at + VNET_FLAGS, this.flags);
    view.setUint8(at + VNET_GSO_TYPE, this.gsoType);
    view.setUint16(at + VNET_HDR_LEN, this.hdrLen, littleEndian);
    view.setUint16(at + VNET_GSO_SIZE, this.gsoSize, littleEndian);
    view.setUint16(at + VNET_CSUM_START, this.csumStart, littleEndian);
    view.setUint16(at + VNET_CSUM_OFFSET, this.csumOffset, littleEndian);
  }
}

/** A header that asks for nothing: the packet is plain and its checksums are complete. */
export function emitPlainVnet(view: DataView, at: number): void {
  view.setInt32(at, 0);
  view.setInt32(at + 4, 0);
  view.setInt16(at + 8, 0);
}

/**
 * The header of a TCP super-packet whose checksum field holds the pseudo-header sum.
 *
 * @param ipHeaderLength bytes before the TCP header, 20 .. 65535
 * @param tcpHeaderLength 20 .. 60
 * @param gsoSize payload bytes per segment, 1 .. 65535
 */
export function emitTcpGsoVnet(
  view: DataView,
  at: number,
  family: number,
  ipHeaderLength: number,
  tcpHeaderLength: number,
  gsoSize: number,
  ecn: boolean,
  littleEndian: boolean = NATIVE_LITTLE_ENDIAN,
): void {
  view.setUint8(at + VNET_FLAGS, VNET_F_NEEDS_CSUM);
  view.setUint8(at + VNET_GSO_TYPE, (family === 4 ? GSO_TCPV4 : GSO_TCPV6) | (ecn ? GSO_ECN : 0));
  view.setUint16(at + VNET_HDR_LEN, ipHeaderLength + tcpHeaderLength, littleEndian);
  view.setUint16(at + VNET_GSO_SIZE, gsoSize, littleEndian);
  view.setUint16(at + VNET_CSUM_START, ipHeaderLength, littleEndian);
  view.setUint16(at + VNET_CSUM_OFFSET, 16, littleEndian);
}
