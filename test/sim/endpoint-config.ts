/** What one model endpoint is like: stack, application, addresses. Plain data, so that a seed describes a whole run. */
import { type Micros, millis, NEVER, seconds } from '../../src/base/time.ts';
import type { SenderConfig } from './sender.ts';

/** RFC 9293 3.4.2 asks for 2 MSL; Linux waits 60 s (TCP_TIMEWAIT_LEN). */
export const TIME_WAIT: Micros = seconds(60);
/** RFC 6298 2.1 for SYNs, capped so that a long outage does not decide a run by itself. */
export const SYN_RTO_MAX: Micros = seconds(16);

/** Something the application does at a time. */
export interface Deed {
  readonly at: Micros;
  /** Bytes to write; 0 with `pause` to stop reading for that long. */
  readonly write: number;
  readonly pause: Micros;
}

export interface EndpointConfig extends SenderConfig {
  readonly name: string;
  readonly family: 4 | 6;
  /** Own address words from index 0, the peer's from index 4, as big-endian loads (IPv4 uses one word each). */
  readonly addresses: Int32Array;
  readonly port: number;
  readonly peerPort: number;
  /** Opens the connection at `opensAt`; the other one listens. */
  readonly active: boolean;
  readonly opensAt: Micros;
  readonly iss: number;
  /** Seeds of what it sends and of what it expects. */
  readonly contentSeed: number;
  readonly peerContentSeed: number;
  readonly deeds: readonly Deed[];
  /** Send FIN after the last write. */
  readonly closes: boolean;
  /** Close without ceremony at this time: RST, and RST again for whatever comes. */
  readonly abortsAt: Micros;
  /** It does not say so: its host restarts. */
  readonly vanishes: boolean;
  /** -1: the option is not sent. */
  readonly windowScale: number;
  readonly timestamps: boolean;
  readonly tsOffset: number;
  readonly receiveBuffer: number;
  /** 0: every segment is acknowledged at once. */
  readonly delayedAck: Micros;
  /** Idle time before keepalive probes, and between them; NEVER: none. */
  readonly keepIdle: Micros;
  readonly keepInterval: Micros;
  readonly keepProbes: number;
  readonly vnetLength: 0 | 10;
  /** Hands packets down with partial checksums, as local stacks do where the device promises to complete them. */
  readonly partialChecksum: boolean;
}

/** A present-day Linux host without offloads; scenarios override what they vary. */
export const LINUX: Omit<EndpointConfig, 'name' | 'addresses' | 'port' | 'peerPort' | 'active'> = {
  family: 4,
  opensAt: 0,
  iss: 1_000_000,
  contentSeed: 1,
  peerContentSeed: 2,
  deeds: [],
  closes: true,
  abortsAt: NEVER,
  vanishes: false,
  mss: 1448,
  burst: 1448,
  sack: true,
  windowScale: 7,
  timestamps: true,
  tsOffset: 0x4000_0000,
  receiveBuffer: 256 * 1024,
  delayedAck: millis(40),
  probe: 'linux',
  windowRule: 'linux',
  rfc6069: true,
  retries: 15,
  keepIdle: NEVER,
  keepInterval: NEVER,
  keepProbes: 9,
  vnetLength: 0,
  partialChecksum: false,
};
