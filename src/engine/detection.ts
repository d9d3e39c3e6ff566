/**
 * Detection: where everything that the shell reports of the network arrives, and from where it reaches the detector that
 * understands it. Detectors bring evidence; verdicts.ts weighs it and acts on it.
 *
 *   kernel (interfaces, addresses, routes) -> link/monitor          proof
 *   neighbours, leases                     -> lan-watch             proof, or suspicion
 *   ICMP errors                            -> icmp-watch            suspicion, put to the question
 *   echoes                                 -> echo-watch            asked for, at a pace
 *   connections                            -> watch, suspicion, host-watch
 *   what was inferred                      -> inquiry               asked about until it answers
 */
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { BYPASS, CLOSING, FROZEN } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { FreezeContext } from '../freeze/context.ts';
import { EchoProbe } from '../link/echo.ts';
import type { EchoRequest, LinkEvent, ResolveRequest } from '../link/events.ts';
import type { Host } from '../link/hosts.ts';
import { Link, type LinkMonitor } from '../link/monitor.ts';
import { NextHops } from '../link/next-hops.ts';
import { NO_DETECTORS } from '../policy/detectors.ts';
import { parseAddress } from '../wire/address.ts';
import { Asker } from './asker.ts';
import type { PortConfig } from './config.ts';
import { EchoWatch } from './echo-watch.ts';
import { epochOf } from './epoch.ts';
import type { EventQueue } from './event-queue.ts';
import { IcmpWatch } from './icmp-watch.ts';
import { Inquiries } from './inquiry.ts';
import { LanWatch } from './lan-watch.ts';
import { PortWatch } from './port-watch.ts';
import { Rerouting } from './rerouting.ts';
import type { Settler } from './settler.ts';
import { Suspicions } from './suspicion.ts';
import type { Verdicts } from './verdicts.ts';
import { Watch } from './watch.ts';

/** Connections that are told about one by one when their address goes. */
const STRANDED_MAX = 20;

export class Detection {
  readonly watch: Watch;
  readonly #monitor: LinkMonitor;
  readonly #verdicts: Verdicts;
  readonly #table: FlowTable;
  readonly #events: EventQueue;
  readonly #settler: Settler;
  /** By port plus one; the first is of what lies behind no link. */
  readonly #watches: readonly PortWatch[];
  readonly #hops = new NextHops();
  readonly #inquiries: Inquiries;
  readonly #icmp: IcmpWatch;
  readonly #echo: EchoWatch;
  readonly #lan: LanWatch;
  readonly #giveUp: FreezeContext['giveUp'];
  readonly #rerouting: Rerouting;

  /** @param ports in the order of the monitor's links */
  constructor(
    context: FreezeContext,
    verdicts: Verdicts,
    events: EventQueue,
    settler: Settler,
    ports: readonly PortConfig[],
  ) {
    const { table, synthesizer } = context;
    const { monitor } = verdicts;
    this.#table = table;
    this.#monitor = monitor;
    this.#verdicts = verdicts;
    this.#events = events;
    this.#settler = settler;
    this.#giveUp = (flow, why, now) => context.giveUp(flow, why, now);
    const settings = ports.map((port) => ({ ...NO_DETECTORS, ...port.detectors }));
    const probes = settings.map(({ echo }) => (echo === null ? null : new EchoProbe(echo.interval)));
    const nowhere = new PortWatch(-1, null, NO_DETECTORS, null, context.pacerOf(-1));
    const watches = monitor.links.map(
      (link, port) => new PortWatch(port, link, settings[port]!, probes[port]!, context.pacerOf(port)),
    );
    this.#watches = [nowhere, ...watches];
    const asker = new Asker(synthesizer);
    this.#inquiries = new Inquiries(table, verdicts, asker);
    const suspicions = new Suspicions(table, asker, watches);
    this.watch = new Watch(table, verdicts, this.#inquiries, suspicions, this.#watches);
    const told = { table, verdicts, watch: this.watch, inquiries: this.#inquiries, asker, hops: this.#hops };
    this.#icmp = new IcmpWatch(told);
    this.#lan = new LanWatch(told);
    this.#rerouting = new Rerouting(table, monitor, events, settler, ports);
    const isDiscovering = settings.map(({ echo }) => echo?.targets === 'auto');
    this.#echo = new EchoWatch(monitor, this.#hops, probes, isDiscovering);
    for (const [port, { echo }] of settings.entries()) {
      if (echo === null || echo.targets === 'auto') continue;
      for (const text of echo.targets) {
        const address = parseAddress(text);
        if (address !== undefined) probes[port]!.add(address.length === 4 ? 4 : 6, address, true, 0);
      }
    }
    for (const [port, { role, isTranslated }] of ports.entries())
      monitor.epochs.configure(port, role, isTranslated === true);
    this.#tie();
  }

  /** What the detectors tell each other. */
  #tie(): void {
    this.#verdicts.onVerdict = (subject, now) => this.#onVerdict(subject, now);
    this.#inquiries.onEcho = (host, now) => this.#echo.askHost(host, now);
    this.#echo.isNeeded = (port) => this.#isUsed(port);
    this.#echo.onLost = (link, text, now) => {
      this.#verdicts.say(link, 'echo', text, now);
      this.#inquiries.begin(link, now);
    };
    this.#echo.onOverdue = (port, now) => this.watch.suspicions.begin(port, now);
    this.#echo.onAnswer = (subject, now) => this.#onAnswer(subject, now);
  }

  /** Takes one report; what concerns no configured link, or a detector that is off, is left alone. */
  onEvent(event: LinkEvent, now: Micros): void {
    const link = this.#monitor.byName(event.name);
    if (link === undefined) return;
    const { epochs } = this.#monitor;
    const { changes } = epochs;
    this.#dispatch(link, event, now);
    if (epochs.changes === changes) return;
    this.#settler.settleAll(now);
    this.#tellStranded(link, now);
  }

  #dispatch(link: Link, event: LinkEvent, now: Micros): void {
    const { settings } = this.#watches[link.port + 1]!;
    switch (event.kind) {
      case 'icmp':
        if (settings.icmp) this.#icmp.onDatagram(link, event.bytes, now);
        return;
      case 'echo':
        this.#echo.onEvent(link, event, now);
        return;
      case 'neighbour':
        if (settings.neighbour) this.#lan.onNeighbour(link, event, now);
        return;
      case 'dhcp':
        if (settings.dhcp) this.#lan.onLease(link, event, now);
        return;
      case 'route':
        this.#monitor.onEvent(event, now);
        this.#hops.onRoute(link.port, event);
        this.#echo.onRoutes(link.port, now);
        this.#rerouting.onRoute(now);
        return;
      default:
        this.#onKernel(link, event, now);
    }
  }

  #onKernel(link: Link, event: LinkEvent, now: Micros): void {
    if (this.#monitor.onEvent(event, now) !== null) this.#verdicts.announce(link, now);
    // Whoever gives the link an address has a lease for it.
    const isAddressed = event.kind === 'address' && event.present && event.global;
    if (isAddressed && link.evidence.lease !== null)
      this.#verdicts.say(link, 'lease', null, now, 'has an address again');
  }

  /** Connections whose own address is gone: they wait for it, and people should know. */
  #tellStranded(link: Link, now: Micros): void {
    const { epochs } = this.#monitor;
    let count = 0;
    let label = '';
    this.#table.forEach((flow) => {
      if (flow.phase !== FROZEN) return;
      const epoch = epochOf(epochs, this.#table.keys, flow, flow.near === 0 ? 1 : 0);
      if (epoch === null || epoch.to !== now) return;
      label = epoch.label;
      if (count++ >= STRANDED_MAX) return;
      const message =
        epoch.kind === 'host'
          ? `its peer's address ${epoch.label} belongs to another host now; it waits for the former one`
          : `its address ${epoch.label} is gone from ${link.name}; it waits for the address to return`;
      this.#events.push({ at: now, name: 'flow-stranded', message, flow: flow.id, link: link.name });
    });
    if (count === 0) return;
    const message = `${count} connections have lost their address ${label} of ${link.name}`;
    this.#events.push({ at: now, name: 'address-lost', message, link: link.name, figures: { flows: count } });
  }

  /** A connection was opened, or seen for the first time. */
  onFlow(flow: Flow, now: Micros): void {
    for (const { port } of flow.halves) if (port >= 0) this.#echo.wake(port, now);
  }

  /** A person says that all is well with a link (null: with every link): what was inferred about it and its hosts is void. */
  resume(link: Link, now: Micros): void {
    this.#icmp.forget(link.port);
    this.watch.reset(link.port, now);
    for (const host of [...this.#verdicts.hosts.lost]) if (host.port === link.port) this.#verdicts.clear(host, now);
    this.#verdicts.clear(link, now);
  }

  /** A person says that all is well with a host. @returns whether it was held for lost */
  resumeHost(family: 4 | 6, words: Int32Array, now: Micros): boolean {
    const isIt = (host: Host): boolean => host.family === family && host.words.every((word, i) => word === words[i]);
    const hosts = this.#verdicts.hosts.lost.filter(isIt);
    for (const host of hosts) this.#verdicts.clear(host, now);
    return hosts.length > 0;
  }

  get deadline(): Micros {
    return Math.min(
      this.watch.deadline,
      this.#inquiries.deadline,
      this.#icmp.deadline,
      this.#echo.deadline,
      this.#lan.deadline,
      this.#verdicts.deadline,
      this.#monitor.epochs.deadline,
      this.#rerouting.deadline,
    );
  }

  run(now: Micros): void {
    this.watch.run(now);
    this.#icmp.run(now);
    this.#echo.run(now);
    this.#lan.run(now);
    this.#inquiries.run(now);
    this.#verdicts.run(now);
    this.#rerouting.run(now);
    const { epochs } = this.#monitor;
    if (epochs.deadline > now) return;
    this.#giveUpTaken(now);
    for (const epoch of epochs.expire(now)) {
      const name = this.#monitor.links[epoch.port]!.name;
      const message = `${epoch.label} has not returned to ${name}: its connections are given back as they are`;
      this.#events.push({ at: now, name: 'address-abandoned', message, link: name });
    }
    this.#settler.settleAll(now);
  }

  /** Connections whose peer's address was given to another host for good: nothing of theirs is for that one. */
  #giveUpTaken(now: Micros): void {
    const { epochs } = this.#monitor;
    this.#table.forEach((flow) => {
      if (flow.phase !== FROZEN) return;
      const epoch = epochOf(epochs, this.#table.keys, flow, flow.near === 0 ? 1 : 0);
      if (epoch?.kind === 'host' && epoch.until <= now)
        this.#giveUp(flow, `${epoch.label} belongs to another host`, now);
    });
  }

  /** The next echo to be sent, or undefined. */
  pollEcho(): EchoRequest | undefined {
    return this.#echo.poll();
  }

  /** The next neighbour to be tried again, or undefined. */
  pollResolve(): ResolveRequest | undefined {
    return this.#lan.resolver.poll();
  }

  #onVerdict(subject: Link | Host, now: Micros): void {
    if (!(subject instanceof Link)) return;
    this.watch.reset(subject.port, now);
    this.#icmp.forget(subject.port);
    this.#echo.onVerdict(subject, now);
  }

  /** An echo came back: what was concluded from lost echoes and unresolved addresses is refuted; connections ask for the rest. */
  #onAnswer(subject: Link | Host, now: Micros): void {
    if (subject.penalty.reuseAt(now) <= now) {
      for (const detector of ['echo', 'neighbour'] as const) {
        if (subject.evidence[detector] !== null)
          this.#verdicts.say(subject, detector, null, now, 'echoes are answered');
      }
      if (!(subject instanceof Link) && subject.evidence.lease !== null)
        this.#verdicts.say(subject, 'lease', null, now, 'echoes are answered');
    }
    this.#inquiries.onSign(subject, now);
  }

  /** Whether a connection that deserves protection uses the link. */
  #isUsed(port: number): boolean {
    return this.#table.some(
      (flow) =>
        (flow.halves[0].port === port || flow.halves[1].port === port) &&
        flow.phase !== CLOSING &&
        flow.phase !== BYPASS,
    );
  }
}
