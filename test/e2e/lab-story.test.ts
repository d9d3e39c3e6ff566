/** Stories without the gateway: what the peers do by themselves, which is what the gateway's stories are compared with. */
import { describe, expect, test } from 'vitest';
import { longestGapMillis } from '../../src/lab/recovery.ts';
import { runStory, type Stage } from '../../src/lab/scenario.ts';

const root = process.getuid?.() === 0;
if (!root) console.warn('lab stories skipped: they need root to make network namespaces');

describe.skipIf(!root)('stories without the gateway', () => {
  test('a silent outage of 4 s: both directions wait for their back-off, and nothing is lost', async () => {
    const stages: Stage[] = [];
    const phases = new Set<string>();
    const result = await runStory({
      topology: 'router',
      flows: [{ mode: 'upload' }, { mode: 'download', family: 6 }, { mode: 'echo' }],
      cut: 'swallow',
      outages: [4],
      typeAfterMillis: 500,
      capture: true,
      onStage: (stage) => void stages.push(stage),
      onProgress: ({ phase }) => void phases.add(phase),
    });
    expect(stages).toEqual(['warm', 'cut', 'restored', 'recovered']);
    expect([...phases]).toEqual(['warming up', 'link lost', 'recovering']);
    expect(result.resets).toEqual({ host: 0, gateway: 0, server: 0 });
    expect(result.findings).toEqual([]);
    expect(result.gatewayLog).toEqual([]);
    for (const flow of result.flows) {
      expect(flow).toMatchObject({ intact: true, sent: { error: null }, received: { error: null } });
      // The retransmission timer fired, more than once, and the window collapsed.
      expect(flow.frozen!.backoff).toBeGreaterThan(1);
      expect(flow.retransmissions).toBeGreaterThan(0);
    }
    for (const { recovery, before, frozen } of result.flows.slice(0, 2)) {
      expect(frozen!.cwnd).toBe(1);
      expect(before!.cwnd).toBeGreaterThan(100);
      expect(recovery!.rateBefore * 8).toBeGreaterThan(70e6);
      expect(recovery!.firstByteMillis).toBeGreaterThan(20);
      expect(recovery!.to85Millis).toBeGreaterThan(recovery!.firstByteMillis!);
      expect(recovery!.deadAirMillis).toBeGreaterThan(4000);
    }
    expect(result.flows[2]!.echoMillis).toBeGreaterThan(20);
    expect(longestGapMillis(result.timeline!, result.cutAt, result.restoredAt)).toBeGreaterThan(3500);
  });

  test('short outages in a row, behind a masquerading router that loses its interface', async () => {
    const result = await runStory({
      topology: 'nat',
      flows: [{ mode: 'upload' }],
      cut: 'admin',
      outages: [0.5, 0.5, 0.5],
      betweenMillis: 300,
      congestion: 'reno',
      warmMillis: 1000,
    });
    // A timer of Node.js may come a millisecond early.
    expect(result.restoredAt - result.cutAt).toBeGreaterThan(1.5e6 + 2 * 300e3 - 10e3);
    expect(result.flows[0]!.before!.congestion).toBe('reno');
    expect(result.flows[0]!.received!.bytes).toBeGreaterThan(5e6);
  });
});
