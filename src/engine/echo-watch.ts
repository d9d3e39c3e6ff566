/**
 * Echo watch: carries the questions of the echo probes (link/echo.ts) to the shell and their answers back. Sequence numbers tell
 * answers apart; what was not asked is no answer.
 *
 * Limits. OUTSTANDING_MAX echoes under way; QUEUE_MAX waiting for the shell.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { EchoProbe } from '../link/echo.ts';
import type { EchoEvent, EchoRequest } from '../link/events.ts';
import type { Host } from '../link/hosts.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import { isSameBytes, type NextHops } from '../link/next-hops.ts';

const OUTSTANDING_MAX = 1_024;
const QUEUE_MAX = 256;

interface Outstanding {
  readonly request: EchoRequest;
  readonly at: Micros;
  /** The LAN host that was asked; null for a target of the link. */
  readonly host: Host | null;
}

export class EchoWatch {
  readonly #monitor: LinkMonitor;
  readonly #hops: NextHops;
  /** By port; null where echoes are off. */
  readonly #probes: readonly (EchoProbe | null)[];
  /** Ports whose targets are the routers of their default routes. */
  readonly #isDiscovering: readonly boolean[];
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #queue: EchoRequest[] = [];
  #sequence = 0;
  /** Whether a connection uses the link behind `port`. */
  isNeeded: (port: number) => boolean = () => true;
  /** A target of a link has answered, or a host has. */
  onAnswer: (subject: Link | Host, now: Micros) => void = () => {};
  /** Echoes say that a link is lost. */
  onLost: (link: Link, text: string, now: Micros) => void = () => {};
  /** An echo is overdue. */
  onOverdue: (port: number, now: Micros) => void = () => {};

  constructor(
    monitor: LinkMonitor,
    hops: NextHops,
    probes: readonly (EchoProbe | null)[],
    isDiscovering: readonly boolean[],
  ) {
    this.#monitor = monitor;
    this.#hops = hops;
    this.#probes = probes;
    this.#isDiscovering = isDiscovering;
  }

  get deadline(): Micros {
    let next = NEVER;
    for (const probe of this.#probes) if (probe !== null) next = Math.min(next, probe.deadline);
    return next;
  }

  /** Next hops of a link have changed. */
  onRoutes(port: number, now: Micros): void {
    const probe = this.#probes[port];
    if (probe === null || probe === undefined || !this.#isDiscovering[port]) return;
    const hops = this.#hops.defaultsOf(port);
    probe.retain(hops.map((hop) => hop.address));
    for (const hop of hops) probe.add(hop.family, hop.address, false, now);
  }

  /** A connection over the links behind these ports was opened. */
  wake(port: number, now: Micros): void {
    this.#probes[port]?.wake(now);
  }

  onVerdict(link: Link, now: Micros): void {
    this.#probes[link.port]?.onVerdict(link.isLost, now);
  }

  /** Asks a LAN host. */
  askHost(host: Host, now: Micros): void {
    const link = this.#monitor.links[host.port]!;
    if (this.#probes[host.port] === null) return;
    const address = new Uint8Array(4 * host.words.length);
    const view = new DataView(address.buffer);
    for (let i = 0; i < host.words.length; i++) view.setInt32(4 * i, host.words[i]!);
    this.#send(link, host.family, address, host, now);
  }

  onEvent(link: Link, event: EchoEvent, now: Micros): void {
    const outstanding = this.#outstanding.get(event.sequence);
    if (outstanding === undefined) return;
    const { request, host, at } = outstanding;
    if (request.name !== event.name || !isSameBytes(request.address, event.address)) return;
    this.#outstanding.delete(event.sequence);
    const probe = this.#probes[link.port] ?? null;
    if (event.outcome === 'unsendable') {
      if (host === null) probe?.onUnsendable();
      return;
    }
    if (host !== null) this.onAnswer(host, now);
    else if (probe?.onReply(event.address, at, now) === true) this.onAnswer(link, now);
  }

  run(now: Micros): void {
    for (const [port, probe] of this.#probes.entries()) {
      if (probe === null || probe.deadline > now) continue;
      const link = this.#monitor.links[port]!;
      const targets = probe.run(this.isNeeded(port), now);
      for (const { family, address } of targets) if (!link.isProven) this.#send(link, family, address, null, now);
      if (link.isLost) continue;
      const text = probe.verdict(now);
      if (text !== null) this.onLost(link, text, now);
      else if (probe.isSuspecting(now)) this.onOverdue(port, now);
    }
  }

  /** The next request for the shell, or undefined. */
  poll(): EchoRequest | undefined {
    return this.#queue.shift();
  }

  #send(link: Link, family: 4 | 6, address: Uint8Array, host: Host | null, now: Micros): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const request = { name: link.name, family, address, sequence: this.#sequence };
    this.#outstanding.delete(this.#sequence);
    if (this.#outstanding.size >= OUTSTANDING_MAX) this.#outstanding.delete(this.#outstanding.keys().next().value!);
    this.#outstanding.set(this.#sequence, { request, at: now, host });
    if (this.#queue.length >= QUEUE_MAX) this.#queue.shift();
    this.#queue.push(request);
  }
}
