import { expect, test } from 'vitest';
import {
  idleText,
  latencyText,
  outagesJson,
  outagesText,
  throughputText,
} from '../../../src/lab/bench/bench-report.ts';
import { medianOf, percentile } from '../../../src/lab/bench/figures.ts';
import { flowResult, socket, storyResult } from '../story-samples.ts';

test('median and percentile', () => {
  expect(medianOf([3])).toBe(3);
  expect(medianOf([9, 1, 4])).toBe(4);
  expect(medianOf([9, 1, 4, 6])).toBe(5);
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect(percentile(hundred, 0.5)).toBe(50);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 0)).toBe(1);
  expect(percentile(hundred, 1)).toBe(100);
});

test('throughput: medians with their range, and the ratio beside its goal', () => {
  const lines = throughputText([
    {
      flows: 1,
      command: 'iperf3 ...',
      figures: [
        { path: 'kernel', bps: [20e9, 26e9, 22e9], processorSeconds: [] },
        { path: 'gateway', bps: [9.5e9, 8.004e9, 12e9], processorSeconds: [0.4, 0.5, 0.45] },
      ],
      gatewayToLoop: 0.931,
      byProcessorTime: 0.954,
    },
  ]);
  expect(lines).toEqual([
    'Throughput, one flow (iperf3 ...)',
    '  kernel forwarding               22.00 Gb/s   (20.00 .. 26.00)',
    '  gateway, custody on              9.50 Gb/s   (8.00 .. 12.00, 0.45 processor s/GB)',
    '  gateway to loop                  0.93        (goal: 0.90 or more)',
    '  the same by processor time       0.95        (what it is on a machine with nothing else to do)',
    '',
  ]);
});

test('latency is told as what is added to the kernel', () => {
  const figures = [
    { path: 'kernel', medianMicros: 30, p99Micros: 90 },
    { path: 'loop', medianMicros: 52.4, p99Micros: 120 },
  ] as const;
  expect(latencyText({ command: 'echoes', figures })).toEqual([
    'Round trip (echoes)',
    '  kernel forwarding                  30 us     (99 %: 90 us)',
    '  TUN loop without the engine        52 us     (99 %: 120 us, 22 us more than the kernel)',
    '',
  ]);
});

test('idle', () => {
  const [, line] = idleText({ command: 'looked', flows: 1000, seconds: 20, share: 0.00319 });
  expect(line).toBe('  share of one core               0.319 %      (goal: below 1 %)');
});

test('outages: plain and gateway side by side, in JSON without timelines', () => {
  const recovery = { rateBefore: 1e6, firstByteMillis: 70, to85Millis: 150, deadAirMillis: 1 };
  const plain = storyResult([flowResult({ retransmissions: 12, intact: false })]);
  const sender = flowResult({ before: socket(100), after: socket(120), recovery });
  const gateway = storyResult([sender], { recovery });
  const typed = storyResult([flowResult({ options: { mode: 'echo' }, echoMillis: 46 })]);
  const outages = [
    {
      name: 'upload',
      comparison: { plain: { ...plain, recovery: { ...recovery, to85Millis: undefined } }, gateway },
      skipped: undefined,
    },
    { name: 'line', comparison: { plain: storyResult([flowResult({})]), gateway: typed }, skipped: undefined },
    { name: 'bbr', comparison: undefined, skipped: 'no bbr here' },
  ];
  const lines = outagesText(outages);
  expect(lines[2]!.split(/ {2,}/)).toEqual([
    '',
    'upload',
    '0.07 | 0.07',
    'never | 0.15',
    '12 | 0',
    '100 > 120',
    '0/1 | 1/1',
  ]);
  expect(lines[3]!.split(/ {2,}/)).toEqual(['', 'line', 'never | 0.05', '- | -', '0 | 0', '300 > 310', '1/1 | 1/1']);
  expect(lines[4]).toMatch(/^ {2}bbr +skipped: no bbr here$/);

  const json = JSON.parse(JSON.stringify(outagesJson(outages))) as object[];
  expect(json[0]).toMatchObject({ name: 'upload', gateway: { flows: [{ cwndBefore: 100, cwndAfter: 120 }] } });
  expect(json[2]).toEqual({ name: 'bbr', skipped: 'no bbr here' });
  expect(JSON.stringify(json)).not.toContain('timeline');
});
