/**
 * NETLINK_ROUTE messages as bytes (uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h): pure decoding into plain
 * records, and the dump requests. Nothing here throws or reads outside the given length, whatever the bytes are.
 *
 * Integers are in host order; every machine this runs on is little-endian or says so in `LITTLE`.
 */

const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

const NLM_F_REQUEST = 0x1;
const NLM_F_DUMP = 0x300;
/** The dump was interrupted by a change: what it says may be inconsistent. */
export const NLM_F_DUMP_INTR = 0x10;
/** On RTM_NEWROUTE: it took the place of another route. */
export const NLM_F_REPLACE = 0x100;

const NLMSG_HEADER = 16;
const IFINFOMSG = 16;
const IFADDRMSG = 8;
const RTMSG = 12;
const RTNEXTHOP = 8;

const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_OPERSTATE = 16;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_PRIORITY = 6;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;

const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;
const IFA_F_OPTIMISTIC = 0x04;
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;
/** RT_SCOPE_UNIVERSE is 0, RT_SCOPE_SITE 200; link is 253, host 254. */
const RT_SCOPE_SITE = 200;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
/** A cached exception, e.g. a path MTU; not a route that anybody set. */
const RTM_F_CLONED = 0x200;

export interface LinkMessage {
  readonly kind: 'link';
  readonly added: boolean;
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly operState: number;
  readonly mtu: number;
}

export interface AddressMessage {
  readonly kind: 'address';
  readonly added: boolean;
  readonly index: number;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  readonly prefixLength: number;
  readonly global: boolean;
  /** False while duplicate address detection runs or after it failed: the address cannot be used. */
  readonly usable: boolean;
}

export interface RouteMessage {
  readonly kind: 'route';
  readonly added: boolean;
  readonly replaces: boolean;
  readonly family: 4 | 6;
  readonly destination: Uint8Array;
  readonly prefixLength: number;
  readonly tos: number;
  readonly metric: number;
  /** Output interfaces; several for a multipath route. */
  readonly indexes: readonly number[];
}

/** The end of a dump, or the refusal of a request. */
export interface ControlMessage {
  readonly kind: 'control';
  readonly type: 'done' | 'error' | 'overrun';
  readonly seq: number;
  /** Positive errno of an error, 0 otherwise. */
  readonly errno: number;
  readonly interrupted: boolean;
}

export type NetlinkMessage = LinkMessage | AddressMessage | RouteMessage | ControlMessage;

/**
 * Decodes everything in one datagram; what is cut off, of no interest or malformed is left out.
 * @param bytes the buffer, `length` bytes of which were received
 */
export function parseNetlink(bytes: Uint8Array, length: number): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  const end = Math.min(length, bytes.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + NLMSG_HEADER <= end) {
    const size = view.getUint32(at, LITTLE);
    if (size < NLMSG_HEADER || at + size > end) break;
    const message = parseMessage(view, at, at + size);
    if (message !== undefined) messages.push(message);
    at += align(size);
  }
  return messages;
}

function parseMessage(view: DataView, at: number, end: number): NetlinkMessage | undefined {
  const type = view.getUint16(at + 4, LITTLE);
  const flags = view.getUint16(at + 6, LITTLE);
  const seq = view.getUint32(at + 8, LITTLE);
  const body = at + NLMSG_HEADER;
  switch (type) {
    case NLMSG_DONE:
    case NLMSG_OVERRUN:
    case NLMSG_ERROR: {
      // NLMSG_DONE carries the dump's result, NLMSG_ERROR a struct nlmsgerr: both begin with a negative errno or 0.
      const result = body + 4 <= end ? view.getInt32(body, LITTLE) : 0;
      const name = type === NLMSG_DONE ? 'done' : type === NLMSG_ERROR ? 'error' : 'overrun';
      const interrupted = (flags & NLM_F_DUMP_INTR) !== 0;
      return { kind: 'control', type: name, seq, errno: result < 0 ? -result : 0, interrupted };
    }
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return parseLink(view, body, end, type === RTM_NEWLINK);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return parseAddress(view, body, end, type === RTM_NEWADDR);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return parseRoute(view, body, end, type === RTM_NEWROUTE, (flags & NLM_F_REPLACE) !== 0);
    default:
      return undefined;
  }
}

/** struct ifinfomsg {u8 family, u8 pad, u16 type, i32 index, u32 flags, u32 change}. */
function parseLink(view: DataView, body: number, end: number, added: boolean): LinkMessage | undefined {
  if (body + IFINFOMSG > end) return undefined;
  // A bridge reports its ports as AF_BRIDGE links; RTM_DELLINK then means that the port left, not that it is gone.
  if (view.getUint8(body) !== AF_UNSPEC) return undefined;
  const flags = view.getUint32(body + 8, LITTLE);
  let name = '';
  let mtu = 0;
  let operState = 0;
  for (let at = body + IFINFOMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const value = at + 4;
    const size = attributeSize(view, at);
    switch (attributeType(view, at)) {
      case IFLA_IFNAME:
        name = text(view, value, size);
        break;
      case IFLA_MTU:
        if (size >= 4) mtu = view.getUint32(value, LITTLE);
        break;
      case IFLA_OPERSTATE:
        if (size >= 1) operState = view.getUint8(value);
        break;
    }
  }
  if (name === '') return undefined;
  const index = view.getInt32(body + 4, LITTLE);
  const carrier = (flags & IFF_LOWER_UP) !== 0;
  return { kind: 'link', added, index, name, up: (flags & IFF_UP) !== 0, carrier, operState, mtu };
}

/** struct ifaddrmsg {u8 family, u8 prefixlen, u8 flags, u8 scope, u32 index}. */
function parseAddress(view: DataView, body: number, end: number, added: boolean): AddressMessage | undefined {
  if (body + IFADDRMSG > end) return undefined;
  const family = familyOf(view.getUint8(body));
  if (family === undefined) return undefined;
  const width = family === 4 ? 4 : 16;
  const prefixLength = view.getUint8(body + 1);
  if (prefixLength > width * 8) return undefined;
  let flags = view.getUint8(body + 2);
  let address: Uint8Array | undefined;
  for (let at = body + IFADDRMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const value = at + 4;
    const size = attributeSize(view, at);
    switch (attributeType(view, at)) {
      case IFA_LOCAL:
        // On a point-to-point interface IFA_ADDRESS is the peer's, IFA_LOCAL our own: it wins.
        if (size === width) address = copy(view, value, width);
        break;
      case IFA_ADDRESS:
        if (size === width && address === undefined) address = copy(view, value, width);
        break;
      case IFA_FLAGS:
        if (size >= 4) flags = view.getUint32(value, LITTLE);
        break;
    }
  }
  if (address === undefined) return undefined;
  const tentative = (flags & IFA_F_TENTATIVE) !== 0 && (flags & IFA_F_OPTIMISTIC) === 0;
  const usable = !tentative && (flags & IFA_F_DADFAILED) === 0;
  const global = view.getUint8(body + 3) <= RT_SCOPE_SITE;
  const index = view.getInt32(body + 4, LITTLE);
  return { kind: 'address', added, index, family, address, prefixLength, global, usable };
}

/** struct rtmsg {u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags}. */
function parseRoute(
  view: DataView,
  body: number,
  end: number,
  added: boolean,
  replaces: boolean,
): RouteMessage | undefined {
  if (body + RTMSG > end) return undefined;
  const family = familyOf(view.getUint8(body));
  if (family === undefined || view.getUint8(body + 7) !== RTN_UNICAST) return undefined;
  if ((view.getUint32(body + 8, LITTLE) & RTM_F_CLONED) !== 0) return undefined;
  const width = family === 4 ? 4 : 16;
  const prefixLength = view.getUint8(body + 1);
  // Source-specific routes (IPv6) do not say where a destination lies.
  if (prefixLength > width * 8 || view.getUint8(body + 2) !== 0) return undefined;
  let table = view.getUint8(body + 4);
  let destination: Uint8Array | undefined;
  let metric = 0;
  const indexes: number[] = [];
  for (let at = body + RTMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const value = at + 4;
    const size = attributeSize(view, at);
    switch (attributeType(view, at)) {
      case RTA_DST:
        if (size === width) destination = copy(view, value, width);
        break;
      case RTA_OIF:
        if (size >= 4) indexes.push(view.getInt32(value, LITTLE));
        break;
      case RTA_PRIORITY:
        if (size >= 4) metric = view.getUint32(value, LITTLE);
        break;
      case RTA_TABLE:
        if (size >= 4) table = view.getUint32(value, LITTLE);
        break;
      case RTA_MULTIPATH:
        collectNexthops(view, value, value + size, indexes);
        break;
    }
  }
  if (table !== RT_TABLE_MAIN || indexes.length === 0) return undefined;
  if (destination === undefined) {
    if (prefixLength !== 0) return undefined;
    destination = new Uint8Array(width);
  }
  const tos = view.getUint8(body + 3);
  return { kind: 'route', added, replaces, family, destination, prefixLength, tos, metric, indexes };
}

/** struct rtnexthop {u16 len, u8 flags, u8 hops, i32 ifindex} and attributes of its own, one after another. */
function collectNexthops(view: DataView, start: number, end: number, indexes: number[]): void {
  let at = start;
  while (at + RTNEXTHOP <= end) {
    const size = view.getUint16(at, LITTLE);
    if (size < RTNEXTHOP || at + size > end) return;
    const index = view.getInt32(at + 4, LITTLE);
    if (!indexes.includes(index)) indexes.push(index);
    at += align(size);
  }
}

/**
 * A dump request for links, addresses or routes of all families.
 * @param type RTM_GETLINK, RTM_GETADDR or RTM_GETROUTE
 * @param seq returned in every answer
 */
export function emitDumpRequest(type: number, seq: number): Uint8Array {
  // struct rtgenmsg is one byte, but kernels check for the full header of the type; zeroes mean "everything".
  const body = type === RTM_GETLINK ? IFINFOMSG : type === RTM_GETADDR ? IFADDRMSG : RTMSG;
  const bytes = new Uint8Array(NLMSG_HEADER + body);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.byteLength, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, LITTLE);
  view.setUint32(8, seq, LITTLE);
  return bytes;
}

function familyOf(family: number): 4 | 6 | undefined {
  return family === AF_INET ? 4 : family === AF_INET6 ? 6 : undefined;
}

/** NLMSG_ALIGN and RTA_ALIGN: four bytes. */
function align(size: number): number {
  return (size + 3) & ~3;
}

/** struct rtattr {u16 len, u16 type}, then the value. True if a whole attribute lies at `at`. */
function attributeFits(view: DataView, at: number, end: number): boolean {
  if (at + 4 > end) return false;
  const size = view.getUint16(at, LITTLE);
  return size >= 4 && at + size <= end;
}

function nextAttribute(view: DataView, at: number): number {
  return at + align(view.getUint16(at, LITTLE));
}

/** The two top bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER). */
function attributeType(view: DataView, at: number): number {
  return view.getUint16(at + 2, LITTLE) & 0x3fff;
}

function attributeSize(view: DataView, at: number): number {
  return view.getUint16(at, LITTLE) - 4;
}

/** A copy of its own, so that a record posted to another thread does not drag the receive buffer along. */
function copy(view: DataView, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = view.getUint8(at + i);
  return bytes;
}

function text(view: DataView, at: number, length: number): string {
  let result = '';
  for (let i = 0; i < length; i++) {
    const code = view.getUint8(at + i);
    if (code === 0) break;
    result += String.fromCharCode(code);
  }
  return result;
}
