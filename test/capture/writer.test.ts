import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from '../../src/capture/pcapng-blocks.ts';
import { PcapngWriter, type WrittenPacket } from '../../src/capture/pcapng-writer.ts';
import { join, readAll } from './files.ts';
import { hasTshark, tsharkFields } from './tshark.ts';

const INTERFACES = [
  { name: 'lan0', description: 'one side' },
  { name: 'wan0', description: 'the other' },
];

/** An IPv4 packet of protocol 253 (for experiments, RFC 3692) with `length` bytes behind its header. */
function datagram(length: number): Uint8Array {
  const bytes = new Uint8Array(20 + length).map((_, index) => index & 0xff);
  bytes.set([0x45, 0, (20 + length) >> 8, (20 + length) & 0xff, 0, 1, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  return bytes;
}

function write(packets: readonly WrittenPacket[], snap: number, dropped: readonly number[] = []): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter({ application: 'tcpfreeze 0' }, INTERFACES, snap, (bytes) =>
    parts.push(bytes.slice()),
  );
  for (const packet of packets) writer.packet(packet);
  writer.end(1_700_000_001_000_000_000n, dropped);
  return join(parts);
}

const START = 1_700_000_000_123_456_789n;

function packets(count: number): WrittenPacket[] {
  return Array.from({ length: count }, (_, index) => {
    const bytes = datagram(index % 90);
    return {
      interface: index % 2,
      time: START + BigInt(index) * 1_001n,
      bytes,
      originalLength: bytes.length,
      direction: index % 2 === 0 ? DIRECTION_INBOUND : DIRECTION_OUTBOUND,
      comment: index % 3 === 0 ? `nº ${index}: ${'x'.repeat(index % 7)}` : null,
    };
  });
}

describe('what is written', () => {
  // More than one chunk of the writer.
  const many = packets(5_000);

  test('is read back as it was', () => {
    const read = readAll(write(many, 65_535));
    expect(read.length).toBe(many.length);
    read.forEach((packet, index) => {
      const { time, bytes, comment, originalLength } = many[index]!;
      expect(BigInt(packet.seconds) * 1_000_000_000n + BigInt(packet.nanos)).toBe(time);
      expect(packet).toMatchObject({ comment, originalLength, hasTime: true });
      expect(packet.interface).toMatchObject({ name: INTERFACES[index % 2]!.name, linkType: 101 });
      expect([...packet.bytes]).toEqual([...bytes]);
    });
  });

  test('keeps no more than the snap length', () => {
    const read = readAll(write(many.slice(0, 90), 33));
    for (const [index, packet] of read.entries()) {
      const { bytes } = many[index]!;
      expect([...packet.bytes]).toEqual([...bytes.subarray(0, 33)]);
      expect(packet.originalLength).toBe(bytes.length);
    }
  });

  test.skipIf(!hasTshark)('is what tshark reads, too: names, directions, comments, times, statistics', () => {
    const directory = mkdtempSync(joinPath(tmpdir(), 'tcpfreeze-writer-'));
    try {
      const path = joinPath(directory, 'written.pcapng');
      const some = many.slice(0, 60);
      writeFileSync(path, write(some, 65_535, [3, 4]));
      const fields = [
        'frame.time_epoch',
        'frame.interface_name',
        'frame.packet_flags_direction',
        'frame.len',
        'frame.comment',
      ];
      const lines = tsharkFields(path, fields);
      const expected = some.map(({ time, interface: where, direction, bytes, comment }) => {
        const text = `${time / 1_000_000_000n}.${String(time % 1_000_000_000n).padStart(9, '0')}`;
        return [text, INTERFACES[where]!.name, `0x0000000${direction}`, bytes.length, comment ?? ''].join('\t');
      });
      expect(lines.map((line) => line.replace(/\t0x0*([12])\t/, '\t0x0000000$1\t'))).toEqual(expected);
      const info = execFileSync('capinfos', ['-M', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      expect(info).toContain('tcpfreeze 0');
      expect(info).toMatch(/Number of interfaces in file:\s*2/);
      // Statistics blocks: one for each interface.
      expect(info.match(/Number of stat entries = 1/g)).toHaveLength(2);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('passes the errors of its output on', () => {
    const full = (): never => {
      throw new Error('ENOSPC');
    };
    const writer = new PcapngWriter({ application: 'tcpfreeze 0' }, INTERFACES, 100, full);
    expect(() => writer.end(0n)).toThrow('ENOSPC');
  });
});
