/**
 * NETLINK_ROUTE messages as bytes (uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h): pure decoding into plain
 * records, and the dump requests. Nothing here throws or reads outside the given length, whatever the bytes are.
 */
import {
  align,
  attributeFits,
  attributeSize,
  attributeType,
  copy,
  familyOf,
  LITTLE,
  nextAttribute,
  text,
} from './netlink-attributes.ts';

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
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;

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
const NDMSG = 12;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_OPERSTATE = 16;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
/** A next hop of the other family (RFC 5549): struct rtvia {u16 family, u8 address[]}. */
const RTA_VIA = 18;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_PROBES = 4;

/** Size of the fixed header that a dump request has to carry. */
const BODY: Readonly<Record<number, number>> = {
  [RTM_GETLINK]: IFINFOMSG,
  [RTM_GETADDR]: IFADDRMSG,
  [RTM_GETROUTE]: RTMSG,
  [RTM_GETNEIGH]: NDMSG,
};

/** Longest link-layer address that is of interest: MAX_ADDR_LEN of linux/netdevice.h. */
const HARDWARE_MOST = 32;
const AF_UNSPEC = 0;

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
  readonly hardware?: Uint8Array;
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
  /** Several for a multipath route. */
  readonly hops: readonly Hop[];
}

/** Where a route leads: out of an interface, to a next hop unless the destination itself is on that link. */
export interface Hop {
  readonly index: number;
  readonly gateway?: Uint8Array;
}

export interface NeighbourMessage {
  readonly kind: 'neighbour';
  readonly added: boolean;
  readonly index: number;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  /** NUD_* bits of uapi/linux/neighbour.h; one of them is set. */
  readonly state: number;
  /** Questions that were not answered since it was last known to be reachable. */
  readonly probes: number;
  /** Link-layer address, where it is known. */
  readonly hardware?: Uint8Array;
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

export type NetlinkMessage = LinkMessage | AddressMessage | RouteMessage | NeighbourMessage | ControlMessage;

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
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return parseNeighbour(view, body, end, type === RTM_NEWNEIGH);
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
  let hardware: Uint8Array | undefined;
  for (let at = body + IFINFOMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const value = at + 4;
    const size = attributeSize(view, at);
    switch (attributeType(view, at)) {
      case IFLA_ADDRESS:
        if (size > 0 && size <= HARDWARE_MOST) hardware = copy(view, value, size);
        break;
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
  const up = (flags & IFF_UP) !== 0;
  const link = { kind: 'link', added, index, name, up, carrier, operState, mtu } as const;
  return hardware === undefined ? link : { ...link, hardware };
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
  const hops: Hop[] = [];
  let index = 0;
  let gateway: Uint8Array | undefined;
  for (let at = body + RTMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const value = at + 4;
    const size = attributeSize(view, at);
    switch (attributeType(view, at)) {
      case RTA_DST:
        if (size === width) destination = copy(view, value, width);
        break;
      case RTA_OIF:
        if (size >= 4) index = view.getInt32(value, LITTLE);
        break;
      case RTA_GATEWAY:
      case RTA_VIA:
        gateway = gatewayAt(view, at) ?? gateway;
        break;
      case RTA_PRIORITY:
        if (size >= 4) metric = view.getUint32(value, LITTLE);
        break;
      case RTA_TABLE:
        if (size >= 4) table = view.getUint32(value, LITTLE);
        break;
      case RTA_MULTIPATH:
        collectNexthops(view, value, value + size, hops);
        break;
    }
  }
  if (index > 0) hops.unshift(gateway === undefined ? { index } : { index, gateway });
  if (hops.length === 0) return undefined;
  // Which other table is asked depends on rules: the main table's routes come first (RouteEvent).
  if (table !== RT_TABLE_MAIN) metric += 2 ** 32 + table;
  if (destination === undefined && prefixLength !== 0) return undefined;
  destination ??= new Uint8Array(width);
  const tos = view.getUint8(body + 3);
  return { kind: 'route', added, replaces, family, destination, prefixLength, tos, metric, hops };
}

/** Address of an RTA_GATEWAY or RTA_VIA attribute at `at`, if it is a whole one. */
function gatewayAt(view: DataView, at: number): Uint8Array | undefined {
  const family = attributeType(view, at) === RTA_VIA ? 2 : 0;
  const width = attributeSize(view, at) - family;
  return width === 4 || width === 16 ? copy(view, at + 4 + family, width) : undefined;
}

/** struct rtnexthop {u16 len, u8 flags, u8 hops, i32 ifindex} and attributes of its own, one after another. */
function collectNexthops(view: DataView, start: number, end: number, hops: Hop[]): void {
  let at = start;
  while (at + RTNEXTHOP <= end) {
    const size = view.getUint16(at, LITTLE);
    if (size < RTNEXTHOP || at + size > end) return;
    const index = view.getInt32(at + 4, LITTLE);
    let gateway: Uint8Array | undefined;
    for (let own = at + RTNEXTHOP; attributeFits(view, own, at + size); own = nextAttribute(view, own)) {
      const type = attributeType(view, own);
      if (type === RTA_GATEWAY || type === RTA_VIA) gateway = gatewayAt(view, own) ?? gateway;
    }
    hops.push(gateway === undefined ? { index } : { index, gateway });
    at += align(size);
  }
}

/** struct ndmsg {u8 family, u8 pad, u16 pad, i32 ifindex, u16 state, u8 flags, u8 type}. */
function parseNeighbour(view: DataView, body: number, end: number, added: boolean): NeighbourMessage | undefined {
  if (body + NDMSG > end) return undefined;
  // Bridges report what they learnt as neighbours of family AF_BRIDGE: those are no addresses.
  const family = familyOf(view.getUint8(body));
  if (family === undefined) return undefined;
  const width = family === 4 ? 4 : 16;
  let address: Uint8Array | undefined;
  let hardware: Uint8Array | undefined;
  let probes = 0;
  for (let at = body + NDMSG; attributeFits(view, at, end); at = nextAttribute(view, at)) {
    const size = attributeSize(view, at);
    const type = attributeType(view, at);
    if (type === NDA_DST && size === width) address = copy(view, at + 4, width);
    else if (type === NDA_LLADDR && size > 0 && size <= HARDWARE_MOST) hardware = copy(view, at + 4, size);
    else if (type === NDA_PROBES && size >= 4) probes = view.getUint32(at + 4, LITTLE);
  }
  if (address === undefined) return undefined;
  const index = view.getInt32(body + 4, LITTLE);
  const state = view.getUint16(body + 8, LITTLE);
  const known = { kind: 'neighbour', added, index, family, address, state, probes } as const;
  return hardware === undefined ? known : { ...known, hardware };
}

/**
 * A dump request for links, addresses, routes or neighbours of all families.
 * @param type RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE or RTM_GETNEIGH
 * @param seq returned in every answer
 */
export function emitDumpRequest(type: number, seq: number): Uint8Array {
  // struct rtgenmsg is one byte, but kernels check for the full header of the type; zeroes mean "everything".
  const body = BODY[type] ?? RTMSG;
  const bytes = new Uint8Array(NLMSG_HEADER + body);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.byteLength, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, LITTLE);
  view.setUint32(8, seq, LITTLE);
  return bytes;
}
