/**
 * Answers of the gateway against those of a real receiver. In the capture a Linux sender probes a closed window three times and is
 * answered each time. With the receiver's side lost before the first probe, the gateway answers in its name.
 *
 * Equal in every field but these:
 * - the IP identification, which is nobody's business;
 * - the TTL, which the gateway copies from the receiver's last segment;
 * - TSval: the receiver's clock ran on. Nobody else can know its value: the recording shows one single time stamp of the receiver
 *   before the loss, from which no clock rate follows, and a value that is too new would make genuine segments fail PAWS later
 *   (RFC 7323 5.3). So the gateway repeats the newest that it has forwarded, and this test checks that.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import { ipOffset } from '../../src/capture/link-layer.ts';
import { parseScript } from '../../src/capture/script.ts';
import { LINK_NAMES } from '../../src/capture/sides.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { verifyChecksums } from '../../src/wire/rewrite.ts';
import { CAPTURES, replayFile } from './replayed.ts';

const PATH = join(CAPTURES, 'shared/chrissanders/tcp_zerowindowdead.pcapng');
const RECEIVER = '172.31.136.85';

function parsed(bytes: Uint8Array): Packet {
  const packet = new Packet();
  packet.attach(bytes.slice().buffer);
  expect(packet.parse(0, bytes.length, 0)).toBe(KIND_TCP);
  return packet;
}

/** IP packets of the capture without the padding of short Ethernet frames. */
const recorded = [...readCaptureFile(PATH)].map(({ bytes, interface: where }) => {
  const ip = bytes.slice(ipOffset(where.linkType, bytes));
  return ip.subarray(0, (ip[2]! << 8) | ip[3]!);
});

/** The bytes with the fields cleared that may differ, checksums among them: they follow from the others. */
function comparable(bytes: Uint8Array): number[] {
  const packet = parsed(bytes);
  const copy = packet.bytes.slice();
  copy.fill(0, 4, 6);
  copy.fill(0, 10, 12);
  copy.fill(0, packet.tcpAt + 16, packet.tcpAt + 18);
  copy.fill(0, packet.tsAt, packet.tsAt + 4);
  return [...copy];
}

describe('the answers to zero-window probes', () => {
  const { actions } = replayFile(PATH, parseScript('+3 lose lan0', LINK_NAMES));
  // The first packet made is the freeze itself, which no probe asked for.
  const [freeze, ...answers] = actions.filter(({ kind }) => kind === 'made');

  test('are as many as there were', () => {
    expect(recorded.length).toBe(8);
    expect(answers.map(({ at }) => at)).toEqual([3_410_605, 10_194_763, 23_731_506]);
    expect(actions.filter(({ kind }) => kind === 'held').map(({ at }) => at)).toEqual(answers.map(({ at }) => at));
  });

  test.each([0, 1, 2])('answer %i is the receiver’s', (index) => {
    const theirs = recorded[3 + 2 * index]!;
    const ours = answers[index]!.bytes;
    expect(answers[index]!.line.startsWith(`${RECEIVER}:38760 > `)).toBe(true);
    expect(comparable(ours)).toEqual(comparable(theirs));
    expect(verifyChecksums(parsed(ours))).toBe(true);
    expect(parsed(ours).window).toBe(0);
  });

  test('carry the newest time stamp of the receiver that passed', () => {
    const passed = parsed(recorded[1]!);
    for (const { bytes } of answers) expect(parsed(bytes).tsVal).toBe(passed.tsVal);
  });

  test('echo what the receiver echoes: a probe lies before its window and does not count (RFC 7323 5.3, R2 before R3)', () => {
    const data = parsed(recorded[0]!);
    for (const [index, { bytes }] of answers.entries()) {
      expect(parsed(bytes).tsEcr).toBe(data.tsVal);
      expect(parsed(recorded[3 + 2 * index]!).tsEcr).toBe(data.tsVal);
    }
  });

  test('repeat what froze the sender', () => {
    expect(freeze!.at).toBe(3_000_000);
    expect(comparable(freeze!.bytes)).toEqual(comparable(recorded[1]!));
  });
});
