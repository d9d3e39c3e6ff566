/** Stories with long outages, told side by side: while they wait, nothing happens, and they take turns with what is measured. */
import { describe, expect, test } from 'vitest';
import { runStory, type StoryOptions } from '../../src/lab/scenario.ts';
import { Turns } from '../../src/lab/turns.ts';
import { missedRecovery, printPlain, RTT_MILLIS, storiesPossible, tell } from './story-goals.ts';

const turns = new Turns();

describe.skipIf(!storiesPossible).concurrent('long outages', () => {
  test('a sender with few retries lives through 60 s, and dies without the gateway', async () => {
    const name = 'upload, tcp_retries2 = 5, carrier lost for 60 s';
    const story: StoryOptions = {
      turns,
      topology: 'router',
      sysctl: { host: { 'net.ipv4.tcp_retries2': 5 } },
      flows: [{ mode: 'upload' }],
      outages: [60],
    };
    const plain = async () => {
      const result = await runStory({ ...story, patienceSeconds: 5 });
      printPlain(name, result);
      expect(result.flows[0]!.sent!.error).not.toBeNull();
      expect(result.flows[0]!.intact).toBe(false);
    };
    const gateway = () =>
      tell({
        name,
        play: () => runStory({ ...story, gateway: true, capture: true }),
        missed: (result) => missedRecovery(result, { firstByteRtts: 3 }),
      });
    await Promise.all([gateway(), plain()]);
  });

  test('download, carrier lost for 40 s', async () => {
    const name = 'download, carrier lost for 40 s';
    const story: StoryOptions = { turns, topology: 'router', flows: [{ mode: 'download' }], outages: [40] };
    const plain = async () => printPlain(name, await runStory(story));
    const gateway = () =>
      tell({
        name,
        play: () => runStory({ ...story, gateway: true, capture: true }),
        missed: (result) => missedRecovery(result, { firstByteRtts: 5 }),
      });
    await Promise.all([gateway(), plain()]);
  });

  test('an idle connection, a line typed during a cut of 30 s', async () => {
    const name = 'line typed in a cut of 30 s';
    const story: StoryOptions = {
      turns,
      topology: 'router',
      flows: [{ mode: 'echo' }, { mode: 'echo', family: 6 }],
      outages: [30],
      typeAfterMillis: 10_000,
      warmMillis: 500,
      afterMillis: 500,
    };
    const plain = async () => printPlain(name, await runStory(story));
    const gateway = () =>
      tell({
        name,
        play: () => runStory({ ...story, gateway: true, capture: true }),
        missed: ({ flows }) =>
          flows
            .filter(({ echoMillis }) => !((echoMillis ?? Number.NaN) <= 3 * RTT_MILLIS))
            .map(({ options, echoMillis }) => `IPv${options.family ?? 4} echo after ${echoMillis} ms`),
      });
    await Promise.all([gateway(), plain()]);
  });
});
