/** Stories of a far sender: an unmodified server beyond the lost link, asleep in its back-off when the link returns. */
import { describe, test } from 'vitest';
import type { StoryOptions, StoryResult } from '../../src/lab/scenario.ts';
import { expectTimedOut, missedRecovery, storiesPossible, tellBoth } from './story-goals.ts';

describe.skipIf(!storiesPossible)('a sender beyond the lost link', () => {
  test('download, carrier lost for 10 s', async () => {
    const name = 'download, carrier lost for 10 s';
    const story: StoryOptions = { topology: 'router', flows: [{ mode: 'download' }], outages: [10] };
    const missed = (result: StoryResult): string[] => missedRecovery(result, { firstByteRtts: 5 });
    await tellBoth({ name, missed }, { ...story, capture: true }, story, expectTimedOut);
  });

  test('nat: download through a masquerading router that loses its interface for 5 s', async () => {
    const name = 'nat, download, interface down for 5 s';
    const story: StoryOptions = { topology: 'nat', flows: [{ mode: 'download' }], cut: 'admin', outages: [5] };
    // The router forgets the mapping and the server's segments find none: ten seconds show what minutes would not change.
    const missed = (result: StoryResult): string[] => missedRecovery(result, { firstByteRtts: 5 });
    await tellBoth({ name, missed }, { ...story, capture: true }, { ...story, patienceSeconds: 10 });
  });
});
