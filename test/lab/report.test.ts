import { expect, test } from 'vitest';
import { describeComparison, describeStory } from '../../src/lab/report.ts';
import type { FlowResult, StoryResult } from '../../src/lab/scenario.ts';
import { parseSs } from '../../src/lab/ss.ts';

const socket = (cwnd: number) => parseSs(`ESTAB 0 0 10.0.0.1:1 10.0.0.2:2 cubic rto:200 cwnd:${cwnd}`)[0]!;

function flow(part: Partial<FlowResult>): FlowResult {
  return {
    options: { mode: 'upload' },
    sent: undefined,
    received: undefined,
    intact: true,
    timeline: undefined,
    recovery: undefined,
    before: socket(300),
    frozen: undefined,
    after: socket(310),
    cwndBefore: 300,
    retransmissions: 0,
    retransmissionsSinceFreeze: undefined,
    echoMillis: undefined,
    ...part,
  };
}

function story(flows: FlowResult[], firstByteMillis?: number, to85Millis?: number): StoryResult {
  return {
    flows,
    timeline: undefined,
    recovery: { rateBefore: 1e7, firstByteMillis, to85Millis, deadAirMillis: undefined },
    cutAt: 0,
    restoredAt: 1,
    resets: { host: 0, gateway: 0, server: 0 },
    findings: undefined,
    signs: undefined,
    gatewayLog: [],
    residue: undefined,
    status: undefined,
    counters: undefined,
  };
}

test('one transfer that recovered', () => {
  expect(describeStory(story([flow({})], 46, 150))).toBe(
    'first new byte after 0.046 s, 85 % of the old rate after 0.150 s, cwnd 300 -> 310, 0 retransmissions by the endpoints, ' +
      '1 of 1 connections intact',
  );
});

test('several, one of them dead; an echo', () => {
  const flows = [flow({ retransmissions: 3 }), flow({ retransmissions: 4, intact: false }), flow({ echoMillis: 61 })];
  expect(describeStory(story(flows, 46))).toBe(
    'first new byte after 0.046 s, old rate not reached, typed line echoed after 0.061 s, 7 retransmissions by the endpoints, ' +
      '2 of 3 connections intact',
  );
});

test('nothing came back', () => {
  const dead = story([flow({ intact: false, after: undefined, retransmissions: undefined })]);
  expect(describeComparison('upload', { plain: dead, gateway: story([flow({})], 46, 150) })[0]).toBe(
    'upload, plain:   no new byte, 0 of 1 connections intact',
  );
});
