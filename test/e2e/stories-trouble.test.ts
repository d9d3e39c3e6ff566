/** Stories with more than one trouble at a time: many flows, cuts during a handback, the gateway killed. */
import { describe, expect, test } from 'vitest';
import type { FlowJson } from '../../src/control/api.ts';
import { LabGateway } from '../../src/lab/gateway.ts';
import { monotonicMicros } from '../../src/lab/link-handle.ts';
import { longestGapMillis } from '../../src/lab/recovery.ts';
import { residueOf, routerState } from '../../src/lab/residue.ts';
import { runStory, type StoryOptions } from '../../src/lab/scenario.ts';
import { Lab } from '../../src/lab/topology.ts';
import { type FlowOptions, Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { missedRecovery, print, printPlain, RTT_MILLIS, storiesPossible, tell } from './story-goals.ts';

/** Ten families of five: both directions, both address families, both openers, and a few that only wait. */
const FIFTY: readonly FlowOptions[] = Array.from({ length: 50 }, (_, index) => ({
  mode: index % 10 === 9 ? 'echo' : index % 2 === 0 ? 'upload' : 'download',
  family: index % 4 < 2 ? 4 : 6,
  opener: index % 3 === 0 ? 'server' : 'host',
}));

describe.skipIf(!storiesPossible)('more than one trouble', () => {
  test('50 flows both ways, carrier lost for 15 s', async () => {
    const name = '50 flows both ways, carrier lost for 15 s';
    const story: StoryOptions = { topology: 'router', flows: FIFTY, outages: [15], typeAfterMillis: 5000 };
    printPlain(name, await runStory(story));
    await tell({
      name,
      play: () => runStory({ ...story, gateway: true }),
      missed: (result) => missedRecovery(result, { firstByteRtts: 3, to85Rtts: 1000 / RTT_MILLIS }),
    });
  });

  test('three cuts in a row, each while the handback of the one before is running', async () => {
    const phases: FlowJson[][] = [];
    const name = 'upload, three cuts of 3 s, 60 ms apart';
    await tell({
      name,
      play: () => {
        phases.length = 0;
        return runStory({
          topology: 'router',
          flows: [{ mode: 'upload' }, { mode: 'upload', family: 6 }],
          outages: [3, 3, 3],
          betweenMillis: 60,
          gateway: true,
          capture: true,
          onStage: async (stage, { gateway }) => {
            if (stage === 'again') phases.push(await gateway!.client.flows(false));
          },
        });
      },
      missed: (result) => {
        // A machine that was late has let the handback end before the cut: then it was another story.
        const early = phases.filter((flows) => !flows.some(({ phase }) => phase === 'handback'));
        return [
          ...(early.length > 0 ? [`no handback was running at ${early.length} of the cuts`] : []),
          ...missedRecovery(result, { firstByteRtts: 3 }),
        ];
      },
    });
    print(
      `${name}: phases at the second and third cut: ${phases.map((at) => at.map(({ phase }) => phase).join(' ')).join(' | ')}`,
    );
    expect(phases).toHaveLength(2);
  });

  test('the gateway killed while traffic flows: the kernel carries on, the next gateway tidies up', async () => {
    const lab = await Lab.create({ topology: 'nat' });
    try {
      const untouched = await routerState(lab.gateway);
      const gateway = await LabGateway.start(lab);
      const traffic = await Traffic.start(lab);
      const flows = await Promise.all([
        traffic.open({ mode: 'upload' }),
        traffic.open({ mode: 'download' }),
        traffic.open({ mode: 'upload', family: 6 }),
        traffic.open({ mode: 'download', family: 6 }),
      ]);
      const received = async (): Promise<number> =>
        Math.min(...(await Promise.all(flows.map((flow) => flow.received()))));
      const reaches = (bytes: number) =>
        until(async () => (await received()) >= bytes, { what: `${bytes} bytes each`, timeoutMillis: 30_000 });
      await reaches(5e6);
      expect((await gateway.client.status()).flows.flowing).toBe(flows.length);
      const killedAt = monotonicMicros();
      expect(await gateway.stop('SIGKILL')).toBeNull();
      await reaches((await received()) + 10e6);
      const end = monotonicMicros();
      await Promise.all(flows.map((flow) => flow.stop()));
      const stalls: number[] = [];
      for (const flow of flows) {
        const report = await flow.finished();
        expect(report).toMatchObject({ hashEqual: true, sent: { error: null }, received: { error: null } });
        stalls.push(longestGapMillis(report.received.timeline!, killedAt, end));
      }
      print(`gateway killed: longest stalls ${stalls.map((millis) => `${millis.toFixed(0)} ms`).join(', ')}`);
      expect(Math.max(...stalls)).toBeLessThan(1000);

      expect(residueOf(untouched, await routerState(lab.gateway))).not.toEqual([]);
      const next = await LabGateway.start(lab);
      expect(await next.stop()).toBe(0);
      expect(residueOf(untouched, await routerState(lab.gateway))).toEqual([]);
    } finally {
      await lab.dispose();
    }
  });
});
