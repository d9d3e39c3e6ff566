/**
 * What a DHCP message that enters an interface says about a lease: on the WAN about the gateway's own, on the LAN about a host's.
 *
 * Only what arrives is seen (the tap does not look at what the gateway sends): on the WAN the server's answers, on the LAN the
 * clients' requests, and the answers of a server that is another machine there. When a lease ends because nobody answers is
 * for timers to say, not for messages.
 *
 * Trust. Anybody on a link can forge DHCP. A server's answer counts only if it names the interface's own hardware address, a NAK
 *        only from the server that gave the lease, where that is known; a RELEASE only from the address that it gives up.
 */
import * as dhcp from '../wire/dhcp.ts';
import * as dhcpv6 from '../wire/dhcpv6.ts';
import { KIND_OTHER, PROTOCOL_UDP } from '../wire/kinds.ts';
import { Packet } from '../wire/packet.ts';
import { UdpHeader } from '../wire/udp.ts';
import type { DhcpEvent } from './events.ts';

/** Own IPv6 addresses remembered. */
const MAX_OWN = 64;

export class DhcpExchange {
  readonly #name: string;
  readonly #role: 'lan' | 'wan';
  readonly #packet = new Packet();
  readonly #udp = new UdpHeader();
  #hardware: Uint8Array | undefined;
  /** The gateway's own lease, where an answer was seen: address and server. */
  #address: Uint8Array | undefined;
  #server: Uint8Array | undefined;
  readonly #own6 = new Set<string>();

  /** @param role `wan`: own leases are watched; `lan`: hosts' */
  constructor(name: string, role: 'lan' | 'wan') {
    this.#name = name;
    this.#role = role;
  }

  /** The interface's own hardware address; undefined where it has none, and so no DHCP of its own. */
  setHardware(hardware: Uint8Array | undefined): void {
    this.#hardware = hardware;
  }

  /**
   * Takes one IP datagram that arrived.
   * @param bytes the datagram from its IP header on; kept by nobody
   * @returns whether it was UDP between DHCP's ports, whatever it said
   */
  handle(bytes: Uint8Array, sink: (event: DhcpEvent) => void): boolean {
    const packet = this.#packet;
    packet.attach(bytes.buffer as ArrayBuffer);
    if (packet.parse(bytes.byteOffset, bytes.byteLength, 0) !== KIND_OTHER || packet.protocol !== PROTOCOL_UDP)
      return false;
    const udp = this.#udp;
    if (!udp.parse(packet.view, packet.payloadAt, packet.end)) return false;
    const end = udp.payloadAt + udp.payloadLength;
    const { dstPort } = udp;
    if (packet.family === 4) {
      if (dstPort !== dhcp.DHCP_SERVER_PORT && dstPort !== dhcp.DHCP_CLIENT_PORT) return false;
      const message = dhcp.parseDhcp(packet.bytes, udp.payloadAt, end);
      if (message !== undefined && message.isReply === (dstPort === dhcp.DHCP_CLIENT_PORT)) this.#onV4(message, sink);
      return true;
    }
    if (dstPort !== dhcpv6.DHCPV6_SERVER_PORT && dstPort !== dhcpv6.DHCPV6_CLIENT_PORT) return false;
    const message = dhcpv6.parseDhcpv6(packet.bytes, udp.payloadAt, end);
    const isReply = message?.type === dhcpv6.DHCPV6_REPLY;
    if (message !== undefined && isReply === (dstPort === dhcpv6.DHCPV6_CLIENT_PORT)) this.#onV6(message, sink);
    return true;
  }

  #onV4(message: dhcp.DhcpMessage, sink: (event: DhcpEvent) => void): void {
    if (this.#role === 'wan') this.#onOwnAnswer(message, sink);
    else if (message.isReply) this.#onHostAnswer(message, sink);
    else this.#onHostRequest(message, sink);
  }

  #onOwnAnswer(message: dhcp.DhcpMessage, sink: (event: DhcpEvent) => void): void {
    const { hardware, server, yourAddress } = message;
    if (!message.isReply || !same(hardware, this.#hardware)) return;
    if (message.type === dhcp.DHCP_NAK) {
      if (this.#server !== undefined && !same(server, this.#server)) return;
      sink(this.#event('own', 'nak', 4, { address: this.#address }));
      this.#address = undefined;
      this.#server = undefined;
    } else if (isGrant(message)) {
      const before = this.#address;
      const what = before === undefined ? 'bound' : same(before, yourAddress) ? 'renewed' : 'changed';
      this.#address = yourAddress;
      this.#server = server;
      sink(this.#event('own', what, 4, { address: yourAddress, ...timesOf(message) }));
    }
  }

  #onHostAnswer(message: dhcp.DhcpMessage, sink: (event: DhcpEvent) => void): void {
    if (!isGrant(message)) return;
    const { hardware, yourAddress, clientAddress } = message;
    // A client that renews puts its address into ciaddr, and servers copy it (RFC 2131 table 3).
    const what = clientAddress === undefined ? 'bound' : 'renewed';
    sink(this.#event('host', what, 4, { address: yourAddress, hardware, ...timesOf(message) }));
  }

  #onHostRequest(message: dhcp.DhcpMessage, sink: (event: DhcpEvent) => void): void {
    const { hardware, clientAddress, requestedAddress } = message;
    switch (message.type) {
      case dhcp.DHCP_DISCOVER:
      case dhcp.DHCP_REQUEST:
      case dhcp.DHCP_INFORM:
        sink(this.#event('host', 'asking', 4, { address: clientAddress ?? requestedAddress, hardware }));
        break;
      case dhcp.DHCP_DECLINE:
        if (requestedAddress !== undefined)
          sink(this.#event('host', 'declined', 4, { address: requestedAddress, hardware }));
        break;
      case dhcp.DHCP_RELEASE:
        if (clientAddress !== undefined && this.#comesFrom(clientAddress))
          sink(this.#event('host', 'released', 4, { address: clientAddress, hardware }));
        break;
    }
  }

  #onV6(message: dhcpv6.Dhcpv6Message, sink: (event: DhcpEvent) => void): void {
    const { hardware } = message;
    if (this.#role === 'wan') {
      if (message.type === dhcpv6.DHCPV6_REPLY && same(hardware, this.#hardware)) this.#onOwnReply(message, sink);
      return;
    }
    const what = HOST_V6[message.type];
    if (what === undefined) return;
    const addresses = message.leases.filter((lease) => lease.prefixLength === 128);
    if (addresses.length === 0 && what === 'asking') sink(this.#event('host', what, 6, { hardware }));
    for (const lease of addresses) {
      const times = what === 'bound' ? { leaseSeconds: lease.validSeconds } : {};
      // A lifetime of 0 in an answer takes the address back (RFC 8415 18.2.10.1).
      const said = what === 'bound' && lease.validSeconds === 0 ? 'expired' : what;
      sink(this.#event('host', said, 6, { address: lease.address, hardware, ...times }));
    }
  }

  #onOwnReply(message: dhcpv6.Dhcpv6Message, sink: (event: DhcpEvent) => void): void {
    for (const { address, prefixLength, validSeconds, renewSeconds, rebindSeconds } of message.leases) {
      const key = `${address.join('.')}/${prefixLength}`;
      const of = prefixLength === 128 ? { address } : { address, prefixLength };
      if (validSeconds === 0) {
        this.#own6.delete(key);
        sink(this.#event('own', 'expired', 6, of));
        continue;
      }
      const what = this.#own6.has(key) ? 'renewed' : 'bound';
      if (this.#own6.size < MAX_OWN) this.#own6.add(key);
      const times = {
        ...finite('renewSeconds', renewSeconds === 0 ? undefined : renewSeconds),
        ...finite('rebindSeconds', rebindSeconds === 0 ? undefined : rebindSeconds),
        ...finite('leaseSeconds', validSeconds),
      };
      sink(this.#event('own', what, 6, { ...of, ...times }));
    }
  }

  /** Whether the datagram's source is this address: RELEASE is sent from the address it gives up (RFC 2131 4.4.4). */
  #comesFrom(address: Uint8Array): boolean {
    const { bytes, srcAt } = this.#packet;
    return address.every((byte, at) => bytes[srcAt + at] === byte);
  }

  #event(lease: 'own' | 'host', what: DhcpEvent['what'], family: 4 | 6, rest: Rest): DhcpEvent {
    const { address, hardware, ...times } = rest;
    return {
      kind: 'dhcp',
      name: this.#name,
      lease,
      what,
      family,
      ...(address === undefined ? {} : { address }),
      ...(hardware === undefined ? {} : { hardware }),
      ...times,
    };
  }
}

interface Times {
  readonly renewSeconds?: number;
  readonly rebindSeconds?: number;
  readonly leaseSeconds?: number;
}

interface Rest extends Times {
  readonly prefixLength?: number;
  readonly address?: Uint8Array | undefined;
  readonly hardware?: Uint8Array | undefined;
}

/** What a client's message means by type; REPLY is seen on the LAN where the server is another machine. */
const HOST_V6: Readonly<Record<number, DhcpEvent['what']>> = {
  [dhcpv6.DHCPV6_SOLICIT]: 'asking',
  [dhcpv6.DHCPV6_REQUEST]: 'asking',
  [dhcpv6.DHCPV6_CONFIRM]: 'asking',
  [dhcpv6.DHCPV6_RENEW]: 'asking',
  [dhcpv6.DHCPV6_REBIND]: 'asking',
  [dhcpv6.DHCPV6_REPLY]: 'bound',
  [dhcpv6.DHCPV6_RELEASE]: 'released',
  [dhcpv6.DHCPV6_DECLINE]: 'declined',
};

/** An ACK that gives an address; the one to an INFORM has neither address nor lease time (RFC 2131 4.3.5). */
function isGrant(message: dhcp.DhcpMessage): boolean {
  return message.type === dhcp.DHCP_ACK && message.yourAddress !== undefined && message.leaseSeconds !== undefined;
}

function timesOf(message: dhcp.DhcpMessage): Times {
  return {
    ...finite('renewSeconds', message.renewSeconds),
    ...finite('rebindSeconds', message.rebindSeconds),
    ...finite('leaseSeconds', message.leaseSeconds),
  };
}

/** Left out where unknown, and where it never ends. */
function finite(name: keyof Times, value: number | undefined): Times {
  return value === undefined || value === dhcp.LEASE_FOR_EVER ? {} : { [name]: value };
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, at) => byte === b[at]);
}
