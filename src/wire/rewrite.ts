/**
 * In-place changes to a parsed TCP packet. The checksum follows incrementally (RFC 1624 equation 3), also for options
 * at odd offsets, so a checksum that was wrong stays exactly as wrong and the addressee still notices. A partial
 * checksum covers the pseudo-header only and needs no change. The fields of the decoder follow the bytes.
 */
import { finish, fold, pseudoSum, sum16, swap16, update16, update32 } from './checksum.ts';
import { PROTOCOL_TCP } from './kinds.ts';
import type { Packet } from './packet.ts';
import { seqGt, seqLe, seqLt } from './seq.ts';
import { TCP_ACK, TCP_CHECKSUM, TCP_OFFSET_FLAGS, TCP_SEQ, TCP_WINDOW } from './tcp.ts';
import { FIN, FLAGS_MASK, SYN } from './tcp-flags.ts';
import { OPTION_NOP } from './tcp-options.ts';
import { GSO_ECN, GSO_NONE, VNET_CSUM_OFFSET, VNET_CSUM_START, VNET_F_NEEDS_CSUM, VNET_FLAGS } from './virtio.ts';

/** Replaces the 16-bit word at an even offset of the TCP header. */
function replace16(p: Packet, at: number, value: number): void {
  const view = p.view;
  if (!p.needsChecksum) {
    const checkAt = p.tcpAt + TCP_CHECKSUM;
    view.setUint16(checkAt, update16(view.getUint16(checkAt), view.getUint16(at), value));
  }
  view.setUint16(at, value);
}

/** Replaces a 32-bit value at any offset of the TCP header. */
function replace32(p: Packet, at: number, value: number): void {
  const view = p.view;
  if (!p.needsChecksum) {
    const checkAt = p.tcpAt + TCP_CHECKSUM;
    const check = view.getUint16(checkAt);
    const old = view.getInt32(at);
    if (((at - p.tcpAt) & 1) === 0) {
      view.setUint16(checkAt, update32(check, old, value));
    } else {
      // Moved by one byte, the same bytes contribute the swapped sum (RFC 1071 section 2 B).
      const oldSum = swap16(fold((old & 0xffff) + (old >>> 16)));
      const newSum = swap16(fold((value & 0xffff) + (value >>> 16)));
      view.setUint16(checkAt, update16(check, oldSum, newSum));
    }
  }
  view.setInt32(at, value);
}

/** @param seq int32 */
export function setSeq(p: Packet, seq: number): void {
  replace32(p, p.tcpAt + TCP_SEQ, seq);
  p.seq = seq | 0;
}

/** @param ack int32; the ACK flag is the caller's business */
export function setAck(p: Packet, ack: number): void {
  replace32(p, p.tcpAt + TCP_ACK, ack);
  p.ack = ack | 0;
}

/** @param raw window field as on the wire, 0 .. 65535 */
export function setWindow(p: Packet, raw: number): void {
  replace16(p, p.tcpAt + TCP_WINDOW, raw);
  p.window = raw;
}

/** Without a timestamps option nothing happens. @param value int32 */
export function setTsVal(p: Packet, value: number): void {
  if (p.tsAt < 0) return;
  replace32(p, p.tsAt, value);
  p.tsVal = value | 0;
}

/** Without a timestamps option nothing happens. @param value int32 */
export function setTsEcr(p: Packet, value: number): void {
  if (p.tsAt < 0) return;
  replace32(p, p.tsAt + 4, value);
  p.tsEcr = value | 0;
}

/** Sets all nine control bits; data offset and reserved bits stay. @param flags constants of tcp-flags.ts */
export function setFlags(p: Packet, flags: number): void {
  const at = p.tcpAt + TCP_OFFSET_FLAGS;
  const masked = flags & FLAGS_MASK;
  replace16(p, at, (p.view.getUint16(at) & ~FLAGS_MASK) | masked);
  p.flags = masked;
  p.segLength = p.payloadLength + ((masked & SYN) === 0 ? 0 : 1) + ((masked & FIN) === 0 ? 0 : 1);
}

/**
 * Drops the SACK blocks that lie wholly at or below `seq` (right edge <= seq, RFC 2018 section 3). The others move to
 * the front in their order; the space that becomes free, or the whole option when no block remains, is filled with NOPs,
 * so no header changes its length. A block that straddles `seq` stays as it is; see `clampSackBelow`.
 */
export function removeSackBelow(p: Packet, seq: number): void {
  filterSack(p, seq, false);
}

/**
 * As `removeSackBelow`, and a block that straddles `seq` gets `seq` as its left edge. To be used where the ACK field is
 * raised to `seq`: a left edge below the ACK field would read as a duplicate report (RFC 2883 section 4) and could make
 * the sender undo a recovery. A left edge equal to it is ignored by Linux (tcp_is_sackblock_valid) and harmless elsewhere.
 * @returns whether anything was changed
 */
export function clampSackBelow(p: Packet, seq: number): boolean {
  return filterSack(p, seq, true);
}

function filterSack(p: Packet, seq: number, clamp: boolean): boolean {
  if (p.sackAt < 0) return false;
  const view = p.view;
  const first = p.sackAt;
  const end = first + 8 * p.sackCount;
  let changes = false;
  for (let at = first; at < end; at += 8) {
    if (seqLe(view.getInt32(at + 4), seq) || (clamp && seqLt(view.getInt32(at), seq))) changes = true;
  }
  if (!changes) return false;
  // The changed region, from an even offset of the header, is summed before and after.
  const optionAt = first - 2;
  const from = optionAt - ((optionAt - p.tcpAt) & 1);
  const oldSum = p.needsChecksum ? 0 : sum16(p.bytes, from, end);
  let to = first;
  for (let at = first; at < end; at += 8) {
    const left = view.getInt32(at);
    const right = view.getInt32(at + 4);
    if (!seqGt(right, seq)) continue;
    view.setInt32(to, clamp && seqLt(left, seq) ? seq : left);
    view.setInt32(to + 4, right);
    to += 8;
  }
  const kept = (to - first) >> 3;
  if (kept === 0) {
    to = optionAt;
    p.sackAt = -1;
  } else {
    view.setUint8(optionAt + 1, 2 + 8 * kept);
  }
  for (; to < end; to += 1) view.setUint8(to, OPTION_NOP);
  p.sackCount = kept;
  if (!p.needsChecksum) {
    const checkAt = p.tcpAt + TCP_CHECKSUM;
    view.setUint16(checkAt, update16(view.getUint16(checkAt), oldSum, sum16(p.bytes, from, end)));
  }
  return true;
}

/**
 * Turns a partial checksum into a full one and takes the request back from the virtio-net header.
 *
 * @returns false for a super-packet, whose checksum has to stay partial, with nothing changed
 */
export function completeChecksum(p: Packet): boolean {
  if ((p.gsoType & ~GSO_ECN) !== GSO_NONE) return false;
  if (!p.needsChecksum) return true;
  const view = p.view;
  // The field already holds the pseudo-header sum, so summing over it adds just that.
  view.setUint16(p.tcpAt + TCP_CHECKSUM, finish(sum16(p.bytes, p.tcpAt, p.end)));
  view.setUint8(p.start + VNET_FLAGS, view.getUint8(p.start + VNET_FLAGS) & ~VNET_F_NEEDS_CSUM);
  view.setUint16(p.start + VNET_CSUM_START, 0);
  view.setUint16(p.start + VNET_CSUM_OFFSET, 0);
  p.needsChecksum = false;
  return true;
}

/**
 * Whether the IPv4 header checksum and the TCP checksum are right. With a partial checksum, whether its field holds the
 * pseudo-header sum over the whole (super-)packet, as the kernel expects it (tcp_gso_segment in net/ipv4/tcp_offload.c).
 */
export function verifyChecksums(p: Packet): boolean {
  const { view, bytes } = p;
  if (p.family === 4) {
    const headerLength = (view.getUint8(p.ipAt) & 0x0f) << 2;
    if (sum16(bytes, p.ipAt, p.ipAt + headerLength) !== 0xffff) return false;
  }
  const pseudo = pseudoSum(bytes, p.srcAt, p.family, PROTOCOL_TCP, p.end - p.tcpAt);
  if (p.needsChecksum) return view.getUint16(p.tcpAt + TCP_CHECKSUM) === pseudo;
  return sum16(bytes, p.tcpAt, p.end, pseudo) === 0xffff;
}
