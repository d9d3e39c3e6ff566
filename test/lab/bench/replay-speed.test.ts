/** The captures that the benchmark makes are what it says they are, and what it prints. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readCaptureFile } from '../../../src/capture/capture-file.ts';
import { Replay } from '../../../src/capture/replay.ts';
import { replayText } from '../../../src/lab/bench/bench-report.ts';
import { writeLargeCapture } from '../../../src/lab/bench/replay-capture.ts';
import { hasTshark } from '../../capture/tshark.ts';

const BYTES = 3_000_000;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-large-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

test.each(['pcap', 'pcapng'] as const)('%s: size, packets, flows, all of them sound', (format) => {
  const path = join(folder, `traffic.${format}`);
  const { bytes, packets } = writeLargeCapture(path, format, BYTES);
  expect(statSync(path).size).toBe(bytes);
  expect(bytes).toBeGreaterThanOrEqual(BYTES);
  expect(bytes).toBeLessThan(BYTES + 10_000);
  const sink = { wants: 'none', passed: () => {}, packet: () => {}, event: () => {} } as const;
  const replay = new Replay({ script: [], lan: [], sink });
  const told: number[] = [];
  replay.run(readCaptureFile(path, (done, size) => told.push(done / size)));
  expect(replay.record.packets).toMatchObject({ read: packets, forwarded: packets, truncated: 0, notIp: 0 });
  expect(replay.record.atEnd).toEqual({ flowing: 64 });
  expect(told.at(-1)).toBe(1);
  expect(told).toEqual([...told].sort((a, b) => a - b));
  if (!hasTshark) return;
  const bad = ['-Y', 'tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed || tcp.analysis.flags'];
  const check = ['-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
  expect(execFileSync('tshark', ['-r', path, '-c', '1500', ...check, ...bad], { encoding: 'utf8' })).toBe('');
});

test('the report names rate, cost and memory, and the goal', () => {
  const runs = [
    { seconds: 2, processorSeconds: 1.6, bytesResident: 150e6 },
    { seconds: 4, processorSeconds: 2, bytesResident: 160e6 },
    { seconds: 2.5, processorSeconds: 1.25, bytesResident: 155e6 },
  ];
  expect(replayText([{ format: 'pcap', script: 'outage', bytes: 1e9, packets: 5, runs }]).slice(1)).toEqual([
    '  1000 MB pcap, outage              400 MB/s   (best 500, by processor time 625; 160 MB resident; 5 packets)',
    expect.stringContaining('goal: 500 MB/s or more for 1 GB, in constant memory'),
    '',
  ]);
});
