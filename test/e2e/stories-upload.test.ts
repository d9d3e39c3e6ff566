/** Stories of a near sender: it is frozen, its bytes are in custody, and it goes on as if nothing had been. */
import { describe, expect, test } from 'vitest';
import { runStory, type StoryOptions, type StoryResult } from '../../src/lab/scenario.ts';
import {
  expectTimedOut,
  missedRecovery,
  missedSender,
  storiesPossible,
  tell,
  tellBoth,
  WARM_MILLIS,
} from './story-goals.ts';

const RECOVERY = { firstByteRtts: 3, to85Rtts: 15 };

const missedAny = (result: StoryResult): string[] => [
  ...missedRecovery(result, RECOVERY),
  ...missedSender(result, { cwndShare: 1, retransmissions: 0 }),
];

describe.skipIf(!storiesPossible)('a sender whose link is lost', () => {
  test.each([
    ['cubic', 4, { compared: true, capture: true }],
    ['bbr', 6, { compared: true, capture: true }],
    ['cubic', 6, { compared: false, capture: true }],
    ['bbr', 4, { compared: false, capture: true }],
  ] as const)('upload, %s, IPv%d, carrier lost for 10 s', async (congestion, family, { compared, capture }) => {
    const name = `upload, ${congestion}, IPv${family}, carrier lost for 10 s`;
    const story: StoryOptions = {
      topology: 'router',
      congestion,
      flows: [{ mode: 'upload', family }],
      outages: [10],
      warmMillis: WARM_MILLIS[congestion],
    };
    const telling = { name, missed: missedAny };
    if (!compared) await tell({ ...telling, play: () => runStory({ ...story, gateway: true, capture }) });
    // The long warm-up is for the comparison of windows, which says nothing of a plain run.
    else await tellBoth(telling, { ...story, capture }, { ...story, warmMillis: WARM_MILLIS.cubic }, expectTimedOut);
  });

  test.each(['cubic', 'bbr'] as const)(
    'upload, %s, packets swallowed for 6 s, freeze ordered 2 s late',
    async (congestion) => {
      const name = `upload, ${congestion}, packets swallowed for 6 s, freeze ordered 2 s late`;
      const story: StoryOptions = {
        topology: 'router',
        congestion,
        flows: [{ mode: 'upload' }],
        cut: 'swallow',
        outages: [6],
        freezeAfterMillis: 2000,
        warmMillis: WARM_MILLIS[congestion],
      };
      const telling = {
        name,
        missed: (told: StoryResult) => [
          ...missedRecovery(told, RECOVERY),
          ...missedSender(told, { cwndShare: 0.9, retransmissions: 0 }),
        ],
      };
      const result =
        congestion === 'cubic'
          ? await tellBoth(telling, { ...story, capture: true }, story, expectTimedOut)
          : await tell({ ...telling, play: () => runStory({ ...story, gateway: true }) });
      // Otherwise the order did not come late, and the story would be another one.
      expect(result.flows[0]!.retransmissions).toBeGreaterThan(0);
    },
  );

  test('access: a server uploads to a host whose link is lost for 10 s', async () => {
    const name = 'upload by the server, access link lost for 10 s';
    const story: StoryOptions = { topology: 'access', flows: [{ mode: 'upload', opener: 'server' }], outages: [10] };
    await tell({
      name,
      play: () => runStory({ ...story, gateway: true, capture: true }),
      missed: missedAny,
    });
  });

  test('nat: upload through a masquerading router that loses its interface for 5 s', async () => {
    const name = 'nat, upload, interface down for 5 s';
    const story: StoryOptions = { topology: 'nat', flows: [{ mode: 'upload' }], cut: 'admin', outages: [5] };
    await tellBoth({ name, missed: missedAny }, { ...story, capture: true }, story);
  });
});
