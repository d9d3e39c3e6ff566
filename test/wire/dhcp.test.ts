import { describe, expect, it } from 'vitest';
import { formatAddressBytes } from '../../src/wire/address.ts';
import { DHCP_ACK, DHCP_DISCOVER, DHCP_REQUEST, parseDhcp } from '../../src/wire/dhcp.ts';
import { DHCPV6_REPLY, DHCPV6_SOLICIT, parseDhcpv6 } from '../../src/wire/dhcpv6.ts';
import { dhcpMessage } from './dhcp-messages.ts';
import { readCapture } from './pcap-fixtures.ts';

const SHARED = '../../../captures/shared/';
const text = (address: Uint8Array | undefined): string =>
  address === undefined
    ? '-'
    : address.length === 6
      ? Buffer.from(address).toString('hex')
      : formatAddressBytes(address);

/** IPv4 without options, then UDP. */
function readV4(bytes: Uint8Array): string {
  const length = (bytes[24]! << 8) | bytes[25]!;
  const message = parseDhcp(bytes, 28, 20 + length);
  if (message === undefined) return 'none';
  const { type, clientAddress, yourAddress, requestedAddress, server, leaseSeconds, hardware } = message;
  return [
    ...[type, text(clientAddress), text(yourAddress), text(requestedAddress), text(server), leaseSeconds ?? '-'],
    text(hardware),
  ].join(' ');
}

describe('recorded DHCP reads as tshark reads it', () => {
  it.each([
    [
      'zeek/dhcp.pcap',
      [
        '1 - - 192.168.211.194 - - 90b11c994929',
        '2 - 128.2.6.97 - 128.2.6.152 900 90b11c994929',
        '3 - - 192.168.211.194 128.2.6.152 - 90b11c994929',
        '6 - - - 128.2.6.152 - 90b11c994929',
        '3 - - 128.2.6.189 - - 90b11c994929',
        '5 - 128.2.6.189 - 128.2.6.152 900 90b11c994929',
        '4 - - - - - 90b11c994929',
        '7 - - - - - 90b11c994929',
        '8 - - 128.2.6.189 - 19841984 90b11c994929',
      ],
    ],
    // Three with a wrong cookie are no DHCP.
    [
      'zeek/dhcp_bad_cookie_option_retention.pcap',
      ['1 - - - - - 001122334455', 'none', 'none', 'none', '1 - - - - - 001122334455'],
    ],
    ['zeek/dhcp_inform.pcap', ['8 128.2.6.122 - - - - 90b11c994929', '5 128.2.6.122 - - 128.2.6.152 - 90b11c994929']],
    [
      'zeek/dhcp_time_and_nameserver.pcap',
      ['3 - - 192.168.15.250 - - 0090f591cd1f', '5 - 192.168.15.250 - 192.168.15.101 86093 0090f591cd1f'],
    ],
    [
      'chrissanders/dhcp_inlease_renewal.pcapng',
      ['3 - - 192.168.1.10 - - 000c2959fd21', '5 - 192.168.1.10 - 192.168.1.5 600 000c2959fd21'],
    ],
  ])('%s', (name, expected) => {
    expect(readCapture(`${SHARED}${name}`).map(readV4)).toEqual(expected);
  });

  it('chrissanders/dhcp6_outlease_acquisition.pcapng', () => {
    const read = readCapture(`${SHARED}chrissanders/dhcp6_outlease_acquisition.pcapng`).map((bytes) => {
      const message = parseDhcpv6(bytes, 48, bytes.length)!;
      const leases = message.leases.map((one) => `${text(one.address)} ${one.renewSeconds}/${one.rebindSeconds}`);
      return [message.type, text(message.hardware), ...leases].join(' ');
    });
    expect(read).toEqual([
      `${DHCPV6_SOLICIT} 000c295e7744`,
      '2 000c295e7744 2001:db8:1:2::1002 1800/2880',
      '3 000c295e7744 2001:db8:1:2::1002 3600/5400',
      `${DHCPV6_REPLY} 000c295e7744 2001:db8:1:2::1002 1800/2880`,
    ]);
  });
});

const parse = (bytes: Uint8Array) => parseDhcp(bytes, 0, bytes.length);
const TYPE = [53, 1, DHCP_ACK];

describe('options', () => {
  it('times are read; a lease time is 32 bits without a sign', () => {
    const options = [...TYPE, 51, 4, 255, 255, 255, 255, 58, 4, 0, 0, 0, 9, 59, 4, 0, 0, 1, 0];
    expect(parse(dhcpMessage({ op: 2, options }))).toMatchObject({
      isReply: true,
      leaseSeconds: 0xffffffff,
      renewSeconds: 9,
      rebindSeconds: 256,
    });
  });

  it('overloaded fields hold options, the file first; what is not overloaded does not', () => {
    const file = [50, 4, 10, 0, 0, 9, 255];
    const sname = [54, 4, 10, 0, 0, 1];
    const all = parse(dhcpMessage({ options: [...TYPE, 52, 1, 3], file, sname: [...sname, 255] }))!;
    expect([text(all.requestedAddress), text(all.server)]).toEqual(['10.0.0.9', '10.0.0.1']);
    const fileOnly = parse(dhcpMessage({ options: [...TYPE, 52, 1, 1], file, sname }))!;
    expect([text(fileOnly.requestedAddress), text(fileOnly.server)]).toEqual(['10.0.0.9', '-']);
    expect(parse(dhcpMessage({ options: TYPE, file }))!.requestedAddress).toBeUndefined();
  });

  it('a split option is joined (RFC 3396), padding is skipped', () => {
    const options = [...TYPE, 0, 0, 50, 2, 10, 0, 0, 50, 2, 0, 9];
    expect(text(parse(dhcpMessage({ options }))!.requestedAddress)).toBe('10.0.0.9');
  });

  it.each([
    ['no message type', dhcpMessage({ options: [51, 4, 0, 0, 0, 1] })],
    ['an option beyond the message', dhcpMessage({ options: [...TYPE, 12, 200, 1] })],
    ['a code without a length', dhcpMessage({ options: [...TYPE, 12] }).slice(0, -1)],
    ['a lease time of two bytes', dhcpMessage({ options: [...TYPE, 51, 2, 0, 1] })],
    ['an address given twice', dhcpMessage({ options: [...TYPE, 50, 4, 1, 2, 3, 4, 50, 4, 1, 2, 3, 4] })],
    ['overload of a field that does not exist', dhcpMessage({ options: [...TYPE, 52, 1, 4] })],
    ['an option beyond the overloaded field', dhcpMessage({ options: [...TYPE, 52, 1, 2], sname: [54, 70] })],
    ['neither request nor reply', dhcpMessage({ op: 3, options: TYPE })],
    ['a hardware address of 17 bytes', dhcpMessage({ options: TYPE, hardware: Array<number>(17).fill(1) })],
    ['a cut in the fixed part', dhcpMessage({ options: TYPE }).slice(0, 239)],
    ['an address beyond the buffer', new Uint8Array(0)],
  ])('%s: no message', (_name, bytes) => {
    expect(parse(bytes)).toBeUndefined();
  });

  it('every cut of a message is no message, or the same but for what came behind', () => {
    const bytes = dhcpMessage({ options: [53, 1, DHCP_REQUEST, 50, 4, 10, 0, 0, 9, 61, 2, 1, 2] });
    for (let end = 0; end < bytes.length; end++) {
      const message = parseDhcp(bytes, 0, end);
      if (message !== undefined) expect(message.type).toBe(DHCP_REQUEST);
    }
    expect(parseDhcp(bytes, 0, bytes.length + 1)).toBeUndefined();
    expect(DHCP_DISCOVER).toBe(1);
  });
});

describe('DHCPv6', () => {
  const ia = (valid: number): number[] => [
    ...[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 20],
    ...[0, 5, 0, 24, 0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7, 0, 0, 0, 0, 0, 0, 0, valid],
  ];
  const client = [0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0x81, 7];

  it('reads addresses with their times, prefixes too', () => {
    const prefix = [
      ...[0, 25, 0, 41, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
      ...[0, 26, 0, 25, 0, 0, 0, 1, 0, 0, 0, 2, 56, 0x20, 1, 0xd, 0xb8, ...Array<number>(12).fill(0)],
    ];
    const bytes = Uint8Array.of(7, 1, 2, 3, ...client, ...ia(30), ...prefix);
    const message = parseDhcpv6(bytes, 0, bytes.length)!;
    expect(message).toMatchObject({ type: 7, transaction: 0x010203 });
    expect(text(message.hardware)).toBe('020000008107');
    expect(message.leases.map((one) => [text(one.address), one.prefixLength, one.validSeconds])).toEqual([
      ['2001:db8::7', 128, 30],
      ['2001:db8::', 56, 2],
    ]);
  });

  it('cuts anywhere give nothing but whole options', () => {
    const bytes = Uint8Array.of(7, 1, 2, 3, ...client, ...ia(30));
    for (let end = 0; end < bytes.length; end++) {
      const isWhole = end === 4 || end === 4 + client.length;
      expect(parseDhcpv6(bytes, 0, end) !== undefined).toBe(isWhole);
    }
  });

  it.each([0, 10, 12, 13, 255])('type %i is left alone', (type) => {
    expect(parseDhcpv6(Uint8Array.of(type, 0, 0, 0), 0, 4)).toBeUndefined();
  });
});
