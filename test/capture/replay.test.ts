/** Replays of conversations written for the purpose: which side is LAN, what a capture leaves out, and what it spoils. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { COUNTER } from '../../src/base/counters.ts';
import { replayJson } from '../../src/capture/replay-text.ts';
import { parseScript } from '../../src/capture/script.ts';
import { LINK_NAMES } from '../../src/capture/sides.ts';
import { parseAddress, parsePrefix } from '../../src/wire/address.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, PSH, SYN } from '../../src/wire/tcp-flags.ts';
import { type Fields, pcap } from './files.ts';
import { type Replayed, replayFile } from './replayed.ts';

interface Segment {
  readonly at: number;
  readonly from: 'a' | 'b';
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly length?: number;
}

const PORTS = { a: 40_000, b: 443 } as const;

function packetOf(segment: Segment, addresses: Readonly<Record<'a' | 'b', string>>): Uint8Array {
  const to = segment.from === 'a' ? 'b' : 'a';
  const spec = new TcpSpec();
  const bytes = new Uint8Array(2_048);
  const words = new Int32Array(8);
  for (const [index, end] of [segment.from, to].entries()) {
    const address = parseAddress(addresses[end as 'a' | 'b'])!;
    words[4 * index] = new DataView(address.buffer).getInt32(0);
  }
  spec.addresses = words;
  spec.srcAt = 0;
  spec.dstAt = 4;
  spec.family = 4;
  spec.vnetLength = 0;
  spec.srcPort = PORTS[segment.from];
  spec.dstPort = PORTS[to];
  spec.seq = segment.seq | 0;
  spec.ack = segment.ack | 0;
  spec.flags = segment.flags;
  spec.window = 1_000;
  spec.payload = new Uint8Array(segment.length ?? 0).fill(0x5a);
  spec.payloadFrom = 0;
  spec.payloadTo = segment.length ?? 0;
  return bytes.slice(0, emitTcp(bytes, new DataView(bytes.buffer), 0, spec));
}

/** A opens, sends 300 bytes of which 100 are acknowledged before the loss at 1 s; B acknowledges the rest at 3 s. */
const CONVERSATION: readonly Segment[] = [
  { at: 0, from: 'a', flags: SYN, seq: 1_000, ack: 0 },
  { at: 0.02, from: 'b', flags: SYN | ACK, seq: 9_000, ack: 1_001 },
  { at: 0.04, from: 'a', flags: ACK, seq: 1_001, ack: 9_001 },
  { at: 0.1, from: 'a', flags: ACK | PSH, seq: 1_001, ack: 9_001, length: 100 },
  { at: 0.12, from: 'b', flags: ACK, seq: 9_001, ack: 1_101 },
  { at: 0.9, from: 'a', flags: ACK | PSH, seq: 1_101, ack: 9_001, length: 200 },
  { at: 1.5, from: 'b', flags: ACK, seq: 9_001, ack: 1_301 },
  { at: 2.1, from: 'b', flags: ACK, seq: 9_001, ack: 1_301 },
];

const PUBLIC = { a: '198.51.100.1', b: '203.0.113.9' } as const;

describe('replay', () => {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(joinPath(tmpdir(), 'tcpfreeze-replay-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function replayed(
    options: {
      readonly script?: string;
      readonly lan?: string;
      readonly addresses?: Readonly<Record<'a' | 'b', string>>;
      readonly snap?: number;
      readonly spoil?: (bytes: Uint8Array, index: number) => void;
      readonly skip?: number;
    } = {},
  ): Replayed {
    const { script = '', lan, addresses = PUBLIC, snap = 65_535, spoil, skip = 0 } = options;
    const records = CONVERSATION.slice(skip).map((segment, index): Fields => {
      const bytes = packetOf(segment, addresses);
      spoil?.(bytes, index);
      const micros = Math.round(segment.at * 1e6);
      const seconds = 1_700_000_000 + Math.floor(micros / 1e6);
      return { seconds, fraction: micros % 1e6, bytes: bytes.slice(0, snap), originalLength: bytes.length };
    });
    const path = joinPath(directory, 'conversation.pcap');
    writeFileSync(path, pcap(0xa1b2_c3d4, true, 101, records));
    return replayFile(path, parseScript(script, LINK_NAMES), lan === undefined ? [] : [parsePrefix(lan)!]);
  }
  const CUT = '+1 lose wan0\n+2 restore wan0';
  const made = ({ actions }: Replayed): string[] =>
    actions.filter(({ kind }) => kind === 'made').map(({ line, comment }) => `${line} | ${comment}`);

  test('data in flight at the loss is taken into custody, and delivered when the link is back', () => {
    const result = replayed({ script: CUT });
    const lines = made(result);
    expect(lines[0]).toMatch(
      /203\.0\.113\.9:443 > .* ack 1301 win 0 .*\| custody ACK: 200 bytes held, window 0; link wan0 lost now/,
    );
    expect(
      lines.some((line) => /198\.51\.100\.1:40000 > .* seq 1101:1301 .*\| replay: 200 bytes delivered/.test(line)),
    ).toBe(true);
    const json = replayJson(result.replay);
    expect(json.packets).toMatchObject({ read: 8, forwarded: 7, lost: 1, held: 0, changed: 0, dropped: 0 });
    expect(json.flows).toHaveLength(1);
    expect(json.flows[0]).toMatchObject({ near: 'originator', custodyBytes: 200, inFlight: 200, resetAt: null });
    expect(json.flows[0]!.phases.map(({ phase }) => phase)).toEqual(['frozen', 'handback', 'flowing']);
    expect(json.losses).toEqual([
      { at: 1, what: 'link wan0 lost', state: 'lost', flows: 1 },
      { at: 2, what: 'link wan0 restored', state: 'up', flows: 1 },
    ]);
    expect(result.text).toContain('1 flow with 200 bytes in flight at the loss');
  });

  test('a host can be lost as well as a link', () => {
    const result = replayed({ script: '+1 lose host 203.0.113.9\n+2 restore host 203.0.113.9' });
    expect(made(result)[0]).toContain('custody ACK: 200 bytes held, window 0; 203.0.113.9 lost now');
    expect(result.replay.record.packets.lost).toBe(1);
  });

  test('a capture cut by its snap length gives the same, with zeros for what is missing', () => {
    const whole = replayed({ script: CUT });
    const cut = replayed({ script: CUT, snap: 60 });
    expect(made(cut)).toEqual(made(whole));
    expect(cut.replay.record.packets.truncated).toBe(2);
    const forwarded = cut.actions.filter(({ kind }) => kind === 'forwarded');
    expect(Math.max(...forwarded.map(({ bytes }) => bytes.length))).toBe(60);
    expect(Math.max(...forwarded.map(({ originalLength }) => originalLength))).toBe(240);
    const replay = cut.actions.find(({ comment }) => comment?.startsWith('replay: 200'))!;
    const kept = 60 - 40;
    expect([...replay.bytes.subarray(40)]).toEqual(Array.from({ length: 200 }, (_, i) => (i < kept ? 0x5a : 0)));
  });

  test('headers cut by the snap length are passed on as they are', () => {
    const result = replayed({ snap: 30 });
    expect(result.replay.record.packets).toMatchObject({ forwarded: 8, truncated: 0 });
    expect(result.replay.counters[COUNTER.malformed]).toBe(8);
  });

  /** Overwrites the checksum of the segment with 200 bytes. */
  function withChecksum(value: (right: number, pseudo: number) => number): (bytes: Uint8Array, index: number) => void {
    return (bytes, index) => {
      if (index !== 5) return;
      const view = new DataView(bytes.buffer);
      let pseudo = 6 + bytes.length - 20;
      for (let at = 12; at < 20; at += 2) pseudo += view.getUint16(at);
      while (pseudo > 0xffff) pseudo = (pseudo & 0xffff) + (pseudo >>> 16);
      view.setUint16(36, value(view.getUint16(36), pseudo));
    };
  }

  test('a checksum that was left to the network card counts as right, any other wrong one does not', () => {
    const offloaded = replayed({ script: CUT, spoil: withChecksum((_right, pseudo) => pseudo) });
    expect(made(offloaded)[0]).toContain('custody ACK: 200 bytes held');
    // It is passed on as it was recorded.
    expect(offloaded.actions[5]!.kind).toBe('forwarded');
    const damaged = replayed({ script: CUT, spoil: withChecksum((right) => right ^ 0x0101) });
    expect(made(damaged).some((line) => line.includes('200 bytes held'))).toBe(false);
  });

  describe('LAN is', () => {
    const lanOf = (options: Parameters<typeof replayed>[0]): string => replayJson(replayed(options).replay).lan;
    const swapped = { a: '203.0.113.9', b: '10.1.2.3' } as const;

    test('the private side, whoever opens', () => {
      expect(lanOf({ addresses: swapped })).toBe('10.1.2.3');
      expect(lanOf({ addresses: { a: '192.168.7.7', b: '8.8.8.8' } })).toBe('192.168.7.7');
    });
    test('else who opens the connection, be it the SYN or the SYN-ACK that shows it', () => {
      expect(lanOf({})).toBe(PUBLIC.a);
      expect(lanOf({ skip: 1 })).toBe(PUBLIC.a);
      expect(lanOf({ addresses: { a: '10.0.0.1', b: '10.0.0.2' } })).toBe('10.0.0.1');
    });
    test('else who talks to a service port', () => expect(lanOf({ skip: 4 })).toBe(PUBLIC.a));
    test('what the user names', () => {
      expect(lanOf({ lan: '203.0.113.0/24' })).toBe('203.0.113.0/24');
      const result = replayed({ lan: '203.0.113.0/24', script: '+1 lose lan0' });
      expect(made(result)[0]).toContain('custody ACK: 200 bytes held, window 0; link lan0 lost now');
    });
  });

  test.each([
    [10, [0, 0, 0], 10, 'dead: none, if no sender gives up within 21 s (old Windows)'],
    [60, [1, 0, 0], 60, 'dead, with a sender that gives up after 21 s (old Windows): 1'],
    [500, [1, 1, 0], 120, 'dead, with a sender that gives up after 100 s (the least that RFC 1122 allows): 1'],
    [1_000, [1, 1, 1], 120, 'dead, with a sender that gives up after 924 s (Linux by default): 1'],
  ])('an outage of %i s: who would have died of it', (seconds, dead, silence, line) => {
    const result = replayed({ script: `+1 lose wan0\n+${seconds + 1} restore wan0` });
    const { withoutGateway } = replayJson(result.replay);
    expect(withoutGateway.givenUp.map(({ flows }) => flows)).toEqual(dead);
    expect(withoutGateway).toMatchObject({
      flowsInFlight: 1,
      flowsIdle: 0,
      bytesInFlight: 200,
      longestOutage: seconds,
    });
    expect(withoutGateway.silenceAfter).toBe(silence);
    expect(result.text).toContain(line);
  });

  test('the same input gives the same output', () => {
    const once = replayed({ script: CUT });
    const again = replayed({ script: CUT });
    expect(again.actions).toEqual(once.actions);
    expect(again.text).toBe(once.text);
  });
});
