import { expect, test } from 'vitest';
import { type PlotRun, plotGoodput } from '../../src/lab/plot.ts';
import { TimelineRecorder } from '../../src/lab/timeline.ts';

/** 8 Mb/s in the given spans, seconds relative to the cut. */
function run(label: string, ...spans: [number, number][]): PlotRun {
  const cutAt = 100e6;
  const recorder = new TimelineRecorder(90e6);
  for (const [from, to] of spans) {
    for (let at = from * 1e6; at < to * 1e6 - 1; at += 10_000) recorder.add(cutAt + at, 10_000);
  }
  return { label, timeline: recorder.timeline(), cutAt };
}

const OPTIONS = { fromSeconds: -2, toSeconds: 8, outageSeconds: 4, width: 40, height: 2 };

test('two runs on one axis', () => {
  expect(plotGoodput([run('plain', [-2, 0], [7, 8]), run('gateway', [-2, 0], [4, 8])], OPTIONS)).toEqual([
    '          plain',
    ' 8.0 Mb/s|████████                            ████',
    '        0|████████                            ████',
    '          gateway',
    ' 8.0 Mb/s|████████                ████████████████',
    '        0|████████                ████████████████',
    '         +--------================----------------',
    '                  0 s: link lost  4 s: back',
  ]);
});

test('levels between the lines', () => {
  const lines = plotGoodput([run('half', [-2, 8])], { ...OPTIONS, topBps: 16e6 });
  expect(lines[1]).toBe('  16 Mb/s|');
  expect(lines[2]).toBe(`        0|${'█'.repeat(40)}`);
  const third = plotGoodput([run('third', [-2, 8])], { ...OPTIONS, topBps: 10.667e6 });
  expect(third[1]).toBe(`  11 Mb/s|${'▄'.repeat(40)}`);
});

test('a short outage leaves room for one label', () => {
  const lines = plotGoodput([run('short', [-2, 0], [1, 8])], { ...OPTIONS, outageSeconds: 1 });
  expect(lines.at(-1)).toContain('1 s: back');
  expect(lines.at(-1)).not.toContain('link lost');
});

test('no data at all still draws', () => {
  const lines = plotGoodput([run('nothing')], OPTIONS);
  expect(lines).toHaveLength(5);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(52);
});
