/**
 * What a person or program may ask of a running engine, and what it answers. Plain data: commands cross from the
 * main thread to the worker by structured clone. Field names of the answers are those of the public JSON.
 */
import type { EventName } from '../base/event-table.ts';
import type { Micros } from '../base/time.ts';
import type { DhcpEvent } from '../link/events.ts';
import type { Settings } from './configure.ts';

/** What a freeze, resume or abort applies to. */
export type Selector =
  | { readonly kind: 'link'; readonly name: string }
  | { readonly kind: 'host'; readonly address: string }
  | { readonly kind: 'prefix'; readonly prefix: string }
  | { readonly kind: 'flow'; readonly id: string }
  | { readonly kind: 'all' };

export type Command =
  /** Treat the selected scope as lost; `leadMicros` drains first, `forMicros` releases by itself. */
  | { readonly kind: 'freeze'; readonly selector: Selector; readonly leadMicros?: Micros; readonly forMicros?: Micros }
  /** Release an earlier freeze command; what other evidence says then decides. */
  | { readonly kind: 'resume'; readonly selector: Selector }
  /** End the selected flows now: RST to both ends. */
  | {
      readonly kind: 'abort';
      readonly selector: Selector;
      /** Only connections of this class. */
      readonly className?: string;
    }
  /** Other settings apply from now on. */
  | { readonly kind: 'configure'; readonly settings: Settings }
  /** What a hook of a DHCP client or server says about a lease. */
  | { readonly kind: 'dhcp'; readonly event: DhcpEvent }
  | { readonly kind: 'status' }
  | { readonly kind: 'flows'; readonly frozenOnly: boolean };

/** Times in snapshots are engine micros; the shell turns them into ISO 8601. */
export interface LinkSnapshot {
  readonly name: string;
  readonly role: 'lan' | 'wan';
  readonly state: 'up' | 'lost';
  readonly since: Micros;
  readonly reason: string;
  readonly evidence: readonly string[];
}

/** A host that is held for lost while its link works. */
export interface HostSnapshot {
  readonly address: string;
  readonly link: string;
  readonly since: Micros;
  readonly reason: string;
  readonly evidence: readonly string[];
}

export interface PhaseCounts {
  readonly opening: number;
  readonly flowing: number;
  readonly frozen: number;
  readonly handback: number;
  readonly closing: number;
  readonly bypass: number;
}

export interface FlowCounts extends PhaseCounts {
  readonly total: number;
}

/** What is taken of what there is. */
export interface ResourceSnapshot {
  readonly flows: number;
  readonly maxFlows: number;
  /** Hosts that have flows, most flows of one, and how many one may have. */
  readonly hosts: number;
  readonly busiestHostFlows: number;
  readonly flowsPerHost: number;
  readonly custodyBytes: number;
  readonly maxCustodyBytes: number;
  readonly maxCustodyBytesPerFlow: number;
  readonly parkedSyns: number;
  readonly maxParkedSyns: number;
  /** Flows without a complete handshake. */
  readonly halfOpen: number;
  /** Hosts whose connections died while frozen. */
  readonly suspects: number;
  readonly arenaBytes: number;
}

export interface FlowSnapshot {
  readonly id: string;
  readonly family: 4 | 6;
  /** Who opened the connection, "ip:port" ("[ip]:port" for IPv6). */
  readonly originator: string;
  readonly responder: string;
  readonly phase: string;
  /** Which role is being held while frozen; null when not frozen. */
  readonly near: 'originator' | 'responder' | null;
  readonly frozenSince: Micros | null;
  readonly custodyBytes: number;
  readonly class: string;
  readonly priority: string;
  /** Position of its rule in the configuration, from 0; null: none matched. */
  readonly rule: number | null;
  /** How long it may stay frozen (micros), and who says so; null: no limit. */
  readonly limit: Micros | null;
  readonly limitBy: 'rule' | 'link' | 'originator' | 'responder' | null;
  /** When a frozen flow will be given up; null: never, or not frozen. */
  readonly deadline: Micros | null;
  /** Whether its sender is kept alive by a trickle. */
  readonly trickling: boolean;
  readonly bypassReason: string | null;
  /** Window scales of originator and responder (RFC 7323 2.2); null: its SYN was not seen. */
  readonly windowScales: readonly [number | null, number | null];
}

export type Reply =
  | { readonly kind: 'done'; readonly flows: number; readonly message: string }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly remedy: string }
  | {
      readonly kind: 'status';
      readonly links: readonly LinkSnapshot[];
      readonly hosts: readonly HostSnapshot[];
      readonly flows: FlowCounts;
      /** Flows by class and phase. */
      readonly classes: Readonly<Record<string, PhaseCounts>>;
      readonly custodyBytes: number;
      readonly resources: ResourceSnapshot;
    }
  | { readonly kind: 'flows'; readonly flows: readonly FlowSnapshot[] };

/** Something worth telling a person: transitions of links, scopes and flows, refusals, limits. */
export interface EngineEvent {
  readonly at: Micros;
  /** Stable, from the one table of events. */
  readonly name: EventName;
  readonly message: string;
  readonly link?: string;
  readonly flow?: string;
  readonly reason?: string;
  /** Every line of evidence of a verdict, the most specific first. */
  readonly evidence?: readonly string[];
  /** Further figures by name; numbers in base units (bytes, micros). */
  readonly figures?: Readonly<Record<string, number>>;
}
