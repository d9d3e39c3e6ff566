/** What the shell decides before an engine exists. */
import type { Micros } from '../base/time.ts';
import type { DetectorConfig } from '../policy/detectors.ts';
import type { PolicyRule } from '../policy/policy.ts';

/** Largest thing one read can deliver: virtio-net header and a 64 KiB datagram. The shell offers that much room. */
export const READ_MAX = 12 + 65_535;

export interface PortConfig {
  /** Interface name; the port's identifier is its index in the list. */
  readonly name: string;
  readonly role: 'lan' | 'wan';
  /** Signs of loss to look for beside what the kernel proves; default: none. */
  readonly detectors?: Partial<DetectorConfig>;
  /** Connections over it leave with the link's own address (NAT), as far as is known. */
  readonly isTranslated?: boolean;
  /** The interface does not exist yet: it counts as lost until it appears. */
  readonly absent?: boolean;
  /** Connections that wait for this link longer are given up; absent or null: no limit. */
  readonly maxOutage?: Micros | null;
}

export interface EngineConfig {
  readonly ports: readonly PortConfig[];
  /** Bytes of virtio-net header before each datagram: 10 with IFF_VNET_HDR, 0 without. */
  readonly vnetHeaderLength: 0 | 10;
  /** Whether GSO super-packets may be emitted (the kernel accepted TUNSETOFFLOAD). */
  readonly gso: boolean;
  readonly maxFlows: number;
  readonly custodyBytesPerFlow: number;
  readonly custodyBytesTotal: number;
  /** Rules; default none, so that every flow gets the default terms. */
  readonly policy?: readonly PolicyRule[];
  /** Flows of one LAN host; null or absent: half of what is free. */
  readonly flowsPerHost?: number | null;
  /** New connections a second that are tracked from their first segment on (engine/doorkeeper.ts); default 1,000. */
  readonly newcomersPerSecond?: number;
  /** SYNs that may wait for a lost link; default 1024. */
  readonly parkedSyns?: number;
  /** Refuse all freezing: the engine then is a wire (invariant 3). */
  readonly freezing: boolean;
  /** Custody is acknowledged only after the shell has synced the batch that holds it (freeze/journal.ts). Default: no. */
  readonly journal?: boolean;
  /** Key of the flow table's hash: two random 32-bit words from the shell. */
  readonly hashKey: readonly [number, number];
  /** Seed of the repeatable generator. */
  readonly seed: number;
}

/**
 * Memory that the shell owns and the engine works in. The shell knows the native address of `arena` and `outbox`,
 * reads each packet to `arena` at `engine.readOffset`, and writes forwarded packets from there.
 */
export interface EngineMemory {
  /** The ring into which packets are read; at least 4 * (READ_MAX + 256); default 64 MiB. */
  readonly arena: ArrayBuffer;
  /** Where synthesized packets are built; at least 64 KiB; default 1 MiB. */
  readonly outbox: ArrayBuffer;
  /** COUNTERS_BYTES bytes, may be shared. */
  readonly counters: Float64Array;
}
