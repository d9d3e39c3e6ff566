/**
 * Netlink attributes and byte order (uapi/linux/netlink.h, rtnetlink.h): what every kind of message is made of. Pure.
 *
 * Integers are in host order; every machine this runs on is little-endian or says so in `LITTLE`.
 */

export const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export const AF_INET = 2;
export const AF_INET6 = 10;

export function familyOf(family: number): 4 | 6 | undefined {
  return family === AF_INET ? 4 : family === AF_INET6 ? 6 : undefined;
}

/** NLMSG_ALIGN and RTA_ALIGN: four bytes. */
export function align(size: number): number {
  return (size + 3) & ~3;
}

/** struct rtattr {u16 len, u16 type}, then the value. True if a whole attribute lies at `at`. */
export function attributeFits(view: DataView, at: number, end: number): boolean {
  if (at + 4 > end) return false;
  const size = view.getUint16(at, LITTLE);
  return size >= 4 && at + size <= end;
}

export function nextAttribute(view: DataView, at: number): number {
  return at + align(view.getUint16(at, LITTLE));
}

/** The two top bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER). */
export function attributeType(view: DataView, at: number): number {
  return view.getUint16(at + 2, LITTLE) & 0x3fff;
}

export function attributeSize(view: DataView, at: number): number {
  return view.getUint16(at, LITTLE) - 4;
}

/** A copy of its own, so that a record posted to another thread does not drag the receive buffer along. */
export function copy(view: DataView, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = view.getUint8(at + i);
  return bytes;
}

export function text(view: DataView, at: number, length: number): string {
  let result = '';
  for (let i = 0; i < length; i++) {
    const code = view.getUint8(at + i);
    if (code === 0) break;
    result += String.fromCharCode(code);
  }
  return result;
}
