/** What a DHCP hook may report: the body of POST /dhcp-event, checked, as the engine's record. */
import { TcpfreezeError } from '../base/errors.ts';
import type { DhcpEvent } from '../link/events.ts';
import { parseAddress, parsePrefix } from '../wire/address.ts';
import { LEASE_FOR_EVER } from '../wire/dhcp.ts';

/** What can happen to a lease, in the words of the command line. */
export const LEASE_EVENTS = [
  'bound',
  'renewed',
  'rebinding',
  'changed',
  'expired',
  'nak',
  'released',
  'declined',
  'asking',
] as const satisfies readonly DhcpEvent['what'][];

/** Body of POST /dhcp-event. Times in seconds. */
export interface LeaseJson {
  readonly event: string;
  /** The link: the interface that the lease is for, or that the host is behind. */
  readonly interface: string;
  /** The lease is a LAN host's, not the gateway's own. */
  readonly host?: boolean;
  readonly address?: string;
  /** Instead of an address: a prefix delegated to the gateway, `2001:db8:7::/48`. */
  readonly prefix?: string;
  /** Hardware address, `02:00:00:00:81:07`; what dnsmasq puts before it for other kinds of network (`06-`) is allowed. */
  readonly hardware?: string;
  /** Of the lease where no address says it: 4 or 6; default 4. */
  readonly family?: number;
  readonly renew?: number;
  readonly rebind?: number;
  readonly lease?: number;
}

const FIELDS = [
  'event',
  'interface',
  'host',
  'address',
  'prefix',
  'hardware',
  'family',
  'renew',
  'rebind',
  'lease',
] as const;

/** MAX_ADDR_LEN of linux/netdevice.h is 32; nothing that asks for leases has more than 20. */
const HARDWARE = /^(?:[0-9a-f]{2}-)?([0-9a-f]{2}(?::[0-9a-f]{2}){0,19})$/i;
const INTERFACE = /^[^\s/:]{1,15}$/;

/**
 * @param fields a JSON object, whatever is in it
 * @throws TcpfreezeError BAD_REQUEST naming the field that is wrong
 */
export function toLeaseEvent(fields: Readonly<Record<string, unknown>>): DhcpEvent {
  const unknown = Object.keys(fields).find((name) => !(FIELDS as readonly string[]).includes(name));
  if (unknown !== undefined) throw wrong(`dhcp-event has no ${unknown}; it has ${FIELDS.join(', ')}`);
  const what = LEASE_EVENTS.find((name) => name === fields.event);
  if (what === undefined) throw wrong(`event must be one of ${LEASE_EVENTS.join(', ')}`);
  const { interface: name, host = false } = fields;
  if (typeof name !== 'string' || !INTERFACE.test(name)) throw wrong('interface must be an interface name');
  if (typeof host !== 'boolean') throw wrong('host must be true or false');
  const prefix = prefixOf(fields.prefix);
  if (prefix !== undefined && (host || fields.address !== undefined))
    throw wrong("prefix is for the gateway's own lease, and instead of address");
  const address = prefix?.address ?? addressOf(fields.address);
  const hardware = hardwareOf(fields.hardware);
  if (host && address === undefined && hardware === undefined) throw wrong("a host's lease needs address or hardware");
  const stated = fields.family ?? (address?.length === 16 ? 6 : 4);
  if (stated !== 4 && stated !== 6) throw wrong('family must be 4 or 6');
  if (address !== undefined && address.length !== (stated === 4 ? 4 : 16)) throw wrong(`family is not that of address`);
  const renewSeconds = secondsOf('renew', fields.renew);
  const rebindSeconds = secondsOf('rebind', fields.rebind);
  const leaseSeconds = secondsOf('lease', fields.lease);
  return {
    kind: 'dhcp',
    name,
    lease: host ? 'host' : 'own',
    what,
    family: stated,
    ...(address === undefined ? {} : { address }),
    ...(prefix === undefined ? {} : { prefixLength: prefix.prefixLength }),
    ...(hardware === undefined ? {} : { hardware }),
    ...(renewSeconds === undefined ? {} : { renewSeconds }),
    ...(rebindSeconds === undefined ? {} : { rebindSeconds }),
    ...(leaseSeconds === undefined ? {} : { leaseSeconds }),
  };
}

function addressOf(value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined;
  const address = typeof value === 'string' ? parseAddress(value) : undefined;
  if (address === undefined) throw wrong('address must be an IP address');
  if (address.every((byte) => byte === 0)) throw wrong('address must not be the unspecified one');
  return address;
}

function prefixOf(value: unknown): { readonly address: Uint8Array; readonly prefixLength: number } | undefined {
  if (value === undefined) return undefined;
  const prefix = typeof value === 'string' && value.includes('/') ? parsePrefix(value) : undefined;
  if (prefix?.family !== 6 || prefix.prefixLength < 16 || prefix.prefixLength > 127)
    throw wrong('prefix must be an IPv6 prefix of 16 to 127 bits, such as 2001:db8:7::/48');
  return prefix;
}

function hardwareOf(value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined;
  const hex = typeof value === 'string' ? HARDWARE.exec(value)?.[1] : undefined;
  if (hex === undefined) throw wrong('hardware must be a hardware address such as 02:00:00:00:81:07');
  return Uint8Array.from(hex.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** Undefined also for a lease that never ends, as clients write it (RFC 2131 3.3). */
function secondsOf(name: string, value: unknown): number | undefined {
  if (value === undefined || value === LEASE_FOR_EVER) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > LEASE_FOR_EVER) {
    throw wrong(`${name} must be a whole number of seconds, 0 to ${LEASE_FOR_EVER}`);
  }
  return value;
}

function wrong(message: string): TcpfreezeError {
  return new TcpfreezeError('BAD_REQUEST', message, '', 2);
}
