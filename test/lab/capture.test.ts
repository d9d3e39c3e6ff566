/** The check that every story ends with must be able to fail: files with one fault each. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkCapture } from '../../src/lab/capture.ts';

const hasTshark = spawnSync('tshark', ['--version']).status === 0;
if (!hasTshark) console.warn('capture checks skipped: tshark is missing; install it (Debian: tshark)');

function sum16(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** An IPv4 TCP segment from 10.0.0.1 to 10.0.0.2 with right checksums; `word` varies its payload. */
function segment(word: number): Uint8Array {
  const packet = new Uint8Array(44);
  const view = new DataView(packet.buffer);
  packet.set([0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  packet.set([0x13, 0x88, 0x17, 0x70, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10, 0, 0, 0, 0, 0], 20);
  view.setUint32(40, word);
  view.setUint16(10, ~sum16(packet.subarray(0, 20), 0));
  // Pseudo header (RFC 9293 3.1): both addresses, protocol, length of the segment.
  view.setUint16(36, ~sum16(packet.subarray(20), sum16(packet.subarray(12, 20), 6 + 24)));
  return packet;
}

/** Classic pcap, link type 101: raw IP. */
function pcap(...packets: Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(101, 20);
  const records = packets.map((packet, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1 + index, 0);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return Buffer.concat([record, packet]);
  });
  return Buffer.concat([header, ...records]);
}

describe.skipIf(!hasTshark)('checkCapture', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-test-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const check = (packets: Uint8Array[], whole = true) => {
    const file = join(directory, 'one.pcap');
    writeFileSync(file, pcap(...packets));
    return checkCapture(file, whole);
  };
  const damaged = (at: number, by: number): Uint8Array => {
    const packet = segment(7);
    packet[at] = packet[at]! ^ by;
    return packet;
  };

  test('nothing wrong', async () => {
    expect(await check([segment(1), segment(2)])).toEqual([]);
  });

  test('a bad TCP checksum, only where checksums are whole', async () => {
    const packets = [segment(1), damaged(43, 1), damaged(42, 4)];
    expect(await check(packets)).toMatchObject([{ problem: 'bad TCP checksum', packets: 2 }]);
    expect(await check(packets, false)).toEqual([]);
  });

  test('a bad IPv4 header checksum on either side', async () => {
    for (const whole of [true, false]) {
      expect(await check([damaged(8, 1)], whole)).toMatchObject([{ problem: 'bad IPv4 header checksum', packets: 1 }]);
    }
  });

  test('a header that is cut short', async () => {
    const packet = segment(1).subarray(0, 30);
    expect((await check([packet]))[0]).toMatchObject({ problem: 'malformed packet', packets: 1 });
  });

  test('0xffff in place of 0 is no fault', async () => {
    // The payload word that makes the checksum come out as 0, found by trying: one in 65,536 does.
    let zero: Uint8Array | undefined;
    for (let word = 0; word < 0x10000 && zero === undefined; word++) {
      const packet = segment(word);
      if (packet[36] === 0 && packet[37] === 0) zero = packet;
    }
    zero!.set([0xff, 0xff], 36);
    expect(await check([zero!])).toEqual([]);
  });
});
