/**
 * What the shell tells the core about the network around it. Plain records, so that a recorded list of them
 * replays an incident. The rtnetlink reader makes them; the link monitor and the engine consume them.
 */

/** An interface appeared or changed (RTM_NEWLINK). Sent once per known interface at start, too. */
export interface InterfaceEvent {
  readonly kind: 'interface';
  readonly name: string;
  readonly index: number;
  /** IFF_UP: the administrator wants it up. */
  readonly up: boolean;
  /** IFF_LOWER_UP: the driver sees a carrier. */
  readonly carrier: boolean;
  /** RFC 2863 operational state as in IFLA_OPERSTATE: 0 unknown, 2 down, 3 lower layer down, 5 dormant, 6 up. */
  readonly operState: number;
  readonly mtu: number;
  /** Its link-layer address; absent where it has none. */
  readonly hardware?: Uint8Array;
}

/** An interface went away (RTM_DELLINK). */
export interface InterfaceGoneEvent {
  readonly kind: 'interface-gone';
  readonly name: string;
}

/** An address was added to or removed from an interface (RTM_NEWADDR, RTM_DELADDR). Tentative ones count as absent. */
export interface AddressEvent {
  readonly kind: 'address';
  readonly name: string;
  readonly family: 4 | 6;
  /** Network byte order; 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
  /** RT_SCOPE_UNIVERSE or site; link-local addresses do not prove that a link can be used. */
  readonly global: boolean;
  readonly present: boolean;
}

/**
 * A unicast route was added or removed (RTM_NEWROUTE, RTM_DELROUTE). Routes of tables other than the main one have metrics
 * above 2^32, so that the main table's are preferred.
 */
export interface RouteEvent {
  readonly kind: 'route';
  readonly family: 4 | 6;
  /** Destination, network byte order; all zero with prefixLength 0 for a default route. */
  readonly destination: Uint8Array;
  readonly prefixLength: number;
  /** Output interface. */
  readonly name: string;
  readonly metric: number;
  readonly present: boolean;
  /** Next hop (RTA_GATEWAY, RTA_VIA), network byte order; absent for a connected route. */
  readonly gateway?: Uint8Array;
}

/** The kernel's knowledge of a neighbour changed (RTM_NEWNEIGH, RTM_DELNEIGH; NUD_* of linux/neighbour.h). */
export interface NeighbourEvent {
  readonly kind: 'neighbour';
  readonly name: string;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  readonly state: 'reachable' | 'stale' | 'probing' | 'failed' | 'gone';
  /** Link-layer address; absent while it is not resolved. */
  readonly hardware?: Uint8Array;
}

/**
 * An ICMP or ICMPv6 message was seen on an interface, whoever it was addressed to. `bytes` is the whole IP datagram
 * as received; the core decides whether it means anything.
 */
export interface IcmpEvent {
  readonly kind: 'icmp';
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** An echo that the engine asked for was answered (`EchoRequest.sequence`), or could not be sent. */
export interface EchoEvent {
  readonly kind: 'echo';
  readonly name: string;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  readonly sequence: number;
  readonly outcome: 'reply' | 'unsendable';
}

/** What a DHCP client, server or the watched exchange says about a lease (RFC 2131, RFC 8415). */
export interface DhcpEvent {
  readonly kind: 'dhcp';
  readonly name: string;
  /** Whose lease: the gateway's own uplink, or a host's on the LAN. */
  readonly lease: 'own' | 'host';
  readonly what: 'bound' | 'renewed' | 'rebinding' | 'expired' | 'nak' | 'released' | 'declined' | 'asking' | 'changed';
  readonly family: 4 | 6;
  /** The address concerned, where the report names one; the first of a prefix. */
  readonly address?: Uint8Array;
  /** The lease is that of a prefix (RFC 8415 6.3), delegated to the gateway for its own networks. */
  readonly prefixLength?: number;
  readonly hardware?: Uint8Array;
  /** Seconds from now until T1, T2 and the lease's end, where known. */
  readonly renewSeconds?: number;
  readonly rebindSeconds?: number;
  readonly leaseSeconds?: number;
}

/** What the engine wants to be asked: an echo to `address` out of link `name`. */
export interface EchoRequest {
  readonly name: string;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  /** Identifies the answer; counts up, wraps at 65,536. */
  readonly sequence: number;
}

/** A neighbour that the kernel has given up on, and that is to be tried again at the hardware address that it had. */
export interface ResolveRequest {
  readonly name: string;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly hardware: Uint8Array;
}

export type LinkEvent =
  | InterfaceEvent
  | InterfaceGoneEvent
  | AddressEvent
  | RouteEvent
  | NeighbourEvent
  | IcmpEvent
  | EchoEvent
  | DhcpEvent;
