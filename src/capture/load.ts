/**
 * Brings a captured IP packet into the shape in which a gateway would have read it: link-layer padding cut off, what the snap
 * length took away made up by zeros, and the checksum right where the capture spoiled it. The engine believes no packet whose
 * checksum is wrong, and a capture is no reason for that:
 *
 * - where payload is missing, the checksum cannot be right, and is computed anew;
 * - a machine that leaves checksums to its network card captures what it sends with the pseudo-header's sum only.
 *
 * A checksum that is wrong in any other way stays wrong.
 */
import { finish, pseudoSum, sum16 } from '../wire/checksum.ts';
import { KIND_MALFORMED, KIND_TCP, type Packet, PROTOCOL_TCP } from '../wire/packet.ts';
import { TCP_CHECKSUM } from '../wire/tcp.ts';

export interface Loaded {
  /** Of the whole packet, as its IP header says; what the engine is given. */
  length: number;
  /** Of it, bytes that the capture has. */
  kept: number;
  /** A checksum was computed anew; otherwise the first `kept` bytes are those of the capture. */
  isMended: boolean;
}

/** Length that the IP header states, or `kept` where it states none that can be. */
function statedLength(bytes: Uint8Array, at: number, kept: number): number {
  const version = bytes[at]! >>> 4;
  if (version === 4) return kept >= 20 ? (bytes[at + 2]! << 8) | bytes[at + 3]! : kept;
  return kept >= 40 ? 40 + ((bytes[at + 4]! << 8) | bytes[at + 5]!) : kept;
}

/**
 * @param target where the packet goes, at `offset`; `room` bytes are free there
 * @param packet a decoder attached to `target`; decodes the result as a side effect
 * @param ip the IP packet as captured
 * @param isTruncated the capture has less of the frame than was on the wire
 * @returns false when it does not fit
 */
export function load(
  target: Uint8Array,
  offset: number,
  room: number,
  packet: Packet,
  ip: Uint8Array,
  isTruncated: boolean,
  result: Loaded,
): boolean {
  const stated = statedLength(ip, 0, ip.length);
  if (ip.length > room || stated > room) return false;
  result.isMended = false;
  result.kept = stated >= 20 ? Math.min(ip.length, stated) : ip.length;
  target.set(result.kept === ip.length ? ip : ip.subarray(0, result.kept), offset);
  result.length = result.kept;
  if (isTruncated && stated > result.kept) {
    target.fill(0, offset + result.kept, offset + stated);
    result.length = stated;
  }
  const kind = packet.parse(offset, result.length, 0);
  const isMissing = kind === KIND_MALFORMED || packet.payloadAt - offset > result.kept;
  if (result.length > result.kept && isMissing) {
    // Not even the headers are there: nothing was made up that means anything.
    result.length = result.kept;
    packet.parse(offset, result.length, 0);
    return true;
  }
  if (kind === KIND_TCP) result.isMended = mendChecksum(packet, result.length > result.kept);
  return true;
}

/** @returns whether there was anything to mend */
function mendChecksum(packet: Packet, force: boolean): boolean {
  const { view, bytes, tcpAt, end } = packet;
  const pseudo = pseudoSum(bytes, packet.srcAt, packet.family, PROTOCOL_TCP, end - tcpAt);
  const at = tcpAt + TCP_CHECKSUM;
  if (!force && view.getUint16(at) !== pseudo) return false;
  view.setUint16(at, 0);
  view.setUint16(at, finish(sum16(bytes, tcpAt, end, pseudo)));
  return true;
}
