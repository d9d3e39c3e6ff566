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

/** A unicast route of the main table was added or removed (RTM_NEWROUTE, RTM_DELROUTE). */
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
}

export type LinkEvent = InterfaceEvent | InterfaceGoneEvent | AddressEvent | RouteEvent;
