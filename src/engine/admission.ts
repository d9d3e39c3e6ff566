/**
 * Which connections are tracked: admission of new flows, their interfaces, reasons to leave them alone, and expiry.
 */
import { COUNTER } from '../base/counters.ts';
import { type LossCause, lossCause } from '../base/figures.ts';
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { type BypassReason, type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { Host, HostTable } from '../flow/hosts.ts';
import { BYPASS, CLOSING, FLOWING, OPENING } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { track } from '../flow/tracker.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { HostRegistry } from '../link/hosts.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import type { ScopeList } from '../link/scope.ts';
import type { Packet } from '../wire/packet.ts';
import { ACK, RST, SYN } from '../wire/tcp-flags.ts';
import type { Chronicle } from './chronicle.ts';
import { Doorkeeper } from './doorkeeper.ts';
import { epochOf } from './epoch.ts';
import type { Handshakes } from './handshakes.ts';
import { answeredSyn, rememberSyn } from './reopen.ts';
import type { Rulebook } from './rulebook.ts';

/** Idle times after which a flow is forgotten; the values of Linux connection tracking (nf_conntrack_proto_tcp.c). */
const OPENING_TIMEOUT: Micros = seconds(120);
const CLOSING_TIMEOUT: Micros = seconds(15);
const BYPASS_TIMEOUT: Micros = seconds(900);
const FLOWING_TIMEOUT: Micros = seconds(432_000);
/** One that was adopted and of which only one endpoint was ever heard (nf_conntrack: unacknowledged). */
const UNANSWERED_TIMEOUT: Micros = seconds(300);
/** How often some entries of the table are looked at, and in how many intervals all of them. */
const SWEEP_INTERVAL: Micros = seconds(1);
const SWEEP_PARTS = 30;
/** When the table is full, a half-open flow this old gives way. */
const OPENING_EVICT_AGE: Micros = seconds(3);
/** Entries looked at to find room. */
const EVICT_STEPS = 64;
/** The same where only a host's own flows count: where they are rare, 64 cache misses a segment were a quarter of what a flood cost. */
const EVICT_STEPS_OF_HOST = 16;
/** Young half-open flows looked at before the first of them has to go: under a flood all are young, and each look costs a cache miss. */
const EVICT_CANDIDATES = 4;

/** Why a segment's connection cannot be frozen (theory of operation 6.8), or null. */
export function bypassReasonOf(packet: Packet): BypassReason | null {
  if (packet.md5) return 'tcp-md5';
  if (packet.ao) return 'tcp-ao';
  if (packet.mptcp) return 'mptcp';
  return null;
}

export interface AdmissionParts {
  readonly table: FlowTable;
  readonly monitor: LinkMonitor;
  readonly scopes: ScopeList;
  readonly rulebook: Rulebook;
  /** Hosts that are held for lost. */
  lostHosts(): HostRegistry;
  readonly hosts: HostTable;
  readonly counters: Float64Array;
  readonly vnetLength: 0 | 10;
  readonly flowsPerHost: number | null;
  /** See Doorkeeper. */
  readonly newcomersPerSecond: number | undefined;
  readonly chronicle: Chronicle;
  readonly handshakes: Handshakes;
  /** Releases what hangs on a flow that is about to be forgotten. */
  onForget(flow: Flow): void;
}

export class Admission {
  readonly #table: FlowTable;
  readonly #monitor: LinkMonitor;
  readonly #scopes: ScopeList;
  /** Hosts that are held for lost. */
  readonly #lostHosts: () => HostRegistry;
  readonly #counters: Float64Array;
  readonly #vnetLength: 0 | 10;
  readonly #rulebook: Rulebook;
  readonly #hosts: HostTable;
  /** Most flows of one host; null: as many as are free. */
  flowsPerHost: number | null;
  /** Releases what hangs on a flow that is about to be forgotten. */
  readonly #onForget: (flow: Flow) => void;
  readonly #chronicle: Chronicle;
  readonly #handshakes: Handshakes;
  readonly #doorkeeper: Doorkeeper;
  /** When `onTimeout` has entries to look at. */
  sweepAt: Micros = NEVER;

  constructor(parts: AdmissionParts) {
    this.#table = parts.table;
    this.#monitor = parts.monitor;
    this.#scopes = parts.scopes;
    this.#counters = parts.counters;
    this.#vnetLength = parts.vnetLength;
    this.#rulebook = parts.rulebook;
    this.#hosts = parts.hosts;
    this.#lostHosts = parts.lostHosts;
    this.flowsPerHost = parts.flowsPerHost;
    this.#onForget = parts.onForget;
    this.#chronicle = parts.chronicle;
    this.#handshakes = parts.handshakes;
    this.#doorkeeper = new Doorkeeper(parts.vnetLength, parts.newcomersPerSecond);
  }

  /**
   * A flow for the first packet of an unknown connection.
   * @returns null when the packet opens nothing or there is no room; it is then forwarded untracked
   */
  admit(packet: Packet, now: Micros): Flow | null {
    const { flags } = packet;
    if ((flags & RST) !== 0) return null;
    const opens = (flags & (SYN | ACK)) === SYN;
    if (!opens && (flags & ACK) === 0) return null;
    const hash = this.#table.sought;
    if (!opens && (flags & SYN) !== 0) {
      const syn = this.#doorkeeper.answered(packet, hash);
      if (syn !== null) return this.#enterAnswered(syn, packet, now);
    } else if (
      this.#doorkeeper.isCrowded(now) &&
      !this.#isAnyLost() &&
      !this.#doorkeeper.mayEnter(packet, hash, opens)
    ) {
      this.#counters[COUNTER.newcomersDeferred]! += 1;
      this.#chronicle.deferred(now);
      return null;
    }
    return this.#enter(packet, now);
  }

  /** A connection whose SYN came earlier, and is answered now by `packet`. */
  #enterAnswered(syn: Packet, packet: Packet, now: Micros): Flow | null {
    const flow = this.#enter(syn, now);
    if (flow === null) return null;
    if (flow.phase === OPENING) track(flow, 0, syn, now);
    // The direction that the caller asks for is that of the packet.
    return this.#table.find(packet);
  }

  /** Gives a connection its place. */
  #enter(packet: Packet, now: Micros): Flow | null {
    const { flags } = packet;
    const opens = (flags & (SYN | ACK)) === SYN;
    let flow = this.#table.create(packet, now);
    if (flow === null) {
      this.#makeRoom(null, null, now);
      flow = this.#table.create(packet, now);
      if (flow === null) {
        this.#counters[COUNTER.flowsRefused]! += 1;
        this.#chronicle.refused(now);
        return null;
      }
    }
    if ((flags & SYN) === 0) this.#handshakes.recognise(flow, packet, now);
    else this.#handshakes.discard(flow);
    this.#settlePorts(flow);
    if (!this.#charge(flow, now)) {
      this.#counters[COUNTER.flowsRefused]! += 1;
      this.#counters[COUNTER.hostFlowsRefused]! += 1;
      this.#chronicle.refusedHost(now);
      this.#handshakes.forget(flow);
      this.#table.remove(flow);
      return null;
    }
    this.#rulebook.assign(flow, this.#table.keys);
    this.#counters[COUNTER.flowsCreated]! += 1;
    if (this.sweepAt === NEVER) this.sweepAt = now + SWEEP_INTERVAL;
    if (!flow.terms.freeze) {
      this.bypass(flow, 'policy', now);
      return flow;
    }
    if (!opens) {
      // Mid-stream: the handshake was not seen, so only what is scale-free may ever be said in a peer's name, unless an earlier
      // process has seen it (handshakes.ts).
      // (A SYN-ACK whose SYN passed before the gateway ran says too little, too.)
      flow.adopted = true;
      flow.mayTalkPast = true;
      if ((flags & SYN) === 0) flow.phase = FLOWING;
    }
    return flow;
  }

  /** A flow was restored from the journal: it counts like one that was admitted. Its ports are known. */
  readmit(flow: Flow, now: Micros): void {
    this.#charge(flow, now);
    this.#rulebook.assign(flow, this.#table.keys);
    if (this.sweepAt === NEVER) this.sweepAt = now + SWEEP_INTERVAL;
  }

  /**
   * A SYN whose ports are in the table. Those of an ended connection, or of one that was only passed through, are used
   * again (RFC 9293 3.6.1); those of a live one when the other endpoint agrees (reopen.ts).
   * @returns the flow the packet belongs to; another than given when a new connection took its place; null when it has to be
   *   admitted
   */
  onSynOfKnown(flow: Flow, packet: Packet, now: Micros): Flow | null {
    const isBare = (packet.flags & ACK) === 0;
    const isOver = flow.phase === CLOSING && flow.frozen === null;
    const isUnproven = ((flow.frozen as Frozen | null)?.unproven ?? 0) !== 0;
    const syn = isOver || isUnproven || flow.phase === FLOWING ? answeredSyn(flow, packet, this.#vnetLength) : null;
    if ((isOver && syn === null) || (flow.phase === BYPASS && isBare)) {
      this.forget(flow);
      return null;
    }
    // A flow restored from the journal may have ended while nobody looked (proof.ts).
    if (!isOver && !isUnproven && (flow.phase !== FLOWING || flow.lostMask !== 0)) return flow;
    if (syn === null) {
      rememberSyn(flow, packet);
      return flow;
    }
    this.forget(flow);
    return this.#enterAnswered(syn, packet, now);
  }

  /** Marks the flow as one to be left alone. */
  bypass(flow: Flow, reason: BypassReason, now: Micros): void {
    if (flow.phase === BYPASS) return;
    this.#onForget(flow);
    flow.phase = BYPASS;
    flow.bypassReason = reason;
    this.#counters[COUNTER.flowsBypassed]! += 1;
    this.#chronicle.bypassed(flow, reason, now);
  }

  /** Looks up the interfaces of both endpoints. */
  #settlePorts(flow: Flow): void {
    const at = flow.index * KEY_WORDS;
    const { keys } = this.#table;
    flow.halves[0].port = this.#monitor.routes.lookup(flow.family, keys, at);
    flow.halves[1].port = this.#monitor.routes.lookup(flow.family, keys, at + 4);
  }

  /**
   * Charges the flow to its host: the LAN one, or who opens the connection where that says nothing.
   * @returns false when the host has its share already, and nothing of its own can make room
   */
  #charge(flow: Flow, now: Micros): boolean {
    const [originator, responder] = flow.halves;
    const { links } = this.#monitor;
    flow.hostHalf = links[originator.port]?.role !== 'lan' && links[responder.port]?.role === 'lan' ? 1 : 0;
    const at = flow.index * KEY_WORDS + 4 * flow.hostHalf;
    const host = this.#hosts.enter(flow.family, this.#table.keys, at);
    flow.host = host;
    if (host.flows <= this.flowsAllowed) return true;
    this.#makeRoom(host, flow, now);
    if (host.flows <= this.flowsAllowed) return true;
    this.#hosts.leave(host, flow.family, this.#table.keys, at);
    flow.host = null;
    return false;
  }

  /** Flows that one host may have now. */
  get flowsAllowed(): number {
    return this.flowsPerHost ?? Math.max(1, this.#table.capacity - this.#table.size);
  }

  /** Bits of the endpoints that are beyond a loss: 1 originator, 2 responder. */
  lostMaskOf(flow: Flow): number {
    return (this.#isLost(flow, 0) ? 1 : 0) | (this.#isLost(flow, 1) ? 2 : 0);
  }

  /** What holds an endpoint of the flow for lost; the one opposite of `near`, where both are. */
  causeOf(flow: Flow, near: 0 | 1): LossCause {
    const far = near === 0 ? 1 : 0;
    return this.#causeAt(flow, far) ?? this.#causeAt(flow, near) ?? 'other';
  }

  #causeAt(flow: Flow, half: 0 | 1): LossCause | null {
    const detector = this.#monitor.links[flow.halves[half].port]?.detector ?? null;
    if (detector !== null) return lossCause(detector);
    const at = flow.index * KEY_WORDS + 4 * half;
    const { keys } = this.#table;
    const { port } = flow.halves[half];
    const host = this.#lostHosts().at(port, flow.family, keys, at)?.detector ?? null;
    if (host !== null) return lossCause(host);
    if (epochOf(this.#monitor.epochs, keys, flow, half) !== null) return 'address';
    const scope = this.#scopes.find(flow.family, this.#table.keys, at, flow.index, flow.generation, half);
    return scope === null ? null : (scope.cause ?? 'command');
  }

  /**
   * The endpoint to hold under a loss mask. When a command covers both ends, neither is really cut off: the LAN host is
   * held, because what a router loses is its uplink.
   */
  nearOf(flow: Flow, mask: number): 0 | 1 {
    if (mask !== 3) return mask === 1 ? 1 : 0;
    return this.#monitor.links[flow.halves[1].port]?.role === 'lan' ? 1 : 0;
  }

  /** Whether anything at all is lost: then every connection counts, because it may have to be held at once. */
  #isAnyLost(): boolean {
    if (this.#lostHosts().lost.length > 0 || this.#monitor.epochs.size > 0 || this.#scopes.size > 0) return true;
    return this.#monitor.links.some((link) => link.isLost);
  }

  #isLost(flow: Flow, half: 0 | 1): boolean {
    const endpoint = flow.halves[half];
    const at = flow.index * KEY_WORDS + 4 * half;
    if (endpoint.port < 0) endpoint.port = this.#monitor.routes.lookup(flow.family, this.#table.keys, at);
    if (endpoint.port >= 0 && this.#monitor.links[endpoint.port]!.isLost) return true;
    const { port } = endpoint;
    const { keys } = this.#table;
    const hosts = this.#lostHosts();
    if (hosts.lost.length > 0 && hosts.at(port, flow.family, keys, at) !== null) return true;
    const { epochs } = this.#monitor;
    if (epochs.size > 0 && epochOf(epochs, keys, flow, half) !== null) return true;
    if (this.#scopes.size === 0) return false;
    return this.#scopes.covers(flow.family, this.#table.keys, at, flow.index, flow.generation, half);
  }

  forget(flow: Flow): void {
    this.#onForget(flow);
    const at = flow.index * KEY_WORDS + 4 * flow.hostHalf;
    if (flow.host !== null) this.#hosts.leave(flow.host, flow.family, this.#table.keys, at);
    flow.host = null;
    this.#handshakes.forget(flow);
    this.#table.remove(flow);
  }

  /** When due: looks at a few flows and forgets the expired ones. */
  onTimeout(now: Micros): void {
    if (this.sweepAt > now) return;
    this.#table.sweep(Math.ceil(this.#table.span / SWEEP_PARTS), (flow) => {
      if (this.#isExpired(flow, now)) {
        this.#counters[COUNTER.flowsExpired]! += 1;
        this.forget(flow);
      } else this.#handshakes.look(flow, now);
    });
    this.sweepAt = this.#table.size > 0 ? now + SWEEP_INTERVAL : NEVER;
  }

  #isExpired(flow: Flow, now: Micros): boolean {
    const idle = now - flow.lastSeenAt;
    if (flow.phase !== OPENING && flow.frozen !== null) return false;
    if (flow.phase === OPENING) return idle > OPENING_TIMEOUT;
    if (flow.phase === CLOSING) return idle > CLOSING_TIMEOUT;
    // Its reason is in every segment (MD5, AO, DSS), so forgetting it costs nothing.
    if (flow.phase === BYPASS) return idle > BYPASS_TIMEOUT;
    return idle > (isUnanswered(flow) ? UNANSWERED_TIMEOUT : FLOWING_TIMEOUT);
  }

  /**
   * The table is full, or a host (then only its own flows are looked at): closing flows give way, bypassed ones, those that have
   * been given up, and half-open ones, old ones first; established ones never, so that a flood of SYNs costs nobody else anything.
   */
  #makeRoom(host: Host | null, except: Flow | null, now: Micros): void {
    let found: Flow | null = null;
    let candidates = 0;
    this.#table.seek(host === null ? EVICT_STEPS : EVICT_STEPS_OF_HOST, (flow) => {
      if ((host !== null && flow.host !== host) || flow === except) return false;
      const isOver = flow.phase === CLOSING || flow.phase === BYPASS || (flow.frozen as Frozen | null)?.ended === true;
      const isHalfOpen = flow.phase === OPENING || isUnanswered(flow);
      if (!isOver && !isHalfOpen) return false;
      const isIdeal = isOver || now - flow.lastSeenAt > OPENING_EVICT_AGE;
      if (found === null || isIdeal) found = flow;
      return isIdeal || ++candidates >= EVICT_CANDIDATES;
    });
    if (found === null) return;
    this.#counters[COUNTER.flowsExpired]! += 1;
    this.forget(found);
  }
}

/**
 * Adopted mid-stream, and only one endpoint was ever heard: it may be real, or one of a million made-up segments. It is worth no
 * more than a half-open connection.
 */
function isUnanswered(flow: Flow): boolean {
  const [a, b] = flow.halves;
  return flow.adopted && flow.frozen === null && !(a.rcvKnown && b.rcvKnown);
}
