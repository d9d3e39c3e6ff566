import { describe, expect, test } from 'vitest';
import { DhcpExchange } from '../../src/link/dhcp-exchange.ts';
import type { DhcpEvent } from '../../src/link/events.ts';
import { CLIENT_HARDWARE, dhcpMessage, type Fields, udp4, udp6 } from '../wire/dhcp-messages.ts';

const ADDRESS = [10, 0, 0, 9];
const OTHER = [10, 0, 0, 10];
const SERVER = [10, 0, 0, 1];
const lease = (seconds: number): number[] => [51, 4, 0, 0, 0, seconds];
const from = (server: readonly number[]): number[] => [54, 4, ...server];

function line(event: DhcpEvent): string {
  const times = [event.renewSeconds, event.rebindSeconds, event.leaseSeconds].map((one) => one ?? '-').join('/');
  const hardware = event.hardware === undefined ? '' : ` ${Buffer.from(event.hardware).toString('hex')}`;
  const prefix = event.prefixLength === undefined ? '' : `/${event.prefixLength}`;
  return `${event.lease} ${event.what} ${event.address?.join('.') ?? '-'}${prefix}${hardware} ${times}`;
}

class Watched {
  readonly lines: string[] = [];
  readonly exchange: DhcpExchange;

  constructor(role: 'lan' | 'wan') {
    this.exchange = new DhcpExchange('eth0', role);
    this.exchange.setHardware(Uint8Array.from(CLIENT_HARDWARE));
  }

  hear(bytes: Uint8Array): boolean {
    return this.exchange.handle(bytes, (event) => this.lines.push(line(event)));
  }

  answer(type: number, fields: Fields, source: readonly number[] = SERVER): void {
    const options = [53, 1, type, ...(fields.options ?? [])];
    this.hear(udp4(source, 67, 68, dhcpMessage({ op: 2, ...fields, options })));
  }

  request(type: number, fields: Fields, source: readonly number[] = [0, 0, 0, 0]): void {
    const options = [53, 1, type, ...(fields.options ?? [])];
    this.hear(udp4(source, 68, 67, dhcpMessage({ op: 1, ...fields, options })));
  }
}

describe('the own lease', () => {
  test('bound, renewed, changed, refused, bound again', () => {
    const wan = new Watched('wan');
    const times = [58, 4, 0, 0, 0, 30, 59, 4, 0, 0, 0, 50];
    wan.answer(2, { your: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    wan.answer(5, { your: ADDRESS, options: [...lease(60), ...times, ...from(SERVER)] });
    wan.answer(5, { your: ADDRESS, client: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    wan.answer(5, { your: OTHER, options: [...lease(60), ...from(SERVER)] });
    wan.answer(6, { options: from(SERVER) });
    wan.answer(5, { your: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    expect(wan.lines).toEqual([
      'own bound 10.0.0.9 30/50/60',
      'own renewed 10.0.0.9 -/-/60',
      'own changed 10.0.0.10 -/-/60',
      'own nak 10.0.0.10 -/-/-',
      'own bound 10.0.0.9 -/-/60',
    ]);
  });

  test('a lease without end has no times', () => {
    const wan = new Watched('wan');
    wan.answer(5, { your: ADDRESS, options: [51, 4, 255, 255, 255, 255, ...from(SERVER)] });
    expect(wan.lines).toEqual(['own bound 10.0.0.9 -/-/-']);
  });

  test('what is said to others, by other servers, or to an INFORM, is nothing', () => {
    const wan = new Watched('wan');
    wan.answer(5, { your: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    wan.lines.length = 0;
    wan.answer(6, { hardware: [2, 0, 0, 0, 0, 1], options: from(SERVER) });
    wan.answer(6, { options: from(OTHER) });
    wan.answer(6, {});
    wan.answer(5, { client: ADDRESS, options: from(SERVER) });
    wan.request(1, {});
    expect(wan.lines).toEqual([]);
  });

  test('IPv6: a prefix is delegated, renewed, and taken back with a lifetime of 0', () => {
    const wan = new Watched('wan');
    const reply = (valid: number): Uint8Array => {
      const association = [0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 20];
      const prefix = [0, 0, 0, 30, 0, 0, 0, valid, 48, 0x20, 1, 0xd, 0xb8, 0, 7, ...Array<number>(10).fill(0)];
      const ia = [0, 25, 0, association.length + 4 + prefix.length, ...association, 0, 26, 0, prefix.length, ...prefix];
      return udp6(547, 546, Uint8Array.of(7, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1, ...CLIENT_HARDWARE, ...ia));
    };
    for (const valid of [40, 40, 0]) wan.hear(reply(valid));
    const prefix = '32.1.13.184.0.7.0.0.0.0.0.0.0.0.0.0/48';
    expect(wan.lines).toEqual([
      `own bound ${prefix} 10/20/40`,
      `own renewed ${prefix} 10/20/40`,
      `own expired ${prefix} -/-/-`,
    ]);
  });

  test('IPv6: a reply binds, renews, and takes back with a lifetime of 0', () => {
    const wan = new Watched('wan');
    const reply = (valid: number): Uint8Array => {
      const address = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7];
      const ia = [
        0,
        3,
        0,
        40,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        10,
        0,
        0,
        0,
        20,
        0,
        5,
        0,
        24,
        ...address,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        valid,
      ];
      return udp6(547, 546, Uint8Array.of(7, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1, ...CLIENT_HARDWARE, ...ia));
    };
    for (const valid of [40, 40, 0, 40]) wan.hear(reply(valid));
    const address = '32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.7';
    expect(wan.lines).toEqual([
      `own bound ${address} 10/20/40`,
      `own renewed ${address} 10/20/40`,
      `own expired ${address} -/-/-`,
      `own bound ${address} 10/20/40`,
    ]);
    wan.exchange.setHardware(Uint8Array.of(2, 0, 0, 0, 0, 1));
    wan.lines.length = 0;
    wan.hear(reply(40));
    expect(wan.lines).toEqual([]);
  });
});

describe("hosts' leases", () => {
  test('asking, given by another server, declined, released', () => {
    const lan = new Watched('lan');
    lan.request(1, {});
    lan.request(3, { options: [50, 4, ...ADDRESS] });
    lan.answer(5, { your: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    lan.request(3, { client: ADDRESS }, ADDRESS);
    lan.answer(5, { your: ADDRESS, client: ADDRESS, options: [...lease(60), ...from(SERVER)] });
    lan.request(4, { options: [50, 4, ...OTHER] });
    lan.request(7, { client: ADDRESS, options: from(SERVER) }, ADDRESS);
    expect(lan.lines).toEqual([
      'host asking - 020000008107 -/-/-',
      'host asking 10.0.0.9 020000008107 -/-/-',
      'host bound 10.0.0.9 020000008107 -/-/60',
      'host asking 10.0.0.9 020000008107 -/-/-',
      'host renewed 10.0.0.9 020000008107 -/-/60',
      'host declined 10.0.0.10 020000008107 -/-/-',
      'host released 10.0.0.9 020000008107 -/-/-',
    ]);
  });

  test('a release from elsewhere, or of nothing, is none', () => {
    const lan = new Watched('lan');
    lan.request(7, { client: ADDRESS }, OTHER);
    lan.request(7, {});
    expect(lan.lines).toEqual([]);
  });

  test('IPv6: soliciting, released', () => {
    const lan = new Watched('lan');
    const client = [0, 1, 0, 10, 0, 3, 0, 1, ...CLIENT_HARDWARE];
    lan.hear(udp6(546, 547, Uint8Array.of(1, 0, 0, 1, ...client)));
    const address = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7];
    const ia = [0, 3, 0, 40, ...Array<number>(12).fill(0), 0, 5, 0, 24, ...address, ...Array<number>(8).fill(0)];
    lan.hear(udp6(546, 547, Uint8Array.of(8, 0, 0, 1, ...client, ...ia)));
    expect(lan.lines).toEqual([
      'host asking - 020000008107 -/-/-',
      `host released ${address.join('.')} 020000008107 -/-/-`,
    ]);
  });
});

describe('what is no DHCP', () => {
  test('says so, and what is malformed is DHCP that says nothing', () => {
    const lan = new Watched('lan');
    const payload = dhcpMessage({ options: [53, 1, 3] });
    expect(lan.hear(udp4(ADDRESS, 53, 53, payload))).toBe(false);
    expect(lan.hear(Uint8Array.of(1, 2, 3))).toBe(false);
    expect(lan.hear(udp4(ADDRESS, 68, 67, payload.slice(0, 200)))).toBe(true);
    // A request to the client's port, an answer to the server's.
    expect(lan.hear(udp4(ADDRESS, 67, 68, payload))).toBe(true);
    expect(lan.hear(udp4(ADDRESS, 67, 67, dhcpMessage({ op: 2, options: [53, 1, 5, ...lease(1)] })))).toBe(true);
    expect(lan.lines).toEqual([]);
  });
});
