/** Neighbours and next hops, as a real kernel reports them. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LinkEvent } from '../../src/link/events.ts';
import { LinkTable } from '../../src/native/link-table.ts';
import { emitProbeRequest } from '../../src/native/neighbour-request.ts';
import { parseNetlink } from '../../src/native/netlink-messages.ts';

interface Recording {
  readonly steps: readonly { readonly step: string; readonly datagrams: readonly string[] }[];
}
const recording = JSON.parse(readFileSync(new URL('./neighbours-6.18.json', import.meta.url), 'utf8')) as Recording;

function line(event: LinkEvent): string | undefined {
  if (event.kind === 'neighbour') {
    const hardware = event.hardware === undefined ? '' : ` ${Buffer.from(event.hardware).toString('hex')}`;
    return `${event.name} ${event.address.join('.')} ${event.state}${hardware}`;
  }
  if (event.kind !== 'route') return undefined;
  const sign = event.present ? '+' : '-';
  return `${sign}${event.destination.join('.')}/${event.prefixLength} via ${event.gateway?.join('.') ?? 'none'}`;
}

function apply(table: LinkTable, datagrams: readonly string[]): string[] {
  const lines: string[] = [];
  for (const hex of datagrams) {
    const bytes = new Uint8Array(Buffer.from(hex, 'hex'));
    for (const message of parseNetlink(bytes, bytes.length)) {
      table.handle(message, (event) => {
        const text = line(event);
        if (text !== undefined) lines.push(text);
      });
    }
  }
  return lines;
}

describe('a request to probe a neighbour', () => {
  test.each([
    [4, Uint8Array.of(10, 81, 1, 2)],
    [6, Uint8Array.from({ length: 16 }, (_, i) => i)],
  ] as const)('is what the kernel would say of it, IPv%d', (family, address) => {
    const hardware = Uint8Array.of(2, 0, 0, 0, 0x81, 2);
    const bytes = emitProbeRequest(7, address, hardware);
    const view = new DataView(bytes.buffer);
    // u32 length, u16 RTM_NEWNEIGH, u16 NLM_F_REQUEST and nothing else: it neither makes an entry nor overrides a valid one.
    expect([view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true)]).toEqual([bytes.length, 28, 1]);
    expect(parseNetlink(bytes, bytes.length)).toEqual([
      { kind: 'neighbour', added: true, index: 7, family, address, state: 0x10, probes: 0, hardware },
    ]);
  });
});

describe('neighbours and next hops on a recorded kernel', () => {
  const table = new LinkTable();
  const story = new Map(recording.steps.map(({ step, datagrams }) => [step, apply(table, datagrams)]));

  test.each([
    ['ip route add default via 10.81.1.2 dev lan0', ['+0.0.0.0/0 via 10.81.1.2']],
    // Another next hop on the same interface is another route.
    ['ip route replace default via 10.81.1.9 dev lan0', ['-0.0.0.0/0 via 10.81.1.2', '+0.0.0.0/0 via 10.81.1.9']],
    ['ip route replace default with two next hops', ['+0.0.0.0/0 via 10.81.1.2']],
    ['ip route del default', ['-0.0.0.0/0 via 10.81.1.9', '-0.0.0.0/0 via 10.81.1.2']],
    ['ip route add 10.90.0.0/16 via inet6 fe80::9 dev lan0', ['+10.90.0.0/16 via 254.128.0.0.0.0.0.0.0.0.0.0.0.0.0.9']],
    ['ping the neighbour', ['lan0 10.81.1.2 reachable 020000008102']],
    // Known already: a dump says nothing new.
    ['dump neighbours', []],
    ['the neighbour goes', []],
    ['ping the neighbour that went', ['lan0 10.81.1.2 probing 020000008102', 'lan0 10.81.1.2 failed']],
    ['it comes back', ['lan0 10.81.1.2 reachable 020000008102']],
    ['its hardware address changes', ['lan0 10.81.1.2 reachable 020000008103']],
    ['ip neigh add permanent', ['lan0 10.81.1.8 stale 020000008108']],
    // The kernel reports FAILED, too, although nobody was asked.
    ['ip neigh del', ['lan0 10.81.1.8 gone 020000008108']],
  ])('%s', (step, expected) => {
    expect(story.get(step)).toEqual(expected);
  });

  test('one that was never there fails', () => {
    expect(story.get('ping a neighbour that is not there')).toContain('lan0 10.81.1.7 failed');
  });

  test('an interface that goes down takes them along', () => {
    expect(story.get('ip link set lan0 down')).toEqual(
      expect.arrayContaining(['lan0 10.81.1.7 gone', 'lan0 10.81.1.2 gone 020000008103']),
    );
  });

  test('a dump that does not mention one any more reports it as gone; a snapshot tells all', () => {
    const other = new LinkTable();
    for (const step of ['dump links', 'ping the neighbour']) {
      apply(other, recording.steps.find((entry) => entry.step === step)!.datagrams);
    }
    const lines: (string | undefined)[] = [];
    other.snapshot((event) => lines.push(line(event)));
    expect(lines).toContain('lan0 10.81.1.2 reachable 020000008102');
    lines.length = 0;
    other.beginDump();
    other.endDump('neighbour', (event) => lines.push(line(event)));
    expect(lines).toEqual(['lan0 10.81.1.2 gone 020000008102']);
  });

  test('two routers on one link: when one goes the prefix stays', () => {
    const other = new LinkTable();
    const lines: (string | undefined)[] = [];
    const sink = (event: LinkEvent): void => void lines.push(line(event));
    other.handle(
      { kind: 'link', added: true, index: 3, name: 'lan0', up: true, carrier: true, operState: 6, mtu: 1500 },
      sink,
    );
    const route = (added: boolean, ...last: number[]) =>
      ({
        kind: 'route',
        added,
        replaces: false,
        family: 4,
        destination: new Uint8Array(4),
        prefixLength: 0,
        tos: 0,
        metric: 0,
        hops: last.map((byte) => ({ index: 3, gateway: Uint8Array.of(10, 0, 0, byte) })),
      }) as const;
    other.handle(route(true, 1, 2), sink);
    lines.length = 0;
    other.handle(route(false, 1), sink);
    expect(lines).toEqual(['-0.0.0.0/0 via 10.0.0.1', '+0.0.0.0/0 via 10.0.0.2']);
    lines.length = 0;
    other.handle(route(false, 2), sink);
    expect(lines).toEqual(['-0.0.0.0/0 via 10.0.0.2']);
  });

  test('recorded datagrams with bytes overwritten or cut off never throw', () => {
    const all = recording.steps.flatMap(({ datagrams }) => datagrams);
    const overwrite = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 6 });
    const victim = new LinkTable();
    fc.assert(
      fc.property(fc.nat(all.length - 1), overwrite, fc.nat(300), (which, changes, cut) => {
        const bytes = new Uint8Array(Buffer.from(all[which]!, 'hex'));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        for (const message of parseNetlink(bytes, Math.min(bytes.length, cut))) {
          victim.handle(message, (event) => {
            if (event.kind === 'neighbour') expect(event.address).toHaveLength(event.family === 4 ? 4 : 16);
          });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
