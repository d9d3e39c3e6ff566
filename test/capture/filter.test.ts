import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseFilter } from '../../src/capture/filter-language.ts';
import { Flow } from '../../src/flow/flow.ts';
import { Note } from '../../src/flow/note.ts';
import { Packet } from '../../src/wire/packet.ts';
import { bytesOf } from './segments.ts';

const LINKS = ['lan0', 'wan0', 'wan1'];

/** Flow 7.3 between links 0 and 1. */
const flow = new Flow(7);
flow.generation = 3;
flow.originatorPort = 40_000;
flow.responderPort = 443;
flow.halves[0].port = 0;
flow.halves[1].port = 1;

interface Subject {
  readonly src?: string;
  readonly dst?: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly untracked?: boolean;
  readonly touched?: boolean;
  readonly icmp?: boolean;
}

function matches(text: string, subject: Subject = {}): boolean {
  const { src = '10.0.0.7', dst = '192.0.2.9', sport = 40_000, dport = 443 } = subject;
  const bytes = bytesOf({ src, dst, sport, dport, protocol: subject.icmp === true ? 1 : 6 });
  const packet = new Packet();
  packet.attach(bytes.buffer);
  packet.parse(0, bytes.length, 0);
  const note = new Note();
  note.flow = subject.untracked === true ? null : flow;
  return parseFilter(text, LINKS).matches({ packet, note, isTouched: subject.touched === true });
}

describe('a capture filter', () => {
  test.each([
    ['', true],
    ['host 10.0.0.7', true],
    ['src host 10.0.0.7', true],
    ['dst host 10.0.0.7', false],
    ['dst host 192.0.2.9', true],
    ['host 10.0.0.8', false],
    ['host 2001:db8::1', false],
    ['net 10.0.0.0/8', true],
    ['net 10.0.0.0/31', false],
    ['src net 192.0.2.0/24', false],
    ['net 0.0.0.0/0', true],
    ['net ::/0', false],
    ['port 443', true],
    ['src port 443', false],
    ['dst port 443', true],
    ['portrange 440-450', true],
    ['portrange 0-439', false],
    ['link lan0', true],
    ['link wan0', true],
    ['link wan1', false],
    ['flow 7.3', true],
    ['flow 7.4', false],
    ['touched', false],
    ['not touched', true],
    ['tcp', true],
    ['icmp', false],
    ['ip', true],
    ['ip6', false],
    ['!icmp && ip || ip6', true],
    ['HOST 10.0.0.7 AND NOT PORT 22', true],
    // "and" binds closer than "or".
    ['tcp or tcp and icmp', true],
    ['(tcp or tcp) and icmp', false],
    ['not tcp or icmp', false],
    ['not (tcp and icmp)', true],
    ['not not tcp', true],
  ])('%s: %s', (text, expected) => expect(matches(text)).toBe(expected));

  test('IPv6 addresses, and prefixes that end within a word', () => {
    const subject = { src: '2001:db8::a:1', dst: 'fd00::1' };
    expect(matches('host 2001:db8::a:1', subject)).toBe(true);
    expect(matches('net 2001:db8::/33', subject)).toBe(true);
    expect(matches('net 2001:db8:8000::/33', subject)).toBe(false);
    expect(matches('ip6 and not ip', subject)).toBe(true);
  });

  test('packets of no connection have no flow and no link; ICMP has the ports of its connection', () => {
    expect(matches('link lan0', { untracked: true })).toBe(false);
    expect(matches('flow 7.3', { untracked: true })).toBe(false);
    expect(matches('icmp and port 443', { icmp: true })).toBe(true);
    expect(matches('port 443', { icmp: true, untracked: true })).toBe(false);
    expect(matches('touched', { touched: true })).toBe(true);
  });

  test.each([
    ['host', 'at its end (column 5): an address is missing'],
    ['host 10.0.0', 'at column 6: "10.0.0" is no IP address'],
    ['host 10.0.0.7 port 22', 'at column 15: "and" or "or" is missing before "port"'],
    ['10.0.0.7', 'at column 1: say "host 10.0.0.7"'],
    ['10.0.0.0/8', 'at column 1: say "net 10.0.0.0/8"'],
    ['port 80 or 443', 'at column 12: say "port 443"'],
    ['port 70000', 'at column 6: "70000" is no port'],
    ['port http', 'at column 6: "http" is no port'],
    ['portrange 9-2', 'at column 11: "9-2" ends before it begins'],
    ['net 10.0.0.0/40', 'at column 5: "10.0.0.0/40" is no prefix'],
    ['link eth7', 'at column 6: "eth7" is no link of the gateway; it has lan0, wan0, wan1'],
    ['flow x', 'at column 6: "x" is no flow such as 17.1'],
    ['src touched', 'at column 5: src goes with host, net, port or portrange'],
    ['(tcp', 'a ")" is missing'],
    ['tcp)', '"and" or "or" is missing before ")"'],
    ['tcp & icmp', 'before "&"'],
    ['and tcp', 'at column 1: "and" is no word'],
    [`${'('.repeat(100)}tcp`, 'nested too deeply'],
    ['x'.repeat(5_000), 'has 5000 characters'],
  ])('%s is refused', (text, message) => expect(() => parseFilter(text, LINKS)).toThrow(message));

  test('whatever is typed ends in a filter or in one clear error', () => {
    const words = [
      'host',
      'net',
      'port',
      'not',
      'and',
      'or',
      '(',
      ')',
      '10.0.0.7',
      '10.0.0.0/8',
      '22',
      'link',
      'lan0',
      '!',
    ];
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 12 }), (parts) => {
        try {
          parseFilter(parts.join(' '), LINKS);
        } catch (error) {
          expect((error as { code?: string }).code).toBe('FILTER_INVALID');
        }
      }),
      { numRuns: 500 },
    );
  });

  test('not and and are what logic says they are', () => {
    const atoms = ['tcp', 'icmp', 'touched', 'port 443', 'link wan1'];
    fc.assert(
      fc.property(fc.constantFrom(...atoms), fc.constantFrom(...atoms), (a, b) => {
        expect(matches(`not (${a} and ${b})`)).toBe(matches(`not ${a} or not ${b}`));
        expect(matches(`${a} and not ${b}`)).toBe(matches(a) && !matches(b));
      }),
    );
  });
});
