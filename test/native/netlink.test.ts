import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LinkEvent } from '../../src/link/events.ts';
import { LinkTable } from '../../src/native/link-table.ts';
import {
  emitDumpRequest,
  type NetlinkMessage,
  parseNetlink,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETNEIGH,
  RTM_GETROUTE,
} from '../../src/native/netlink-messages.ts';

/** What a real kernel sent after each step of a small story in a fresh namespace. */
interface Recording {
  readonly steps: readonly { readonly step: string; readonly datagrams: readonly string[] }[];
}
const recording = JSON.parse(readFileSync(new URL('./rtnetlink-6.18.json', import.meta.url), 'utf8')) as Recording;

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

const datagrams = recording.steps.flatMap((step) => step.datagrams.map(bytesOf));

function ipText(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  return Buffer.from(address)
    .toString('hex')
    .replace(/(....)(?=.)/g, '$1:');
}

function line(event: LinkEvent): string {
  switch (event.kind) {
    case 'interface':
      return `${event.name} up=${event.up} carrier=${event.carrier} oper=${event.operState} mtu=${event.mtu}`;
    case 'interface-gone':
      return `${event.name} gone`;
    case 'address':
      return `${event.present ? '+' : '-'}address ${event.name} ${ipText(event.address)}/${event.prefixLength}${event.global ? '' : ' link-local'}`;
    case 'route':
      return `${event.present ? '+' : '-'}route ${event.name} ${ipText(event.destination)}/${event.prefixLength} metric ${event.metric}`;
    case 'neighbour':
      return `neighbour ${event.name} ${ipText(event.address)} ${event.state}`;
    default:
      return event.kind;
  }
}

/** The story's events by step, IPv6 link-local ones left out: their addresses are random. */
function replay(table: LinkTable): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const { step, datagrams: hexes } of recording.steps) {
    const lines: string[] = [];
    for (const hex of hexes) {
      const bytes = bytesOf(hex);
      for (const message of parseNetlink(bytes, bytes.length))
        table.handle(message, (event) => lines.push(line(event)));
    }
    result.set(
      step,
      lines.filter((text) => !text.includes(' fe80:')),
    );
  }
  return result;
}

describe('the link table on a recorded kernel', () => {
  const story = replay(new LinkTable());

  test.each([
    [
      'ip link add lan0 type veth peer name peer0',
      ['peer0 up=false carrier=false oper=2 mtu=1500', 'lan0 up=false carrier=false oper=2 mtu=1500'],
    ],
    ['ip addr add 10.81.1.1/24 dev lan0', ['+address lan0 10.81.1.1/24', '+route lan0 10.81.1.0/24 metric 0']],
    // The address is announced as tentative first; it counts when duplicate detection is over.
    [
      'ip addr add fd81:1::1/64 dev lan0',
      [
        '+route lan0 fd81:0001:0000:0000:0000:0000:0000:0000/64 metric 256',
        '+address lan0 fd81:0001:0000:0000:0000:0000:0000:0001/64',
      ],
    ],
    ['ip route add default via 10.81.1.2', ['+route lan0 0.0.0.0/0 metric 0']],
    ['ip route add default via 10.81.1.3 metric 50', ['+route lan0 0.0.0.0/0 metric 50']],
    ['ip route replace default via 10.81.2.2', ['-route lan0 0.0.0.0/0 metric 0', '+route wan0 0.0.0.0/0 metric 0']],
    [
      'ip route add 10.99.0.0/16 nexthop via 10.81.1.9 nexthop via 10.81.2.9',
      ['+route lan0 10.99.0.0/16 metric 0', '+route wan0 10.99.0.0/16 metric 0'],
    ],
    // Routes of other tables come after those of the main one; other kinds of route say nothing about where a packet goes.
    ['ip route add 10.98.0.0/16 dev lan0 table 77', ['+route lan0 10.98.0.0/16 metric 4294967373']],
    ['ip route add blackhole 10.97.0.0/16', []],
    [
      'ip link set peer0 down',
      ['peer0 up=false carrier=false oper=2 mtu=1500', 'lan0 up=true carrier=false oper=3 mtu=1500'],
    ],
    [
      'ip link set peer0 up',
      [
        'peer0 up=true carrier=true oper=3 mtu=1500',
        'peer0 up=true carrier=true oper=6 mtu=1500',
        'lan0 up=true carrier=true oper=6 mtu=1500',
      ],
    ],
    // Nothing new in the dumps but the loopback interface, which was there before the socket.
    ['dump links', ['lo up=true carrier=true oper=0 mtu=65536']],
    ['dump routes', []],
    // The kernel reports the loss of IPv6 routes only; those of IPv4 go silently.
    [
      'ip link set lan0 down',
      [
        'lan0 up=false carrier=false oper=2 mtu=1500',
        '-route lan0 10.81.1.0/24 metric 0',
        '-route lan0 0.0.0.0/0 metric 50',
        '-route lan0 10.99.0.0/16 metric 0',
        '-route lan0 10.98.0.0/16 metric 4294967373',
        '-route lan0 fd81:0001:0000:0000:0000:0000:0000:0000/64 metric 256',
        '-route lan0 fd99:0000:0000:0000:0000:0000:0000:0000/48 metric 1024',
        '-address lan0 fd81:0001:0000:0000:0000:0000:0000:0001/64',
        'peer0 up=true carrier=false oper=3 mtu=1500',
      ],
    ],
    [
      'ip link set lan0 name lan9',
      [
        '-address lan0 10.81.1.1/24',
        'lan0 gone',
        'lan9 up=false carrier=false oper=2 mtu=1500',
        '+address lan9 10.81.1.1/24',
      ],
    ],
    ['ip addr del 10.81.2.1/24 dev wan0', ['-address wan0 10.81.2.1/24', '-route wan0 10.81.2.0/24 metric 0']],
    [
      'ip link del wan0',
      [
        'wan0 up=false carrier=false oper=2 mtu=1500',
        '-route wan0 0.0.0.0/0 metric 0',
        '-route wan0 10.99.0.0/16 metric 0',
        'peer1 up=false carrier=false oper=2 mtu=1500',
        'wan0 gone',
        'peer1 gone',
      ],
    ],
  ])('%s', (step, expected) => {
    expect(story.get(step)).toEqual(expected);
  });

  test('a removed IPv4 address puts the routes in doubt', () => {
    const table = new LinkTable();
    replay(table);
    expect(table.routesDoubtful).toBe(true);
  });

  test('events are consistent: nothing is added twice or removed without having been there', () => {
    const present = new Set<string>();
    const table = new LinkTable();
    for (const bytes of datagrams) {
      for (const message of parseNetlink(bytes, bytes.length)) {
        table.handle(message, (event) => {
          if (event.kind !== 'address' && event.kind !== 'route') return;
          const key = line(event).slice(1);
          expect(present.has(key)).toBe(!event.present);
          if (event.present) present.add(key);
          else present.delete(key);
        });
      }
    }
    const snapshot = new Set<string>();
    table.snapshot((event) => {
      if (event.kind === 'address' || event.kind === 'route') snapshot.add(line(event).slice(1));
    });
    expect(snapshot).toEqual(present);
  });

  test('a new dump reports what went unnoticed', () => {
    const table = new LinkTable();
    const apply = (step: string): string[] => {
      const lines: string[] = [];
      for (const hex of recording.steps.find((entry) => entry.step === step)!.datagrams) {
        const bytes = bytesOf(hex);
        for (const message of parseNetlink(bytes, bytes.length)) table.handle(message, (e) => lines.push(line(e)));
      }
      return lines;
    };
    apply('dump links');
    apply('dump addresses');
    apply('dump routes');
    table.beginDump();
    const lines: string[] = [];
    // The second dump mentions all links but no route at all.
    apply('dump links');
    table.endDump('link', (event) => lines.push(line(event)));
    expect(lines).toEqual([]);
    table.beginDump();
    table.endDump('route', (event) => lines.push(line(event)));
    expect(lines).toContain('-route wan0 0.0.0.0/0 metric 0');
    expect(lines.every((text) => text.startsWith('-route'))).toBe(true);
    lines.length = 0;
    table.beginDump();
    table.endDump('link', (event) => lines.push(line(event)));
    expect(lines).toContain('wan0 gone');
    expect(lines).toContain('-address wan0 10.81.2.1/24');
  });
});

describe('hostile bytes', () => {
  const sane = (message: NetlinkMessage): boolean =>
    message.kind === 'route'
      ? message.prefixLength <= message.destination.length * 8
      : message.kind === 'address'
        ? message.prefixLength <= message.address.length * 8
        : true;

  test('every prefix of every recorded datagram is decoded without an error', () => {
    for (const bytes of datagrams) {
      const whole = parseNetlink(bytes, bytes.length).length;
      // Every length up to the first message's end and a little beyond; steps afterwards keep the run short.
      for (let length = 0; length < bytes.length; length += length < 256 ? 1 : 61) {
        const messages = parseNetlink(bytes, length);
        expect(messages.length).toBeLessThanOrEqual(whole);
        expect(messages.every(sane)).toBe(true);
      }
    }
  });

  test('a length beyond the buffer reads no further than the buffer', () => {
    const bytes = datagrams[0]!;
    expect(parseNetlink(bytes, bytes.length + 4096)).toEqual(parseNetlink(bytes, bytes.length));
  });

  test('recorded datagrams with bytes overwritten never throw, and the table survives them', () => {
    const table = new LinkTable();
    const overwrite = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(datagrams.length - 1), overwrite, (which, changes) => {
        const bytes = datagrams[which]!.slice();
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const messages = parseNetlink(bytes, bytes.length);
        for (const message of messages) table.handle(message, () => {});
        return messages.every(sane);
      }),
      { numRuns: 3000 },
    );
  });

  test('random bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        parseNetlink(bytes, bytes.length);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('dump requests', () => {
  test.each([
    [RTM_GETLINK, 32],
    [RTM_GETADDR, 24],
    [RTM_GETROUTE, 28],
    [RTM_GETNEIGH, 28],
  ])('type %i is %i bytes with the header filled in', (type, size) => {
    const bytes = emitDumpRequest(type, 0x01020304);
    expect(bytes.length).toBe(size);
    const header = new DataView(bytes.buffer);
    const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
    expect(header.getUint32(0, little)).toBe(size);
    expect(header.getUint16(4, little)).toBe(type);
    expect(header.getUint16(6, little)).toBe(0x301);
    expect(header.getUint32(8, little)).toBe(0x01020304);
  });
});
