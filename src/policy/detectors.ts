/** Which signs of loss are looked for on a link, and how. Types and defaults; the check is `schema.ts`. */
import { type Micros, seconds } from '../base/time.ts';

export interface EchoConfig {
  /** Addresses to ask, or `auto`: the routers of the default routes over the link. */
  readonly targets: 'auto' | readonly string[];
  /** Time between two echoes while all is well (micros, at least 1 s). */
  readonly interval: Micros;
}

/** After RFC 2439 (link/damping.ts). */
export interface DampingConfig {
  readonly halfLife: Micros;
  readonly suppress: number;
  readonly reuse: number;
  readonly longest: Micros;
}

/** When a keepalive may be sent in an endpoint's name to ask whether its peer is still there. */
export type KeepaliveConfig =
  /** Never on a link that is not held for lost. */
  | 'off'
  /** When something looks wrong. */
  | 'suspicion'
  /** Then, and as often as this on quiet links (micros). */
  | Micros;

export interface DetectorConfig {
  /** TCP's own evidence: segments without answer, downloads that stop. */
  readonly silence: boolean;
  readonly keepalive: KeepaliveConfig;
  /** Echo requests; null: none. */
  readonly echo: EchoConfig | null;
  /** ICMP errors that pass. */
  readonly icmp: boolean;
  /** Leases: the gateway's own and those of its hosts. */
  readonly dhcp: boolean;
  /** Address resolution by the kernel. */
  readonly neighbour: boolean;
  /** Null: every return is believed at once. */
  readonly damping: DampingConfig | null;
}

export const DEFAULT_DETECTORS: DetectorConfig = Object.freeze({
  silence: true,
  keepalive: 'suspicion',
  echo: Object.freeze({ targets: 'auto', interval: seconds(1) }),
  icmp: true,
  dhcp: true,
  neighbour: true,
  damping: Object.freeze({ halfLife: seconds(3), suppress: 1.5, reuse: 1, longest: seconds(15) }),
});

/** Nothing but what the kernel proves: carrier, interface, addresses. */
export const NO_DETECTORS: DetectorConfig = Object.freeze({
  silence: false,
  keepalive: 'off',
  echo: null,
  icmp: false,
  dhcp: false,
  neighbour: false,
  damping: null,
});
