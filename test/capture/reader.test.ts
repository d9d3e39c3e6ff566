import { readdirSync, readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { readCapture } from '../../src/capture/capture-file.ts';
import { PARSER_MAX_BYTES } from '../../src/capture/pcap-reader.ts';
import { block, join, numbers, pcap, readAll, sourceOf } from './files.ts';
import { CAPTURES } from './replayed.ts';
import { hasTshark, tsharkFields } from './tshark.ts';

const frame = Uint8Array.of(1, 2, 3, 4, 5);
const MICROS = 0xa1b2_c3d4;
const NANOS = 0xa1b2_3c4d;

function errorOf(bytes: Uint8Array): string {
  try {
    readAll(bytes);
  } catch (error) {
    if (error instanceof TcpfreezeError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'none';
}

describe('classic pcap', () => {
  const records = [
    { seconds: 10, fraction: 250, bytes: frame },
    { seconds: 11, fraction: 999_999, bytes: new Uint8Array(0), originalLength: 60 },
    { seconds: 12, fraction: 1_000_001, bytes: frame },
  ];

  test.each([
    ['microseconds, little-endian', MICROS, true, 1_000],
    ['microseconds, big-endian', MICROS, false, 1_000],
    ['nanoseconds, little-endian', NANOS, true, 1],
    ['nanoseconds, big-endian', NANOS, false, 1],
  ])('%s', (_name, magic, little, nanosPerUnit) => {
    for (const step of [1, 7, 1 << 20]) {
      const packets = readAll(pcap(magic, little, 113, records), step);
      expect(packets.map(({ seconds, nanos }) => [seconds, nanos])).toEqual([
        [10, 250 * nanosPerUnit],
        [11, 999_999 * nanosPerUnit],
        nanosPerUnit === 1 ? [12, 1_000_001] : [13, 1_000],
      ]);
      expect(packets.map(({ bytes }) => [...bytes])).toEqual([[...frame], [], [...frame]]);
      expect(packets.map(({ originalLength }) => originalLength)).toEqual([5, 60, 5]);
      expect(packets.map(({ offset }) => offset)).toEqual([24, 45, 61]);
      expect(packets[0]!.interface).toMatchObject({ linkType: 113, snapLength: 65_535 });
    }
  });

  test.each([MICROS, NANOS])('damage is named with its offset (%i)', (magic) => {
    const good = pcap(magic, true, 1, records);
    expect(errorOf(good.subarray(0, 20))).toContain('byte 0');
    expect(errorOf(good.subarray(0, 30))).toContain('byte 24');
    expect(errorOf(good.subarray(0, good.length - 1))).toContain('byte 61');
    const huge = good.slice();
    new DataView(huge.buffer).setUint32(24 + 8, 0xffff_fff0, true);
    expect(errorOf(huge)).toContain('damaged at byte 24: a frame of 4294967280 bytes');
    const old = good.slice();
    old[4] = 7;
    expect(errorOf(old)).toContain('version 7');
  });
});

describe('large files of microseconds, which are read without pcap-parser', () => {
  /** Packets and error, as text. */
  function outcome(bytes: Uint8Array, size: number, step = 1 << 20): string {
    const packets: string[] = [];
    let error = '';
    try {
      for (const { interface: where, bytes: kept, ...rest } of readCapture(sourceOf(bytes, step, size)))
        packets.push(JSON.stringify({ ...rest, ...where, kept: Buffer.from(kept).toString('hex') }));
    } catch (caught) {
      if (!(caught instanceof TcpfreezeError)) throw caught;
      error = `${caught.code} ${caught.message}`;
    }
    return `${packets.join('\n')}\n${error}`;
  }

  const files = readdirSync(CAPTURES, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.pcap'))
    .map((name) => ({ name, bytes: new Uint8Array(readFileSync(joinPath(CAPTURES, name))) }));

  test('every recorded file reads the same both ways', () => {
    expect(files.length).toBeGreaterThan(10);
    for (const { name, bytes } of files) {
      const own = outcome(bytes, PARSER_MAX_BYTES + 1);
      expect(own === outcome(bytes, 0), name).toBe(true);
      expect(own.length).toBeGreaterThan(100);
    }
  });

  test('so do files that are cut short, or damaged in the length of a record', () => {
    const record = fc.record({
      seconds: fc.nat(0x7fff_ffff),
      fraction: fc.nat(3_000_000),
      bytes: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(record, { minLength: 1, maxLength: 6 }),
        fc.nat(60),
        fc.option(fc.nat(0xffff_ffff), { nil: undefined }),
        fc.constantFrom(1, 7, 1 << 20),
        (little, records, cut, claimed, step) => {
          const whole = pcap(MICROS, little, 1, records);
          const bytes = whole.slice(0, Math.max(24, whole.length - cut));
          if (claimed !== undefined && bytes.length >= 40)
            new DataView(bytes.buffer).setUint32(24 + 8, claimed, little);
          const own = outcome(bytes, PARSER_MAX_BYTES + 1, step);
          const parsed = outcome(bytes, 0, step);
          expect(own).toBe(parsed);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('what is no capture', () => {
  test.each([
    ['nothing', new Uint8Array(0)],
    ['three bytes', Uint8Array.of(0xa1, 0xb2, 0xc3)],
    ['text', new TextEncoder().encode('#!/bin/sh\n')],
  ])('%s', (_name, bytes) => expect(errorOf(bytes)).toContain('CAPTURE_UNKNOWN'));
});

describe('pcapng', () => {
  const section = (little: boolean): Uint8Array =>
    block(0x0a0d_0d0a, little, numbers(little, [4, 0x1a2b_3c4d], [2, 1], [2, 0], [8, 0xffff_ffff_ffff_ffffn]));
  const described = (little: boolean, snap: number, ...options: Uint8Array[]): Uint8Array =>
    block(1, little, join([numbers(little, [2, 1], [2, 0], [4, snap]), ...options]));
  const enhanced = (little: boolean, index: number, ticks: bigint, bytes: Uint8Array, ...options: Uint8Array[]) => {
    const padding = new Uint8Array((4 - (bytes.length % 4)) % 4);
    const head = numbers(
      little,
      [4, index],
      [4, ticks >> 32n],
      [4, ticks & 0xffff_ffffn],
      [4, bytes.length],
      [4, bytes.length + 100],
    );
    return block(6, little, join([head, bytes, padding, ...options]));
  };

  test.each([true, false])('resolutions and offsets (little-endian %s)', (little) => {
    const resolution = (value: number): Uint8Array =>
      join([numbers(little, [2, 9], [2, 1]), Uint8Array.of(value, 0, 0, 0)]);
    const offset = numbers(little, [2, 14], [2, 8], [8, 100n]);
    const packets = readAll(
      join([
        section(little),
        described(little, 0),
        described(little, 0, resolution(9)),
        described(little, 0, resolution(0x80 | 10)),
        described(little, 0, resolution(3), offset),
        enhanced(little, 0, 1_500_000n, frame),
        enhanced(little, 1, 1_700_000_000_123_456_789n, frame),
        enhanced(little, 2, 1_536n, frame),
        enhanced(little, 3, 2_005n, frame),
      ]),
    );
    expect(packets.map(({ seconds, nanos }) => [seconds, nanos])).toEqual([
      [1, 500_000_000],
      [1_700_000_000, 123_456_789],
      [1, 500_000_000],
      [102, 5_000_000],
    ]);
    expect(packets.every(({ originalLength }) => originalLength === 105)).toBe(true);
  });

  test('time stamps in micro- and nanoseconds equal those that BigInt computes', () => {
    const resolution = join([numbers(true, [2, 9], [2, 1]), Uint8Array.of(9, 0, 0, 0)]);
    const ticks = fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.bigInt({ min: 0n, max: 2n * 10n ** 18n }),
      // Around whole seconds, where a rounded quotient would show.
      fc.tuple(fc.bigInt({ min: 0n, max: 4n * 10n ** 9n }), fc.bigInt({ min: -3n, max: 3n })).map(([seconds, by]) => {
        const at = seconds * 10n ** 9n + by;
        return at < 0n ? 0n : at;
      }),
    );
    fc.assert(
      fc.property(ticks, (at) => {
        const file = [section(true), described(true, 0), described(true, 0, resolution)];
        const stamp = (index: number): Uint8Array =>
          block(6, true, numbers(true, [4, index], [4, at >> 32n], [4, at & 0xffff_ffffn], [4, 0], [4, 0]));
        const packets = readAll(join([...file, stamp(0), stamp(1)]));
        expect(packets.map(({ seconds, nanos }) => [seconds, nanos])).toEqual([
          [Number(at / 10n ** 6n), Number(at % 10n ** 6n) * 1_000],
          [Number(at / 10n ** 9n), Number(at % 10n ** 9n)],
        ]);
      }),
      { numRuns: 1_000 },
    );
  });

  test('comments, simple and obsolete packets, sections of other order', () => {
    const comment = join([numbers(true, [2, 1], [2, 5]), new TextEncoder().encode('hello'), new Uint8Array(3)]);
    const obsolete = numbers(false, [2, 0], [2, 9], [4, 0], [4, 7], [4, 5], [4, 5]);
    const packets = readAll(
      join([
        section(true),
        described(true, 3),
        enhanced(true, 0, 1n, frame, comment),
        block(3, true, join([numbers(true, [4, 5]), frame.subarray(0, 3)])),
        section(false),
        described(false, 0),
        block(2, false, join([obsolete, frame])),
        block(0x0bad, false, frame),
      ]),
    );
    expect(packets.map((packet) => [packet.comment, packet.hasTime, [...packet.bytes], packet.nanos])).toEqual([
      ['hello', true, [1, 2, 3, 4, 5], 1_000],
      [null, false, [1, 2, 3], 0],
      [null, true, [1, 2, 3, 4, 5], 7_000],
    ]);
  });

  test.each<[string, (little: boolean) => Uint8Array[], string]>([
    ['no interface', (l) => [enhanced(l, 0, 0n, frame)], 'byte 36: a packet of interface 0'],
    ['a simple packet before it', (l) => [block(3, l, numbers(l, [4, 5]))], 'byte 28: a simple packet before'],
    ['a short packet block', (l) => [described(l, 0), block(6, l, frame)], 'byte 48: block type 6 with 8 bytes'],
    ['a short interface block', (l) => [block(1, l, frame.subarray(0, 4))], 'byte 28: block type 1'],
    ['cut', (l) => [described(l, 0).subarray(0, 14)], 'byte 28: a block of 20 bytes, of which 14'],
    ['cut in the head', (l) => [described(l, 0).subarray(0, 6)], 'byte 28: 6 bytes are no block'],
    ['odd length', (l) => [numbers(l, [4, 1], [4, 21], [4, 21])], 'byte 32: a block of 21 bytes'],
    ['no length', (l) => [numbers(l, [4, 1], [4, 0], [4, 0])], 'byte 32: a block of 0 bytes'],
    [
      'huge length',
      (l) => [numbers(l, [4, 5], [4, 0x7fff_fffc], [4, 0])],
      'byte 32: a block of 2147483644 bytes, more',
    ],
    ['other length at its end', (l) => [numbers(l, [4, 5], [4, 12], [4, 16])], 'byte 36: a block of 12 bytes ends as'],
    [
      'a frame longer than its block',
      (l) => [described(l, 0), block(6, l, numbers(l, [4, 0], [4, 0], [4, 0], [4, 9_999], [4, 9_999]))],
      'byte 48: a frame of 9999 bytes in a block with room for 0',
    ],
    [
      'a frame longer than any',
      (l) => [described(l, 0), block(6, l, numbers(l, [4, 0], [4, 0], [4, 0], [4, 0xffff_ffff], [4, 0]))],
      'byte 48: a frame of 4294967295 bytes',
    ],
    ['an option beyond its block', (l) => [described(l, 0, numbers(l, [2, 2], [2, 500]))], 'byte 44: option 2 of 500'],
  ])('damage is named with its offset: %s', (_name, parts, message) => {
    for (const little of [true, false]) expect(errorOf(join([section(little), ...parts(little)]))).toContain(message);
  });

  test('a file that does not begin with a section', () => {
    const wrong = section(true);
    wrong[8] = 0;
    expect(errorOf(wrong)).toContain('byte 8: byte-order magic');
  });
});

describe('captures of others', () => {
  const files = readdirSync(joinPath(CAPTURES, 'shared'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.pcap(ng)?$/.test(name),
  );

  test.each(files.filter((name) => name.startsWith('pcapng/')))(
    '%s has the packets that its description counts',
    (name) => {
      const path = joinPath(CAPTURES, 'shared', name);
      const description = readFileSync(path.replace(/pcapng$/, 'txt'), 'utf8');
      const counts = [...description.matchAll(/^\s+(EPB|SPB|PB): (\d+)/gm)].map((match) => Number(match[2]));
      expect(readAll(readFileSync(path)).length).toBe(counts.reduce((sum, count) => sum + count, 0));
    },
  );

  // An independent reader. Files without time stamps, and with several sections, are left to the test above.
  test.skipIf(!hasTshark)('lengths and times are those that tshark reads', () => {
    for (const name of files.filter((one) => !one.startsWith('pcapng/'))) {
      const path = joinPath(CAPTURES, 'shared', name);
      const lines = tsharkFields(path, ['frame.time_epoch', 'frame.cap_len', 'frame.len']);
      const ours = readAll(readFileSync(path)).map(
        ({ seconds, nanos, bytes, originalLength }) =>
          `${seconds}.${String(nanos).padStart(9, '0')}\t${bytes.length}\t${originalLength}`,
      );
      expect(ours, name).toEqual(lines);
    }
  });

  test('whatever is changed in them ends in packets or in one error with an offset', () => {
    const samples = ['pcapng/be_test202.pcapng', 'pcapng/le_test100.pcapng', 'zeek/option-sack.pcap'].map((name) =>
      readFileSync(joinPath(CAPTURES, 'shared', name)),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 }),
        fc.nat(),
        (sample, changes, cut) => {
          const bytes = new Uint8Array(sample);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const whole = cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
          const error = errorOf(whole);
          if (error !== 'none')
            expect(error).toMatch(/^CAPTURE_(UNKNOWN not a capture|DAMAGED the capture is damaged at byte \d+)/);
        },
      ),
      { numRuns: 500 },
    );
  });
});
