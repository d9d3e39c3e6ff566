/**
 * Super-packets (GSO) as pure functions: split one into packets for the wire, cut a sequence range out of one, trim one
 * in place. What the kernel does in tcp_gso_segment (net/ipv4/tcp_offload.c), for memory that we own.
 *
 * Checksums of the results are computed afresh. A plain packet that arrived damaged would thereby leave as if it
 * were sound, so whoever keeps a packet to send parts of it later checks it with `verifyChecksums` when it arrives;
 * packets with a partial checksum have been verified by the kernel.
 */
import { finish, pseudoSum, sum16 } from './checksum.ts';
import { copyBytes } from './emit.ts';
import { refreshIpv4Checksum } from './ipv4.ts';
import { PROTOCOL_TCP } from './kinds.ts';
import type { Packet } from './packet.ts';
import { TCP_CHECKSUM, TCP_OFFSET_FLAGS, TCP_SEQ, TCP_URGENT } from './tcp.ts';
import { CWR, FIN, FLAGS_MASK, PSH, SYN, URG } from './tcp-flags.ts';
import { emitPlainVnet, emitTcpGsoVnet, GSO_ECN, GSO_NONE } from './virtio.ts';

/** Packets that a payload makes at `size` bytes each, size above 0; at least 1, since a bare header is a packet as well. */
export function segmentCount(payloadLength: number, size: number): number {
  return payloadLength <= size ? 1 : Math.ceil(payloadLength / size);
}

/**
 * Writes the `index`-th segment of `p` as a plain packet: its own sequence number, IPv4 identification counted up,
 * FIN and PSH on the last only, CWR on the first only, complete checksums.
 *
 * @param index 0 .. segmentCount - 1
 * @param size payload bytes per segment
 * @param at where in `bytes` (and `view`, over the same memory) to write, virtio-net header included; the output must
 *   not overlap the packet
 * @returns bytes written; 0, with nothing written, for an index out of range or when it does not fit
 */
export function emitSegment(
  p: Packet,
  index: number,
  size: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  vnetLength: 0 | 10,
): number {
  const from = index * size;
  if (index < 0 || size <= 0 || index >= segmentCount(p.payloadLength, size)) return 0;
  const to = Math.min(from + size, p.payloadLength);
  return emitPart(p, from, to, to === p.payloadLength, index, 0, bytes, view, at, vnetLength);
}

/**
 * Writes what of `p` lies in the sequence range [seqFrom, seqTo): SYN and FIN where the range includes their numbers.
 *
 * @param gsoSize a larger payload leaves as a super-packet of this segment size, which needs `vnetLength` 10; 0: plain
 * @returns bytes written; 0, with nothing written, when nothing lies in the range or it does not fit
 */
export function emitRange(
  p: Packet,
  seqFrom: number,
  seqTo: number,
  gsoSize: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  vnetLength: 0 | 10,
): number {
  const first = (seqFrom - p.seq) | 0;
  const last = (seqTo - p.seq) | 0;
  if (first >= last || first >= p.segLength || last <= 0) return 0;
  const from = payloadIndex(p, first);
  const to = payloadIndex(p, last);
  return emitPart(p, from, to, last >= p.segLength, 0, gsoSize, bytes, view, at, vnetLength, first <= 0);
}

/** Payload index of a distance from SEG.SEQ: SYN has the first number, FIN the one behind the payload. */
function payloadIndex(p: Packet, distance: number): number {
  const index = distance - ((p.flags & SYN) === 0 ? 0 : 1);
  return Math.max(0, Math.min(index, p.payloadLength));
}

/**
 * Cuts `p` down, in place, to the sequence range [seqFrom, seqTo). Its header moves up to the payload that remains,
 * so `p.start` may grow. A super-packet that now fits one segment becomes plain. `p` is decoded anew.
 *
 * @returns the new length (`p.length`); 0, with nothing changed, when nothing lies in the range
 */
export function trimToRange(p: Packet, seqFrom: number, seqTo: number): number {
  const first = (seqFrom - p.seq) | 0;
  const last = (seqTo - p.seq) | 0;
  if (first >= last || first >= p.segLength || last <= 0) return 0;
  if (first <= 0 && last >= p.segLength) return p.length;
  const from = payloadIndex(p, first);
  const to = payloadIndex(p, last);
  const vnetLength = p.vnetLength === 0 ? 0 : 10;
  const at = p.start + from;
  const { bytes, view } = p;
  const gsoSize = (p.gsoType & ~GSO_ECN) === GSO_NONE ? 0 : p.gsoSize;
  const length = emitPart(p, from, to, last >= p.segLength, 0, gsoSize, bytes, view, at, vnetLength, first <= 0);
  p.parse(at, length, vnetLength);
  return length;
}

/**
 * Writes headers and payload[from .. to) of `p`. Fields of `p` are read before the first write, and the header is
 * copied before anything is changed, so the target may be the packet itself, moved up by `from`.
 */
function emitPart(
  p: Packet,
  from: number,
  to: number,
  isEnd: boolean,
  idOffset: number,
  gsoSize: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  vnetLength: 0 | 10,
  isStart: boolean = from === 0,
): number {
  const headerLength = p.payloadAt - p.ipAt;
  const payloadLength = to - from;
  const total = vnetLength + headerLength + payloadLength;
  const gso = gsoSize > 0 && payloadLength > gsoSize;
  if (at + total > bytes.length || (gso && vnetLength === 0)) return 0;
  const ipAt = at + vnetLength;
  const tcpAt = ipAt + (p.tcpAt - p.ipAt);
  const end = ipAt + headerLength + payloadLength;
  const ecn = isStart && (p.flags & CWR) !== 0;
  const ipHeaderLength = p.tcpAt - p.ipAt;

  if (p.bytes !== bytes || ipAt !== p.ipAt) {
    // In place the payload stays where it is, and only the header moves, towards it.
    if (p.bytes !== bytes || ipAt + headerLength !== p.payloadAt + from) {
      copyBytes(bytes, ipAt + headerLength, p.bytes, p.payloadAt + from, p.payloadAt + to);
    }
    copyBytes(bytes, ipAt, p.bytes, p.ipAt, p.payloadAt);
  }
  if (gso) emitTcpGsoVnet(view, at, p.family, ipHeaderLength, p.tcpHeaderLength, gsoSize, ecn);
  else if (vnetLength !== 0) emitPlainVnet(view, at);

  if (p.family === 4) {
    view.setUint16(ipAt + 2, headerLength + payloadLength);
    view.setUint16(ipAt + 4, view.getUint16(ipAt + 4) + idOffset);
    refreshIpv4Checksum(bytes, view, ipAt);
  } else {
    view.setUint16(ipAt + 4, headerLength - 40 + payloadLength);
  }

  let flags = p.flags;
  // How far the first sequence number moves: SYN has one of its own.
  const moved = isStart ? 0 : from + ((flags & SYN) === 0 ? 0 : 1);
  if (!isStart) flags &= ~(SYN | CWR);
  if (!isEnd) flags &= ~(FIN | PSH);
  let urgent = p.urgent;
  if (moved > 0 && (flags & URG) !== 0) {
    // The pointer counts from SEG.SEQ (RFC 9293 3.8.5).
    urgent -= moved;
    if (urgent < 0) {
      urgent = 0;
      flags &= ~URG;
    }
  }
  view.setInt32(tcpAt + TCP_SEQ, (p.seq + moved) | 0);
  view.setUint16(tcpAt + TCP_OFFSET_FLAGS, (view.getUint16(tcpAt + TCP_OFFSET_FLAGS) & ~FLAGS_MASK) | flags);
  view.setUint16(tcpAt + TCP_URGENT, urgent);
  const srcAt = ipAt + (p.srcAt - p.ipAt);
  const pseudo = pseudoSum(bytes, srcAt, p.family, PROTOCOL_TCP, end - tcpAt);
  view.setUint16(tcpAt + TCP_CHECKSUM, 0);
  view.setUint16(tcpAt + TCP_CHECKSUM, gso ? pseudo : finish(sum16(bytes, tcpAt, end, pseudo)));
  return total;
}
