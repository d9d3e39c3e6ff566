/**
 * Who may be frozen, how, and for how long; and everything else a person may set. Types and defaults only: reading the
 * file is the shell's part, checking it is `schema.ts`.
 */
import { type Micros, seconds } from '../base/time.ts';
import type { DetectorConfig } from './detectors.ts';

/**
 * How much a connection is worth keeping, least first: `temporary` is kept as long as resources allow, `suspension` at least for
 * its `keep` and then likewise, `critical` is never given up for want of resources.
 */
export const FLOW_CLASSES = ['temporary', 'suspension', 'critical'] as const;
export type FlowClass = (typeof FLOW_CLASSES)[number];

/** Order in which connections of one link are handed back: what a person waits for first, bulk last. */
export const PRIORITIES = ['interactive', 'normal', 'bulk'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What the near endpoint is told when its connection is given up: RST, or nothing more. */
export const GIVE_UP_STYLES = ['reset', 'silent'] as const;
export type GiveUpStyle = (typeof GIVE_UP_STYLES)[number];

/** Pace of the trickle where a rule says `on`: carries a sender with a limit of 10 s (theory of operation 7). */
export const TRICKLE_DEFAULT: Micros = seconds(4);

/** What a rule applies to; every part given must match, a part left out matches everything. */
export interface RuleMatch {
  /** Either endpoint lies in one of these prefixes (CIDR notation, IPv4 and IPv6). */
  readonly prefix?: readonly string[];
  /** Either endpoint uses a port in one of these ranges, both ends included. */
  readonly port?: readonly { readonly from: number; readonly to: number }[];
  /** The flow passes one of these interfaces. */
  readonly interface?: readonly string[];
}

export interface PolicyRule {
  readonly match: RuleMatch;
  /** False: the connection is never touched, whatever happens to the link. */
  readonly freeze: boolean;
  readonly class: FlowClass;
  readonly priority: Priority;
  /** A connection frozen for longer is given up; null: no limit. */
  readonly maxOutage: Micros | null;
  /** Class `suspension`: not given up for want of resources before it was frozen for this long. */
  readonly keep: Micros;
  /** Whether bytes in flight may be acknowledged in the far peer's name. */
  readonly custody: boolean;
  /** Whether a far sender is woken by ICMP after the link returned. */
  readonly wakeup: boolean;
  /** Interval at which a frozen sender may send a little, against TCP_USER_TIMEOUT; `auto`: where a limit is known or suspected. */
  readonly trickle: 'off' | 'auto' | Micros;
  /** Whether a SYN towards a lost link is kept and sent at link-up. */
  readonly parkSyn: boolean;
  readonly giveUp: GiveUpStyle;
}

export interface Limits {
  /** Flows tracked at once; more are forwarded untracked. */
  readonly maxFlows: number;
  /** Ring into which packets are read, which is the retransmission buffer too. */
  readonly arenaBytes: number;
  /** Custody of one flow, and of all flows together. */
  readonly custodyBytesPerFlow: number;
  readonly custodyBytes: number;
  /** Flows of one LAN host; null: half of what the others leave free. */
  readonly flowsPerHost: number | null;
  /** SYNs that wait for a lost link, of all hosts together. */
  readonly parkedSyns: number;
}

export type LinkRole = 'lan' | 'wan';

export interface LinkConfig {
  readonly name: string;
  readonly role: LinkRole;
  /** Signs of loss to look for. */
  readonly detectors: DetectorConfig;
  /** Whether connections leave with the link's own address (NAT); absent: as the machine's rules look. */
  readonly isTranslated?: boolean;
  /** Connections that wait for this link longer are given up; absent or null: the link sets no limit. */
  readonly maxOutage?: Micros | null;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `auto`: text where the log is a terminal, JSON lines elsewhere. */
export const LOG_FORMATS = ['auto', 'json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface SteeringConfig {
  /** Name of the TUN device. */
  readonly tun: string;
  /** Route table, 1..2^32-1; null: the first free one from 7100 on. */
  readonly table: number | null;
  /** Priority of the ip rules, 1..32765; null: before every other rule except the local table's. */
  readonly priority: number | null;
  /** Whether nftables rules keep connection tracking from seeing packets twice. */
  readonly connectionTracking: 'auto' | 'off';
  /** Whether a firewall that would drop all steered TCP is a reason not to start. */
  readonly firewall: 'check' | 'ignore';
}

export interface MetricsAddress {
  /** IP address. */
  readonly host: string;
  /** 1..65535; in tests 0, which is any. */
  readonly port: number;
}

/** A capture that runs from the start on. */
export interface CaptureConfig {
  /** Absolute path, ending in .pcapng. */
  readonly file: string;
  /** Language of capture/filter-language.ts; empty: everything. */
  readonly filter: string;
  readonly snapLength: number;
  /** Size of one file and number of files kept; null: one file for ever. */
  readonly rotation: { readonly bytes: number; readonly count: number } | null;
}

/** Of all of a packet (RFC 791 3.1). */
export const SNAP_LENGTH_MAX = 65_535;

export interface GatewayConfig {
  readonly links: readonly LinkConfig[];
  /** First match wins; flows without a match get `DEFAULT_RULE`. */
  readonly policy: readonly PolicyRule[];
  readonly limits: Limits;
  /** Path of the control socket; null: the default place. */
  readonly control: string | null;
  /** Group that may use the control socket besides its owner; null: the process's own. */
  readonly controlGroup: string | null;
  /** Directory of the journal; null: custody is kept in memory only. */
  readonly journal: string | null;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Where metrics are served beside the control socket; null: nowhere. */
  readonly metrics: MetricsAddress | null;
  readonly capture: CaptureConfig | null;
  readonly steering: SteeringConfig;
}

/** What applies to a flow that no rule names, and to every setting that a rule leaves out. */
export const DEFAULT_RULE: PolicyRule = Object.freeze({
  match: Object.freeze({}),
  freeze: true,
  class: 'temporary',
  priority: 'normal',
  maxOutage: null,
  keep: seconds(600),
  custody: true,
  wakeup: true,
  trickle: 'auto',
  parkSyn: true,
  giveUp: 'reset',
});

export const DEFAULT_LIMITS: Limits = Object.freeze({
  maxFlows: 65_536,
  arenaBytes: 64 * 2 ** 20,
  custodyBytesPerFlow: 4 * 2 ** 20,
  custodyBytes: 256 * 2 ** 20,
  flowsPerHost: null,
  parkedSyns: 1_024,
});

export const DEFAULT_STEERING: SteeringConfig = Object.freeze({
  tun: 'tcpfreeze0',
  table: null,
  priority: null,
  connectionTracking: 'auto',
  firewall: 'check',
});

export const DEFAULT_CONFIG: GatewayConfig = Object.freeze({
  links: Object.freeze([]),
  policy: Object.freeze([]),
  limits: DEFAULT_LIMITS,
  control: null,
  controlGroup: null,
  journal: '/var/lib/tcpfreeze',
  log: Object.freeze({ level: 'info', format: 'auto' }),
  metrics: null,
  capture: null,
  steering: DEFAULT_STEERING,
});
