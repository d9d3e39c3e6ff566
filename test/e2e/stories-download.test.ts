/** Stories of a far sender: an unmodified server beyond the lost link, asleep in its back-off when the link returns. */
import { describe, test } from 'vitest';
import { runStory, type StoryOptions } from '../../src/lab/scenario.ts';
import { expectTimedOut, missedRecovery, printPlain, storiesPossible, tell } from './story-goals.ts';

describe.skipIf(!storiesPossible)('a sender beyond the lost link', () => {
  test('download, carrier lost for 10 s', async () => {
    const name = 'download, carrier lost for 10 s';
    const story: StoryOptions = { topology: 'router', flows: [{ mode: 'download' }], outages: [10] };
    const plain = await runStory(story);
    printPlain(name, plain);
    expectTimedOut(plain);
    await tell({
      name,
      play: () => runStory({ ...story, gateway: true, capture: true }),
      missed: (result) => missedRecovery(result, { firstByteRtts: 5 }),
    });
  });

  test('nat: download through a masquerading router that loses its interface for 5 s', async () => {
    const name = 'nat, download, interface down for 5 s';
    const story: StoryOptions = { topology: 'nat', flows: [{ mode: 'download' }], cut: 'admin', outages: [5] };
    // The router forgets the mapping and the server's segments find none: ten seconds show what minutes would not change.
    printPlain(name, await runStory({ ...story, patienceSeconds: 10 }));
    await tell({
      name,
      play: () => runStory({ ...story, gateway: true, capture: true }),
      missed: (result) => missedRecovery(result, { firstByteRtts: 5 }),
    });
  });
});
