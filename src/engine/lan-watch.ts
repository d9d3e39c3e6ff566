/**
 * What the kernel and DHCP say of neighbours, hosts and leases, brought to a verdict where connections are concerned
 * (link/neighbours.ts and link/leases.ts have the rules).
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FLOWING, FROZEN, HANDBACK } from '../flow/phase.ts';
import type { DhcpEvent, NeighbourEvent } from '../link/events.ts';
import { addressWords, type Host, isSameAddress } from '../link/hosts.ts';
import { type HostVerdict, Leases, type OwnVerdict } from '../link/leases.ts';
import type { Link } from '../link/monitor.ts';
import { type Neighbour, Neighbours } from '../link/neighbours.ts';
import { formatAddressBytes } from '../wire/address.ts';
import { seqDiff } from '../wire/seq.ts';
import { Resolver } from './resolver.ts';
import type { WatchContext } from './watch-context.ts';

/** A connection wants its host when something was seen of it for this long, or is in flight. */
const WANTED: Micros = seconds(10);
/** Whoever was heard this recently is there, whatever address resolution says. */
const LIVELY: Micros = seconds(1);
/** An answer to a question is to be expected within this time; a second failure then counts. */
const ASKED: Micros = seconds(30);
const ASKERS = 2;
const MAX_OWNERS = 64;

/** What the connections of one host, or over one link, show. */
interface Use {
  /** Number of connections that are there to be protected. */
  count: number;
  /** Whether one of them wants an answer now. */
  isWanted: boolean;
  heardAt: Micros;
}

export class LanWatch {
  readonly #context: WatchContext;
  readonly #neighbours = new Neighbours();
  readonly #leases = new Leases();
  readonly resolver: Resolver;
  readonly #askedAt = new Map<Neighbour, Micros>();
  /** By port and address: whose connections wait, where the address was given to another host. */
  readonly #owners = new Map<string, string>();

  constructor(context: WatchContext) {
    this.#context = context;
    this.resolver = new Resolver((port) => context.verdicts.monitor.links[port]!.name);
    this.resolver.isAsked = (neighbour) => this.#isAsked(neighbour);
  }

  get deadline(): Micros {
    return Math.min(this.#leases.deadline, this.resolver.deadline);
  }

  run(now: Micros): void {
    this.resolver.run(now);
    if (this.#leases.deadline > now) return;
    for (const { port, verdict } of this.#leases.due(now)) {
      const link = this.#context.verdicts.monitor.links[port]!;
      // Counted, not told: a link on which something is heard has not lost its address.
      if (verdict.kind === 'lost' && now - this.#context.watch.heardAt(port) < 3 * LIVELY) continue;
      this.#own(link, verdict, now);
    }
  }

  onNeighbour(link: Link, event: NeighbourEvent, now: Micros): void {
    const { neighbour } = this.#neighbours.onEvent(link.port, event, now);
    if (event.hardware !== undefined) this.#leases.onHardware(link.port, event.address, event.hardware);
    const hop = this.#context.hops.of(link.port, event.address);
    const host = this.#context.verdicts.hosts.find(link.port, addressWords(event.address));
    if (event.state === 'reachable') {
      this.#askedAt.delete(neighbour);
      if (hop !== undefined) this.#isThere(link, 'the next hop answers', now);
      if (host !== undefined) this.#isThere(host, 'its address resolves again', now);
      return;
    }
    if (event.state !== 'failed' || !neighbour.wasKnown) return;
    this.resolver.onFailed(neighbour, now);
    if (link.isLost) return;
    if (hop?.isDefault === true) {
      // With another router of the same link in order, nothing is lost.
      const others = this.#context.hops.defaultsOf(link.port).filter((other) => other !== hop);
      const isServed = others.some(
        (other) =>
          other.family === hop.family && this.#neighbours.find(link.port, other.address)?.state === 'reachable',
      );
      if (!isServed) this.#onFailed(link, neighbour, this.#useOf(link, null, now), now);
    } else if (hop === undefined || hop.routes.size === 0) {
      this.#onFailed(link, neighbour, this.#useOf(link, neighbour, now), now);
    }
  }

  onLease(link: Link, event: DhcpEvent, now: Micros): void {
    if (event.prefixLength !== undefined) this.#onPrefix(link, event, event.prefixLength, now);
    else if (event.lease === 'own') this.#own(link, this.#leases.onOwn(link.port, event, now), now);
    else this.#host(link, this.#leases.onHost(link.port, event), now);
  }

  /** A delegated prefix: its connections wait for it, the link is judged by its own addresses. */
  #onPrefix(link: Link, { what, address }: DhcpEvent, prefixLength: number, now: Micros): void {
    if (address?.length !== 16) return;
    const isHeld = what === 'bound' || what === 'renewed' || what === 'changed';
    const isGone = what === 'expired' || what === 'released' || what === 'declined' || what === 'nak';
    if (!isHeld && !isGone) return;
    this.#context.verdicts.monitor.epochs.onDelegated(link.port, addressWords(address), prefixLength, isHeld, now);
  }

  #own(link: Link, verdict: OwnVerdict, now: Micros): void {
    if (verdict.kind === 'lost') this.#context.verdicts.say(link, 'lease', verdict.text, now);
    else if (verdict.kind === 'good') this.#context.verdicts.say(link, 'lease', null, now, 'a lease is held again');
    else if (verdict.kind === 'suspect') this.#context.watch.suspicions.begin(link.port, now);
  }

  #host(link: Link, verdict: HostVerdict, now: Micros): void {
    if (verdict.kind === 'none') return;
    const words = addressWords(verdict.address);
    const family = words.length === 1 ? 4 : 6;
    if (verdict.kind === 'back') {
      const host = this.#context.verdicts.hosts.find(link.port, words);
      if (host === undefined) return;
      this.#context.verdicts.say(host, 'lease', null, now, 'asks for its address again');
      this.#context.inquiries.onSign(host, now);
      return;
    }
    if (verdict.kind === 'taken') {
      this.#onTaken(link, verdict, now);
      return;
    }
    if (this.#useOf(link, { family, address: verdict.address }, now).count === 0) return;
    const host = this.#context.verdicts.hostOf(link.port, family, words, now);
    if (host === null) return;
    this.#context.verdicts.say(host, 'lease', verdict.text, now);
    this.#context.inquiries.begin(host, now);
  }

  /** An address has gone from one host to another: custody of the former one's connections is not for the new one. */
  #onTaken(link: Link, taken: Extract<HostVerdict, { kind: 'taken' }>, now: Micros): void {
    const { address, hardware, former } = taken;
    const { epochs } = this.#context.verdicts.monitor;
    const text = formatAddressBytes(address);
    const key = `${link.port} ${text}`;
    const owner = this.#owners.get(key);
    if (owner === hardware) {
      this.#owners.delete(key);
      epochs.onTakenBack(link.port, text);
      return;
    }
    const words = addressWords(address);
    const family = words.length === 1 ? 4 : 6;
    if (this.#useOf(link, { family, address }, now).count === 0) return;
    if (this.#owners.size >= MAX_OWNERS) this.#owners.delete(this.#owners.keys().next().value!);
    this.#owners.set(key, owner ?? former);
    epochs.onTaken(link.port, family, words, text, now);
  }

  /** The kernel resolves the address, or an echo came back: proof of the neighbour, not of the connections. */
  #isThere(subject: Link | Host, cause: string, now: Micros): void {
    if (subject.evidence.neighbour !== null) this.#context.verdicts.say(subject, 'neighbour', null, now, cause);
    this.#context.inquiries.onSign(subject, now);
  }

  /** Address resolution of a host (or next hop, then `subject` is its link) has failed. */
  #onFailed(link: Link, neighbour: Neighbour, use: Use, now: Micros): void {
    const isHop = this.#context.hops.of(link.port, neighbour.address) !== undefined;
    if (use.count === 0 || now - use.heardAt < LIVELY) return;
    const wasAsked = now - (this.#askedAt.get(neighbour) ?? -NEVER) < ASKED;
    if (!use.isWanted && !wasAsked) {
      // Nobody wants it just now: a question makes the kernel try once more.
      if (this.#askedAt.size > 256) this.#askedAt.clear();
      this.#askedAt.set(neighbour, now);
      this.#ask(link, isHop ? null : neighbour);
      this.#context.watch.suspicions.begin(link.port, now);
      return;
    }
    this.#askedAt.delete(neighbour);
    const words = addressWords(neighbour.address);
    const subject = isHop ? link : this.#context.verdicts.hostOf(link.port, neighbour.family, words, now);
    if (subject === null) return;
    const text = isHop ? 'the next hop does not answer address resolution' : 'does not answer address resolution';
    this.#context.verdicts.say(subject, 'neighbour', text, now);
    this.#context.inquiries.begin(subject, now);
  }

  /** Whether somebody waits for an answer of the neighbour: about itself, or about the link it is on. */
  #isAsked({ port, address }: Neighbour): boolean {
    const { inquiries, verdicts } = this.#context;
    const link = verdicts.monitor.links[port]!;
    if (link.isProven) return false;
    if (inquiries.has(link)) return true;
    const host = verdicts.hosts.find(port, addressWords(address));
    return host !== undefined && inquiries.has(host);
  }

  #ask(link: Link, host: { readonly family: 4 | 6; readonly address: Uint8Array } | null): void {
    let asked = 0;
    this.#each(link, host, (flow, far) => {
      if (asked < ASKERS && this.#context.asker.askFlowing(flow, far)) asked++;
    });
  }

  #useOf(link: Link, host: { readonly family: 4 | 6; readonly address: Uint8Array } | null, now: Micros): Use {
    const use: Use = { count: 0, isWanted: false, heardAt: -NEVER };
    this.#each(link, host, (flow, far) => {
      if (flow.phase !== FLOWING && flow.phase !== FROZEN && flow.phase !== HANDBACK) return;
      const peer = flow.halves[far];
      const near = flow.halves[far === 0 ? 1 : 0];
      use.count++;
      use.heardAt = Math.max(use.heardAt, peer.heardAt);
      const isInFlight = near.sndKnown && peer.rcvKnown && seqDiff(near.sndNxt, peer.rcvNxt) > 0;
      if (isInFlight || now - flow.lastSeenAt < WANTED) use.isWanted = true;
    });
    return use;
  }

  /** Visits the connections over a link, or of one host behind it. */
  #each(
    link: Link,
    host: { readonly family: 4 | 6; readonly address: Uint8Array } | null,
    visit: (flow: Flow, far: 0 | 1) => void,
  ): void {
    const words = host === null ? null : addressWords(host.address);
    this.#context.table.forEach((flow) => {
      for (const far of [0, 1] as const) {
        if (flow.halves[far].port !== link.port) continue;
        if (host !== null && words !== null) {
          if (flow.family !== host.family) continue;
          if (!isSameAddress(this.#context.table.keys, flow.index * KEY_WORDS + 4 * far, words)) continue;
        }
        visit(flow, far);
      }
    });
  }
}
