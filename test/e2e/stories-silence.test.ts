/** A link that swallows packets while its interface looks healthy: nobody tells the gateway, the connections show it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runStory } from '../../src/lab/scenario.ts';
import { WAN_INTERFACE } from '../../src/lab/topology.ts';
import { missedRecovery, missedSender, print, storiesPossible, tell } from './story-goals.ts';

interface Told {
  readonly name: string;
  readonly time: string;
}

/** An answer of the far side to a question of the gateway, asked ten times a second, comes before everything else. */
const RECOVERY = { firstByteRtts: 8, to85Rtts: 20 };

describe.skipIf(!storiesPossible)('packets swallowed, and nobody says so', () => {
  let directory = '';
  let file = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-silence-'));
    file = join(directory, 'config.yaml');
    writeFileSync(file, `links:\n  ${WAN_INTERFACE}:\n    role: wan\n    detectors:\n      silence: true\n`);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each(['cubic', 'bbr'])('upload, %s, 8 s', async (congestion) => {
    const name = `upload, ${congestion}, packets swallowed for 8 s, nothing ordered`;
    let cutAt = 0;
    let events: Told[] = [];
    await tell({
      name,
      play: () =>
        runStory({
          topology: 'router',
          congestion,
          flows: [{ mode: 'upload' }],
          cut: 'swallow',
          outages: [8],
          gateway: { args: ['--config', file] },
          capture: true,
          onStage: async (stage, { gateway }) => {
            if (stage === 'cut') cutAt = Date.now();
            if (stage !== 'recovered') return;
            const { stdout } = await gateway!.cli('events', '--json');
            events = stdout
              .split('\n')
              .filter((line) => line !== '')
              .map((line) => JSON.parse(line) as Told);
          },
        }),
      missed: (result) => {
        const lost = events.filter((event) => event.name === 'host-lost' || event.name === 'link-lost');
        const noticed = lost[0] === undefined ? Number.NaN : Date.parse(lost[0].time) - cutAt;
        print(`${name}: noticed after ${noticed} ms`);
        const misses = [
          ...missedRecovery(result, RECOVERY),
          ...missedSender(result, { cwndShare: 0.9, retransmissions: 3 }),
        ];
        if (!(noticed <= 1_000)) misses.push(`noticed after ${noticed} ms > 1 s`);
        return misses;
      },
    });
    const names = events.map((event) => event.name);
    // The silent host first; that it is the whole link, echoes tell later where there is somebody to ask.
    const lost = names.filter((one) => one === 'host-lost' || one === 'link-lost');
    expect(lost.length).toBeLessThanOrEqual(2);
    expect(names.filter((one) => one === 'host-restored' || one === 'link-restored')).toHaveLength(lost.length);
  });
});
