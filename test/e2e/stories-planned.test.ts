/** Planned freezes: the order comes while the link still works, both ends drain, and the cut finds nothing under way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { monotonicMicros } from '../../src/lab/link-handle.ts';
import { judgeRecovery } from '../../src/lab/recovery.ts';
import { SocketSampler } from '../../src/lab/sampler.ts';
import { runStory, type StoryOptions, type StoryResult } from '../../src/lab/scenario.ts';
import { BEFORE_WINDOW } from '../../src/lab/segment-check.ts';
import type { SocketReading } from '../../src/lab/ss.ts';
import { expectSound, missedRecovery, print, RTT_MILLIS, storiesPossible, tell } from './story-goals.ts';

const LEAD_SECONDS = 0.5;
const OUTAGE_SECONDS = 10;

interface Told {
  readonly orderedAt: number;
  readonly before: ReadonlyMap<string, SocketReading>;
  readonly result: StoryResult;
}

/** Orders the freeze ahead of the cut, and the resume at link-up. */
async function play(story: StoryOptions): Promise<Told> {
  let orderedAt = 0;
  let before: ReadonlyMap<string, SocketReading> = new Map();
  const result = await runStory({
    ...story,
    gateway: true,
    onStage: async (stage, { lab, flows, gateway }) => {
      const link = lab.lostInterface;
      if (stage === 'warm') {
        before = await new SocketSampler(lab, flows).take();
        orderedAt = monotonicMicros();
        await gateway!.client.act('freeze', { link, lead: LEAD_SECONDS });
        await sleep(LEAD_SECONDS * 1000);
      } else if (stage === 'restored') await gateway!.client.act('resume', { link });
    },
  });
  return { orderedAt, before, result };
}

/**
 * While the link still works, a window that is shut in an endpoint's name may cross data that is under way and be older than that
 * data when it arrives: its receiver answers and forgets it, and learns of the window from the ACKs that pass.
 */
function isNoCrossing({ problem, packets }: { readonly problem: string; readonly packets: number }): boolean {
  return problem !== BEFORE_WINDOW || packets > 5;
}

describe.skipIf(!storiesPossible)('a link that is given up on purpose', () => {
  // BBR, which may be in the middle of probing for its minimum round trip when the order comes, is not held to this yet.
  test.each([
    ['upload', 'cubic', 4, true],
    ['download', 'cubic', 6, true],
  ] as const)('%s, %s, IPv%d, drained for 0.5 s, cut for 10 s', async (mode, congestion, family, capture) => {
    const name = `${mode}, ${congestion}, IPv${family}, planned, cut for ${OUTAGE_SECONDS} s`;
    let told: Told | undefined;
    const result = await tell({
      name,
      sound: (whole) => expectSound({ ...whole, findings: (whole.findings ?? []).filter(isNoCrossing) }),
      play: async () => {
        told = await play({
          topology: 'router',
          congestion,
          flows: [{ mode, family }],
          cut: 'swallow',
          outages: [OUTAGE_SECONDS],
          capture,
        });
        return told.result;
      },
      missed: (one) => {
        const flow = one.flows[0]!;
        const { orderedAt, before } = told!;
        const [cwndBefore] = [...before.values()].map((reading) => reading.cwnd);
        const { restoredAt, timeline } = one;
        const recovery = judgeRecovery(timeline!, { cutAt: orderedAt, restoredAt, rttMillis: RTT_MILLIS });
        print(
          `${name}: cwnd ${cwndBefore} -> ${flow.before?.cwnd} at the cut -> ${flow.after?.cwnd}, ` +
            `85 % of the rate before the order after ${recovery.to85Millis?.toFixed(0)} ms`,
        );
        const misses = missedRecovery({ ...one, recovery }, { firstByteRtts: 3 });
        if (flow.retransmissions !== 0) misses.push(`${flow.retransmissions} retransmissions by the endpoint`);
        return misses;
      },
    });
    expect(result.counters).toMatchObject({ custodyBytesTaken: 0, replayedBytes: 0 });
    expect(result.counters?.freezes).toBe(1);
  });

  test('upload and download at once, drained for 0.5 s, cut for 10 s: both ends go on with their windows', async () => {
    const name = `both directions, planned, cut for ${OUTAGE_SECONDS} s`;
    let told: Told | undefined;
    const result = await tell({
      name,
      play: async () => {
        told = await play({
          topology: 'router',
          flows: [{ mode: 'upload' }, { mode: 'download' }],
          cut: 'swallow',
          outages: [OUTAGE_SECONDS],
        });
        return told.result;
      },
      missed: ({ flows, restoredAt }) => {
        const { orderedAt, before } = told!;
        const windows = [...before.values()].map((reading) => reading.cwnd);
        return flows.flatMap((flow, index) => {
          const recovery = judgeRecovery(flow.timeline!, { cutAt: orderedAt, restoredAt, rttMillis: RTT_MILLIS });
          const { firstByteMillis } = recovery;
          const { mode } = flow.options;
          print(
            `${name}, ${mode}: first byte after ${firstByteMillis?.toFixed(0)} ms, cwnd ${windows[index]} -> ${flow.after?.cwnd}`,
          );
          const misses: string[] = [];
          if (!(firstByteMillis! <= 3 * RTT_MILLIS)) misses.push(`${mode}: first byte after ${firstByteMillis} ms`);
          if (!(flow.after!.cwnd >= 0.9 * windows[index]!))
            misses.push(`${mode}: cwnd ${windows[index]} -> ${flow.after?.cwnd}`);
          return misses;
        });
      },
    });
    expect(result.counters).toMatchObject({ custodyBytesTaken: 0, replayedBytes: 0, freezes: 2 });
  });
});
