/** Results of stories, made by hand, for the tests of what is printed about them. */
import { parseSs, type SocketReading } from '../../src/lab/ss.ts';
import type { FlowResult, StoryResult } from '../../src/lab/story.ts';
import { type Timeline, TimelineRecorder } from '../../src/lab/timeline.ts';

export const CUT_AT = 100e6;

export function socket(cwnd: number): SocketReading {
  return parseSs(`ESTAB 0 0 10.0.0.1:1 10.0.0.2:2 cubic rto:200 cwnd:${cwnd}`)[0]!;
}

/** 8 Mb/s up to the cut, and again from so many seconds after it until 20 s after it. */
export function silentFor(seconds: number): Timeline {
  const recorder = new TimelineRecorder(CUT_AT - 5e6);
  for (let at = -5e6; at < 20e6; at += 10_000) if (at < 0 || at >= seconds * 1e6) recorder.add(CUT_AT + at, 10_000);
  return recorder.timeline();
}

export function flowResult(part: Partial<FlowResult>): FlowResult {
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
    retransmissions: 0,
    cwndBefore: undefined,
    retransmissionsSinceFreeze: undefined,
    echoMillis: undefined,
    ...part,
  };
}

export function storyResult(flows: readonly FlowResult[], part: Partial<StoryResult> = {}): StoryResult {
  return {
    flows,
    timeline: undefined,
    recovery: undefined,
    cutAt: CUT_AT,
    restoredAt: CUT_AT + 10e6,
    resets: { host: 0, gateway: 0, server: 0 },
    findings: undefined,
    signs: undefined,
    gatewayLog: [],
    residue: undefined,
    status: undefined,
    counters: undefined,
    ...part,
  };
}
