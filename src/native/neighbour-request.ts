/**
 * Asking the kernel to probe a neighbour anew: RTM_NEWNEIGH with NUD_PROBE, as `ip neigh change ... nud probe` sends it. Pure.
 *
 * Without NLM_F_CREATE an entry that is gone stays gone, and without NLM_F_REPLACE nothing that is known to be valid is overridden,
 * the router flag of IPv6 included (neigh_add in net/core/neighbour.c).
 */
import { AF_INET, AF_INET6, align, LITTLE } from './netlink-attributes.ts';
import { RTM_NEWNEIGH } from './netlink-messages.ts';

const NLM_F_REQUEST = 1;
/** Dumps count from 1: an error with this number is about none of them. */
const SEQ = 0;
const HEADER = 16;
/** struct ndmsg {u8 family, u8 pad, u16 pad, s32 ifindex, u16 state, u8 flags, u8 type} */
const NDMSG = 12;
const NUD_PROBE = 0x10;
const NDA_DST = 1;
const NDA_LLADDR = 2;

/**
 * @param index of the interface
 * @param address 4 or 16 bytes in network order
 * @param hardware link-layer address
 */
export function emitProbeRequest(index: number, address: Uint8Array, hardware: Uint8Array): Uint8Array {
  const length = HEADER + NDMSG + align(4 + address.length) + align(4 + hardware.length);
  const bytes = new Uint8Array(new ArrayBuffer(length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, LITTLE);
  view.setUint16(4, RTM_NEWNEIGH, LITTLE);
  view.setUint16(6, NLM_F_REQUEST, LITTLE);
  view.setUint32(8, SEQ, LITTLE);
  view.setUint8(HEADER, address.length === 4 ? AF_INET : AF_INET6);
  view.setInt32(HEADER + 4, index, LITTLE);
  view.setUint16(HEADER + 8, NUD_PROBE, LITTLE);
  let at = HEADER + NDMSG;
  for (const [type, value] of [
    [NDA_DST, address],
    [NDA_LLADDR, hardware],
  ] as const) {
    view.setUint16(at, 4 + value.length, LITTLE);
    view.setUint16(at + 2, type, LITTLE);
    bytes.set(value, at + 4);
    at += align(4 + value.length);
  }
  return bytes;
}
