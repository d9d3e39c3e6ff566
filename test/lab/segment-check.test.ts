/** What a real story must not show, made by hand: one fault each. */
import { describe, expect, test } from 'vitest';
import type { CapturedPacket } from '../../src/capture/capture.ts';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import {
  ACK_OF_NOTHING,
  BEFORE_WINDOW,
  BEYOND_WINDOW,
  checkSegments,
  OLD_TIMESTAMP,
} from '../../src/lab/segment-check.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { listed } from '../capture/replayed.ts';

interface Said {
  readonly from: 'a' | 'b';
  readonly seq: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly length?: number;
  readonly ts?: number;
  /** Milliseconds. */
  readonly at?: number;
}

/** Relative numbers; both sides begin at the end of the circle, so that everything wraps. */
const ISN = -3;

function packet({ from, seq, ack = 0, flags = ACK, window = 1_000, length = 0, ts = 5, at = 0 }: Said): CapturedPacket {
  const spec = new TcpSpec();
  spec.addresses = Int32Array.from(from === 'a' ? [0x0a00_0001, 0x0a00_0002] : [0x0a00_0002, 0x0a00_0001]);
  spec.srcAt = 0;
  spec.dstAt = 1;
  spec.srcPort = from === 'a' ? 1_000 : 2_000;
  spec.dstPort = from === 'a' ? 2_000 : 1_000;
  spec.seq = (ISN + seq) | 0;
  spec.ack = (flags & ACK) === 0 ? 0 : (ISN + ack) | 0;
  spec.flags = flags;
  spec.window = window;
  spec.hasTs = true;
  spec.tsVal = ts;
  spec.payload = new Uint8Array(length);
  spec.payloadTo = length;
  const bytes = new Uint8Array(2_000);
  const size = emitTcp(bytes, new DataView(bytes.buffer), 0, spec);
  return {
    seconds: 0,
    nanos: at * 1e6,
    hasTime: true,
    interface: { linkType: 101, name: '', snapLength: 0 },
    bytes: bytes.slice(0, size),
    originalLength: size,
    offset: 0,
    comment: null,
  };
}

const OPEN: readonly Said[] = [
  { from: 'a', seq: 0, flags: SYN },
  { from: 'b', seq: 0, ack: 1, flags: SYN | ACK },
  { from: 'a', seq: 1, ack: 1 },
  { from: 'a', seq: 1, ack: 1, length: 100 },
  { from: 'b', seq: 1, ack: 101, window: 500 },
  { from: 'b', seq: 1, ack: 101, length: 50, window: 500 },
  { from: 'a', seq: 101, ack: 51 },
];

const problems = (...said: readonly Said[]): string[] =>
  checkSegments([...OPEN, ...said].map(packet)).map(({ problem, packets }) => `${problem} ${packets}`);

describe('segments that a receiver would not like', () => {
  test.each<[string, Said, string[]]>([
    ['data up to the edge', { from: 'a', seq: 101, ack: 51, length: 900 }, []],
    ['a probe of one byte beyond it', { from: 'a', seq: 1_001, ack: 51, length: 1 }, []],
    ['two bytes beyond it', { from: 'a', seq: 1_001, ack: 51, length: 2 }, [`${BEYOND_WINDOW} 1`]],
    ['a retransmission', { from: 'a', seq: 1, ack: 51, length: 100 }, []],
    ['a keepalive', { from: 'a', seq: 100, ack: 51 }, []],
    ['an acknowledgement of old', { from: 'a', seq: 99, ack: 51, at: 60 }, [`${BEFORE_WINDOW} 1`]],
    ['one that crosses what moved the window', { from: 'a', seq: 99, ack: 51, at: 3 }, []],
    ['an acknowledgement of what never came', { from: 'a', seq: 101, ack: 52 }, [`${ACK_OF_NOTHING} 1`]],
    ['a time stamp of the tick before', { from: 'a', seq: 101, ack: 51, ts: 4 }, []],
    ['an older one', { from: 'a', seq: 101, ack: 51, ts: 3 }, [`${OLD_TIMESTAMP} 1`]],
    ['a reset is judged by nobody', { from: 'a', seq: 9_999, ack: 51, flags: RST }, []],
  ])('%s', (_name, said, expected) => expect(problems(said)).toEqual(expected));

  test('a window that has shrunk does not count: what was offered once may be under way', () => {
    expect(
      problems({ from: 'b', seq: 51, ack: 101, window: 0 }, { from: 'a', seq: 101, ack: 51, length: 900 }),
    ).toEqual([]);
  });

  test('the time stamp of a probe from before the window is forgotten with it, one in the window is not', () => {
    const old: Said = { from: 'a', seq: 101, ack: 51, ts: 5 };
    expect(problems({ from: 'a', seq: 100, ack: 51, ts: 90 }, old)).toEqual([]);
    expect(problems({ from: 'a', seq: 101, ack: 51, ts: 90 }, old)).toEqual([`${OLD_TIMESTAMP} 1`]);
  });

  test('a connection whose beginning is missing is left out', () => {
    expect(
      checkSegments([packet({ from: 'a', seq: 77, ack: 99_999, length: 9 }), packet({ from: 'b', seq: 1, ack: 5 })]),
    ).toEqual([]);
  });

  test('recordings of real connections show none', () => {
    const files = [...new Set(listed().map(({ capture }) => capture))].filter((name) => name.startsWith('stories/'));
    expect(files.length).toBeGreaterThan(2);
    for (const name of files) {
      const path = new URL(`../../captures/${name}`, import.meta.url).pathname;
      expect(checkSegments(readCaptureFile(path)), name).toEqual([]);
    }
  });
});
