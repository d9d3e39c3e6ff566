/** A gateway that is started anew while connections flow knows their window scales again: they were written down when they were opened. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { Lab } from '../../src/lab/topology.ts';
import { Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

describe.skipIf(!storiesPossible)('a restart in steady state', () => {
  let journal = '';
  let lab: Lab;
  let traffic: Traffic;

  beforeAll(async () => {
    journal = mkdtempSync(join(tmpdir(), 'tcpfreeze-steady-'));
    lab = await Lab.create({ topology: 'router', link: { rateBps: 20e6, delayMillis: 10, queuePackets: 100 } });
    traffic = await Traffic.start(lab);
  }, 60_000);

  afterAll(async () => {
    await lab?.dispose();
    rmSync(journal, { recursive: true, force: true });
  });

  /** Size of the table of handshakes. */
  const size = (): number => statSync(join(journal, 'handshakes'), { throwIfNoEntry: false })?.size ?? 0;

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'by %s: windows are known as before',
    { timeout: 120_000 },
    async (signal) => {
      const start = (): Promise<LabGateway> => LabGateway.start(lab, { args: ['--journal', journal] });
      let gateway = await start();
      const before = size();
      const flows = await Promise.all([
        traffic.open({ mode: 'upload' }),
        traffic.open({ mode: 'upload', family: 6, opener: 'server' }),
      ]);
      const progress = async (): Promise<void> => {
        const seen = await Promise.all(flows.map((flow) => flow.received()));
        for (const [index, flow] of flows.entries()) {
          const hasMoved = async (): Promise<boolean> => (await flow.received()) > seen[index]! + 100_000;
          await until(hasMoved, { what: 'progress', timeoutMillis: 60_000 });
        }
      };
      await progress();
      await until(() => size() > before, { what: 'the table of handshakes on disk', timeoutMillis: 30_000 });
      await gateway.stop(signal);
      await progress();
      gateway = await start();
      await progress();
      const known = (await gateway.client.flows(false)).filter(({ phase }) => phase === 'flowing');
      expect(known.length).toBeGreaterThanOrEqual(2);
      // Every window scale is known again, and the originator is who had opened the connection.
      expect(known.map(({ windowScales }) => windowScales.every((shift) => shift !== null))).not.toContain(false);
      for (const { originator, responder } of known) expect(responder, originator).toMatch(/:5800$/);

      await lab.link.cut('carrier');
      const held = async (): Promise<boolean> => (await gateway.client.status()).custodyBytes > 0;
      await until(held, { what: 'custody', timeoutMillis: 30_000 });
      await sleep(300);
      await lab.link.restore();
      await progress();
      const reports = await Promise.all(
        flows.map(async (flow) => {
          return flow.end();
        }),
      );
      for (const { sent, received, hashEqual } of reports)
        expect([sent.error, received.error, hashEqual]).toEqual([null, null, true]);
      expect(await gateway.stop()).toBe(0);
      expect(statSync(join(journal, 'handshakes')).mode & 0o777).toBe(0o600);
      expect(readFileSync(join(journal, 'handshakes')).length).toBeLessThan(64 * 1024);
    },
  );
});
