import { expect, test } from 'vitest';
import { type DemoResult, demoJson, demoText } from '../../src/lab/demo-report.ts';
import { STANDARD_LINK } from '../../src/lab/link-handle.ts';
import type { Recovery } from '../../src/lab/recovery.ts';
import type { FlowResult } from '../../src/lab/story.ts';
import { flowResult, silentFor, socket, storyResult } from './story-samples.ts';

function recovery(firstByteMillis: number, to85Millis: number | undefined): Recovery {
  return { rateBefore: 1e6, firstByteMillis, to85Millis, deadAirMillis: 10_000 + firstByteMillis };
}

function flows(first: number, to85: number | undefined, echoMillis: number | undefined): FlowResult[] {
  return [
    flowResult({ recovery: recovery(first, to85), retransmissions: 41, before: socket(500), after: socket(7) }),
    flowResult({ options: { mode: 'download' }, recovery: recovery(first / 2, 1000), retransmissions: undefined }),
    flowResult({ options: { mode: 'echo' }, echoMillis, intact: echoMillis !== undefined }),
  ];
}

const RESULT: DemoResult = {
  outageSeconds: 10,
  congestion: 'cubic',
  link: STANDARD_LINK,
  plain: storyResult(flows(6400, undefined, undefined), { timeline: silentFor(16) }),
  gateway: storyResult(flows(80, 150, 48.26), { timeline: silentFor(10) }),
};

test('both runs side by side, with what never came named so', () => {
  const lines = demoText(RESULT);
  const text = lines.join('\n');
  expect(text).toContain('cubic, over a link of\n100 Mb/s and 40 ms round trip that loses its carrier for 10 s');
  for (const line of [
    'plain routing    with tcpfreeze',
    'upload: first new byte after link-up                      6.40 s            0.08 s',
    '  85 % of the old rate after                               never            0.15 s',
    '  dead air, outage included                              16.40 s           10.08 s',
    '  segments retransmitted by the sender                        41                41',
    '  congestion window before, after                       500 -> 7          500 -> 7',
    'download: first new byte after link-up                    3.20 s            0.04 s',
    '  segments retransmitted by the sender                         -                 -',
    '  echoed after link-up within                              never            0.05 s',
    '  connection intact                                no: not ended               yes',
  ])
    expect(text).toContain(line);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
});

test('the plot spans the slower run', () => {
  const lines = demoText(RESULT);
  const from = lines.indexOf('          with tcpfreeze');
  const plain = lines.slice(from - 4, from).map((line) => line.trimEnd().length);
  // Something on the right after the long silence, in the last column but one at least.
  expect(Math.max(...plain)).toBeGreaterThanOrEqual(81);
  expect(lines.slice(-3)[0]).toMatch(/^ {9}\+-+=+-+$/);
});

test('a story without timelines has no curves, and no failure', () => {
  const bare = { ...RESULT, plain: storyResult([]), gateway: storyResult([]) };
  expect(demoText(bare).join('\n')).toContain('10 s: back');
});

test('for programs: seconds as numbers, null for what never came', () => {
  expect(JSON.parse(JSON.stringify(demoJson(RESULT)))).toEqual({
    outageSeconds: 10,
    cut: 'carrier',
    congestion: 'cubic',
    link: { rateBps: 100e6, roundTripSeconds: 0.04, queuePackets: 400 },
    runs: [
      { name: 'plain', flows: expect.any(Array), resets: { host: 0, gateway: 0, server: 0 } },
      {
        name: 'gateway',
        flows: [
          {
            ...{ mode: 'upload', intact: true, error: null, bytes: null, rateBeforeBps: 8e6 },
            ...{ firstByteSeconds: 0.08, to85Seconds: 0.15, deadAirSeconds: 10.08 },
            ...{ retransmissions: 41, cwndBefore: 500, cwndAfter: 7 },
          },
          expect.objectContaining({ mode: 'download', retransmissions: null, firstByteSeconds: 0.04 }),
          { mode: 'echo', intact: true, error: null, echoSeconds: 0.04826 },
        ],
        resets: { host: 0, gateway: 0, server: 0 },
      },
    ],
  });
  const plain = (demoJson(RESULT) as { runs: { flows: Record<string, unknown>[] }[] }).runs[0]!.flows;
  expect(plain[0]).toMatchObject({ to85Seconds: null });
  expect(plain[2]).toMatchObject({ echoSeconds: null, intact: false });
});
