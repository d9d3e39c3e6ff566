/**
 * Link monitor: is a link usable, and why not?
 *
 * Purpose.  Turns what the shell reports (interfaces, addresses, routes, commands) into a verdict per link, with reasons.
 * Design.   Each link is the subject of a verdict (subject.ts). What the kernel reports is proof and is said here; what is
 *           inferred (ICMP, echoes, neighbours, leases, silence in TCP) is said by the detectors.
 * Rules.    Lost = the interface is gone, down, without carrier, not operational (RFC 2863), or has lost the last
 *           global address it had. A link that never had an address is not lost for lacking one.
 * Limits.   One record per configured link and at most MAX_ADDRESSES addresses each.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { DampingSettings } from './damping.ts';
import { EpochList } from './epochs.ts';
import type { LinkEvent } from './events.ts';
import { RouteMap } from './routes.ts';
import { Subject } from './subject.ts';

const MAX_ADDRESSES = 256;

/** IFLA_OPERSTATE values that mean "cannot pass packets" (RFC 2863 3.1.14, linux/if.h). */
const OPER_DOWN = 2;
const OPER_LOWER_LAYER_DOWN = 3;
const OPER_DORMANT = 5;

export class Link extends Subject {
  readonly name: string;
  readonly role: 'lan' | 'wan';
  readonly port: number;
  readonly addresses = new Set<string>();
  hadAddress = false;
  mtu = 1500;
  /** Connections that wait for it longer are given up; NEVER: it sets no limit. */
  maxOutage: Micros = NEVER;

  constructor(name: string, role: 'lan' | 'wan', port: number, now: Micros, damping: DampingSettings | null = null) {
    super(damping, now);
    this.name = name;
    this.role = role;
    this.port = port;
  }

  /** Whether packets can be written to it at all; a command or a suspicion does not change that. */
  get canCarry(): boolean {
    return this.evidence.interface === null && this.evidence.carrier === null && this.evidence.address === null;
  }
}

export class LinkMonitor {
  readonly links: readonly Link[];
  readonly routes = new RouteMap();
  readonly epochs = new EpochList();

  /** @param ports `absent`: the interface does not exist yet; @param damping by port; null: a return is believed at once */
  constructor(
    ports: readonly { readonly name: string; readonly role: 'lan' | 'wan'; readonly absent?: boolean }[],
    now: Micros,
    damping: readonly (DampingSettings | null)[] = [],
  ) {
    this.links = ports.map(({ name, role }, port) => new Link(name, role, port, now, damping[port] ?? null));
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
        this.epochs.onAddress(link.port, event, now);
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
    return link.judge(now) ? link : null;
  }

  /** A command declares a link lost (`text`) or releases it (null). */
  onCommand(link: Link, text: string | null, now: Micros): Link | null {
    return link.say('command', text, now) ? link : null;
  }

  /** When a return that was held back is believed, of all links; NEVER while none is. */
  get deadline(): Micros {
    let next = NEVER;
    for (const link of this.links) next = Math.min(next, link.heldUntil);
    return next;
  }

  /** Whether a global address is one of the gateway's own, on any link. @param address network byte order */
  isOwn(address: Uint8Array): boolean {
    const tail = `/${address.join('.')}`;
    for (const link of this.links) for (const key of link.addresses) if (key.endsWith(tail)) return true;
    return false;
  }
}
