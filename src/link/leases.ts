/**
 * Leases (RFC 2131): what DHCP says about the gateway's own addresses and about the hosts on its LAN.
 *
 * Own lease. A NAK, an expiry or a release is proof that the address must not be used any more (4.4.5: the client MUST stop). T2
 *            without an answer (rebinding) means that the server is out of reach, a reason to look closer. When the
 *            client says nothing at all beyond the lease's end, the end counts, unless the link shows life.
 * Hosts.     RELEASE and DECLINE: the host left its address. DISCOVER and REQUEST: it is there again. Another hardware address
 *            at the same address is another host; its connections are not the former one's.
 * Limits.    MAX_LEASES hosts; the one heard of longest ago gives way. One lease of its own per link and family.
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { DhcpEvent } from './events.ts';

const MAX_LEASES = 4_096;
/** A clock and a client may be this late before the end of a lease is taken from the gateway's own count. */
const EXPIRY_SLACK: Micros = seconds(2);
/** Longest lease that is counted; above lie "infinite" ones (RFC 2131 3.3: 0xffffffff). */
const LEASE_MAX_SECONDS = 0xffff_fffe;

interface OwnLease {
  readonly port: number;
  readonly family: 4 | 6;
  address: string;
  /** T2 and end; NEVER where not known. */
  rebindAt: Micros;
  endAt: Micros;
}

interface HostLease {
  readonly port: number;
  address: Uint8Array;
  hardware: string;
}

/** What follows from a report about the own lease. */
export type OwnVerdict =
  /** The lease is no more: text. */
  | { readonly kind: 'lost'; readonly text: string }
  | { readonly kind: 'good' }
  /** The server does not answer. */
  | { readonly kind: 'suspect' }
  | { readonly kind: 'none' };

/** What follows from a report about a host. */
export type HostVerdict =
  | { readonly kind: 'gone'; readonly address: Uint8Array; readonly text: string }
  | { readonly kind: 'back'; readonly address: Uint8Array }
  /** Its host has taken another address. */
  | { readonly kind: 'moved'; readonly address: Uint8Array; readonly text: string }
  /** `address` belongs to the host `hardware` now, it was `former`'s. */
  | { readonly kind: 'taken'; readonly address: Uint8Array; readonly hardware: string; readonly former: string }
  | { readonly kind: 'none' };

const NONE = { kind: 'none' } as const;

export class Leases {
  /** By port and family; bounded by the number of links. */
  readonly #own = new Map<string, OwnLease>();
  /** By port and address. */
  readonly #byAddress = new Map<string, HostLease>();
  /** By port and hardware address: where the host was seen last. */
  readonly #byHardware = new Map<string, HostLease>();

  get size(): number {
    return this.#byAddress.size;
  }

  /** A report about the gateway's own lease on `port`. */
  onOwn(port: number, event: DhcpEvent, now: Micros): OwnVerdict {
    const verdict = this.#judgeOwn(port, event, now);
    this.#setDeadline();
    return verdict;
  }

  #judgeOwn(port: number, event: DhcpEvent, now: Micros): OwnVerdict {
    const key = `${port}/${event.family}`;
    const address = textOf(event.address);
    const known = this.#own.get(key);
    switch (event.what) {
      case 'bound':
      case 'renewed':
      case 'changed': {
        const end = spanOf(event.leaseSeconds);
        const rebind = spanOf(event.rebindSeconds ?? (end === NEVER ? undefined : (0.875 * end) / 1e6));
        this.#own.set(key, {
          port,
          family: event.family,
          address: address || (known?.address ?? ''),
          rebindAt: now + rebind,
          endAt: now + end,
        });
        return { kind: 'good' };
      }
      case 'rebinding':
        if (known !== undefined) known.rebindAt = NEVER;
        return { kind: 'suspect' };
      case 'expired':
      case 'nak':
      case 'released':
      case 'declined': {
        // A late word about an address that is not the link's any more.
        if (event.what !== 'nak' && known !== undefined && address !== '' && known.address !== '')
          if (known.address !== address) return NONE;
        this.#own.delete(key);
        const what = { expired: 'expired', nak: 'refused (NAK)', released: 'released', declined: 'declined' }[
          event.what
        ];
        return { kind: 'lost', text: `lease${address === '' ? '' : ` of ${address}`} ${what}` };
      }
      default:
        return NONE;
    }
  }

  /** When a lease of the gateway's own comes to T2 or to its end without a word. */
  deadline: Micros = NEVER;

  #setDeadline(): void {
    this.deadline = NEVER;
    for (const { rebindAt, endAt } of this.#own.values())
      this.deadline = Math.min(this.deadline, rebindAt, endAt + EXPIRY_SLACK);
  }

  /** Own leases that came to T2 (`suspect`) or to their end (`lost`) by the gateway's own count. */
  due(now: Micros): { readonly port: number; readonly verdict: OwnVerdict }[] {
    const found: { port: number; verdict: OwnVerdict }[] = [];
    for (const [key, lease] of this.#own) {
      if (lease.endAt + EXPIRY_SLACK <= now) {
        this.#own.delete(key);
        const text = `lease${lease.address === '' ? '' : ` of ${lease.address}`} not renewed by its end`;
        found.push({ port: lease.port, verdict: { kind: 'lost', text } });
      } else if (lease.rebindAt <= now) {
        lease.rebindAt = NEVER;
        found.push({ port: lease.port, verdict: { kind: 'suspect' } });
      }
    }
    this.#setDeadline();
    return found;
  }

  /** A report about a host behind `port`. Those that name no address are understood by the hardware address. */
  onHost(port: number, event: DhcpEvent): HostVerdict {
    const hardware = event.hardware === undefined ? '' : hardwareText(event.hardware);
    const seen = hardware === '' ? undefined : this.#byHardware.get(`${port} ${hardware}`);
    const { address } = event;
    switch (event.what) {
      case 'released':
      case 'declined':
      case 'expired': {
        const left = address ?? seen?.address;
        if (left === undefined) return NONE;
        // Somebody else's word about an address counts for nothing.
        const holder = this.#byAddress.get(`${port} ${formatAddressBytes(left)}`);
        if (holder !== undefined && hardware !== '' && holder.hardware !== '' && holder.hardware !== hardware)
          return NONE;
        return { kind: 'gone', address: left, text: `lease ${event.what === 'expired' ? 'expired' : event.what}` };
      }
      case 'asking': {
        // DISCOVER names no address, or the one it would like; only where the host was says who is back.
        const back = seen?.address ?? address;
        return back === undefined ? NONE : { kind: 'back', address: back };
      }
      case 'bound':
      case 'renewed':
      case 'changed':
        return address === undefined ? NONE : this.#onBound(port, address, hardware, seen);
      default:
        return NONE;
    }
  }

  #onBound(port: number, address: Uint8Array, hardware: string, seen: HostLease | undefined): HostVerdict {
    const text = formatAddressBytes(address);
    const holder = this.#byAddress.get(`${port} ${text}`);
    this.#remember(port, address, hardware);
    if (holder !== undefined && hardware !== '' && holder.hardware !== '' && holder.hardware !== hardware) {
      return { kind: 'taken', address, hardware, former: holder.hardware };
    }
    if (seen !== undefined && formatAddressBytes(seen.address) !== text) {
      return { kind: 'moved', address: seen.address, text: `its host ${hardware} has moved to ${text}` };
    }
    return { kind: 'back', address };
  }

  /** Who has an address, as a neighbour report tells it. */
  onHardware(port: number, address: Uint8Array, hardware: Uint8Array): void {
    if (!this.#byAddress.has(`${port} ${formatAddressBytes(address)}`)) {
      this.#remember(port, address, hardwareText(hardware));
    }
  }

  #remember(port: number, address: Uint8Array, hardware: string): void {
    const key = `${port} ${formatAddressBytes(address)}`;
    const lease = { port, address: Uint8Array.from(address), hardware };
    this.#byAddress.delete(key);
    this.#byAddress.set(key, lease);
    if (hardware !== '') {
      this.#byHardware.delete(`${port} ${hardware}`);
      this.#byHardware.set(`${port} ${hardware}`, lease);
    }
    for (const map of [this.#byAddress, this.#byHardware]) {
      if (map.size > MAX_LEASES) map.delete(map.keys().next().value!);
    }
  }
}

function textOf(address: Uint8Array | undefined): string {
  return address === undefined || address.every((byte) => byte === 0) ? '' : formatAddressBytes(address);
}

/** Seconds of a lease as micros; NEVER for none, infinite or senseless ones. */
function spanOf(value: number | undefined): Micros {
  return value === undefined || !(value > 0) || value >= LEASE_MAX_SECONDS ? NEVER : seconds(value);
}

export function hardwareText(hardware: Uint8Array): string {
  return Array.from(hardware, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
