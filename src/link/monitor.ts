/**
 * Link monitor: is a link usable, and why not?
 *
 * Purpose.  Turns what the shell reports (interfaces, addresses, routes, commands) into a verdict per link, with reasons.
 * Design.   Every detector owns one line of evidence per link: a text when it holds the link for lost, null when it has no
 *           complaint. The verdict is lost while any line stands; a command outranks them all until released. Further
 *           detectors (ICMP, DHCP, silence in TCP) add a line of their own and change nothing here.
 * Rules.    Lost = the interface is gone, down, without carrier, not operational (RFC 2863), or has lost the last
 *           global address it had. A link that never had an address is not lost for lacking one.
 * Limits.   One record per configured link and at most MAX_ADDRESSES addresses each.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { LinkEvent } from './events.ts';
import { RouteMap } from './routes.ts';

const MAX_ADDRESSES = 256;

/** IFLA_OPERSTATE values that mean "cannot pass packets" (RFC 2863 3.1.14, linux/if.h). */
const OPER_DOWN = 2;
const OPER_LOWER_LAYER_DOWN = 3;
const OPER_DORMANT = 5;

/** Order in which reasons are named: the most specific proof first. */
const DETECTORS = ['interface', 'carrier', 'address', 'silence', 'command'] as const;
export type Detector = (typeof DETECTORS)[number];

export class Link {
  readonly name: string;
  readonly role: 'lan' | 'wan';
  readonly port: number;
  isLost = false;
  /** When the present verdict was reached. */
  since: Micros;
  readonly evidence: Record<Detector, string | null> = {
    interface: null,
    carrier: null,
    address: null,
    silence: null,
    command: null,
  };
  readonly addresses = new Set<string>();
  hadAddress = false;
  mtu = 1500;
  /** Connections that wait for it longer are given up; NEVER: it sets no limit. */
  maxOutage: Micros = NEVER;

  constructor(name: string, role: 'lan' | 'wan', port: number, now: Micros) {
    this.name = name;
    this.role = role;
    this.port = port;
    this.since = now;
  }

  /** The evidence that stands, most specific first. */
  standing(): string[] {
    const lines: string[] = [];
    for (const detector of DETECTORS) {
      const line = this.evidence[detector];
      if (line !== null) lines.push(line);
    }
    return lines;
  }

  /** The detector whose evidence is the most specific; null when there is none. */
  get detector(): Detector | null {
    return DETECTORS.find((detector) => this.evidence[detector] !== null) ?? null;
  }

  /** Whether packets can be written to it at all; a command or a suspicion does not change that. */
  get canCarry(): boolean {
    return this.evidence.interface === null && this.evidence.carrier === null && this.evidence.address === null;
  }

  get reason(): string {
    return this.standing()[0] ?? 'operational';
  }
}

export class LinkMonitor {
  readonly links: readonly Link[];
  readonly routes = new RouteMap();

  /** @param ports `absent`: the interface does not exist yet */
  constructor(
    ports: readonly { readonly name: string; readonly role: 'lan' | 'wan'; readonly absent?: boolean }[],
    now: Micros,
  ) {
    this.links = ports.map((port, index) => new Link(port.name, port.role, index, now));
    for (const link of this.links) {
      if (ports[link.port]!.absent !== true) continue;
      link.evidence.interface = 'interface not there yet';
      link.isLost = true;
    }
  }

  byName(name: string): Link | undefined {
    return this.links.find((link) => link.name === name);
  }

  /**
   * Takes one report.
   * @returns the link whose verdict changed, or null
   */
  onEvent(event: LinkEvent, now: Micros): Link | null {
    const link = this.byName(event.name);
    if (link === undefined) return null;
    switch (event.kind) {
      case 'interface': {
        link.mtu = event.mtu;
        link.evidence.interface = event.up ? null : 'interface down';
        const operational =
          event.operState !== OPER_DOWN &&
          event.operState !== OPER_LOWER_LAYER_DOWN &&
          event.operState !== OPER_DORMANT;
        link.evidence.carrier = !event.up
          ? null
          : !event.carrier
            ? 'no carrier'
            : operational
              ? null
              : 'not operational';
        break;
      }
      case 'interface-gone':
        link.evidence.interface = 'interface gone';
        link.evidence.carrier = null;
        break;
      case 'address': {
        if (!event.global) return null;
        const key = `${event.family}/${event.prefixLength}/${event.address.join('.')}`;
        if (!event.present) link.addresses.delete(key);
        else if (link.addresses.size < MAX_ADDRESSES) link.addresses.add(key);
        if (link.addresses.size > 0) link.hadAddress = true;
        link.evidence.address = link.hadAddress && link.addresses.size === 0 ? 'last address gone' : null;
        break;
      }
      case 'route':
        if (event.present)
          this.routes.add(event.family, event.destination, event.prefixLength, link.port, event.metric);
        else this.routes.remove(event.family, event.destination, event.prefixLength, link.port);
        return null;
      default:
        return null;
    }
    return this.#judge(link, now);
  }

  /** A command declares a link lost (`text`) or releases it (null). */
  onCommand(link: Link, text: string | null, now: Micros): Link | null {
    link.evidence.command = text;
    return this.#judge(link, now);
  }

  /** Connections over the link get no answer (`text` says how that showed), or get one again (null). */
  onSilence(link: Link, text: string | null, now: Micros): Link | null {
    link.evidence.silence = text;
    return this.#judge(link, now);
  }

  #judge(link: Link, now: Micros): Link | null {
    const lost = link.standing().length > 0;
    if (lost === link.isLost) return null;
    link.isLost = lost;
    link.since = now;
    return link;
  }
}
