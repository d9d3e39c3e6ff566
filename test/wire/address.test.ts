import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  formatAddressBytes,
  formatEndpoint,
  formatPrefix,
  parseAddress,
  parsePrefix,
  prefixContains,
} from '../../src/wire/address.ts';

const roundTrip = (text: string): string | undefined => {
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : formatAddressBytes(bytes);
};

describe('addresses', () => {
  it.each([
    // RFC 5952 sections 1, 2 and 4.
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:DB8::AAAA', '2001:db8::aaaa'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['1:0:0:0:0:0:0:8', '1::8'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['0:0:1:2:3:4:5:6', '::1:2:3:4:5:6'],
    ['1:2:3:4:5:6:0:0', '1:2:3:4:5:6::'],
    ['0:1:2:3:4:5:6:7', '0:1:2:3:4:5:6:7'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['fe80::1:2:3:4', 'fe80::1:2:3:4'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.1.0.2', '10.1.0.2'],
  ])('%s is written %s', (text, expected) => {
    expect(isIP(text)).toBeGreaterThan(0);
    expect(roundTrip(text)).toBe(expected);
    expect(roundTrip(expected)).toBe(expected);
  });

  it.each([
    '',
    ':',
    ':::',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '1.2.3.-4',
    '01.2.3.4',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '0x1.2.3.4',
    '1..2.3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '::g',
    '1:',
    ':1',
    '1:::2',
    '::1.2.3.4:5',
    '1.2.3.4::',
    '::1.2.3.256',
    'fe80::1%eth0',
    '[::1]',
    'localhost',
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('writes endpoints with brackets for IPv6 only', () => {
    const view = new DataView(Uint8Array.from([9, 10, 1, 0, 2, ...new Array<number>(15).fill(0), 1]).buffer);
    expect(formatEndpoint(view, 1, 4, 80)).toBe('10.1.0.2:80');
    expect(formatEndpoint(view, 5, 6, 65_535)).toBe('[::1]:65535');
  });
});

describe('prefixes', () => {
  it.each([
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/23', '10.1.2.0/23'],
    ['10.1.3.255/23', '10.1.2.0/23'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['255.255.255.255/1', '128.0.0.0/1'],
    ['2001:db8:ffff::1/33', '2001:db8:8000::/33'],
    ['::1', '::1/128'],
    ['::/0', '::/0'],
  ])('%s is %s', (text, expected) => {
    const prefix = parsePrefix(text);
    expect(prefix === undefined ? undefined : formatPrefix(prefix)).toBe(expected);
  });

  it.each(['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', '/8', '10.0.0.0/8/8', '::/1e1'])(
    'refuses %j',
    (text) => {
      expect(parsePrefix(text)).toBeUndefined();
    },
  );

  it('contain by bits and never across families', () => {
    const inside = (prefix: string, address: string): boolean =>
      prefixContains(parsePrefix(prefix)!, parseAddress(address)!);
    expect(inside('10.1.2.0/23', '10.1.3.255')).toBe(true);
    expect(inside('10.1.2.0/23', '10.1.4.0')).toBe(false);
    expect(inside('10.1.2.3', '10.1.2.3')).toBe(true);
    expect(inside('10.1.2.3', '10.1.2.2')).toBe(false);
    expect(inside('0.0.0.0/0', '1.2.3.4')).toBe(true);
    expect(inside('::/0', '1.2.3.4')).toBe(false);
    expect(inside('2001:db8::/127', '2001:db8::1')).toBe(true);
    expect(inside('2001:db8::/127', '2001:db8::2')).toBe(false);
  });
});
