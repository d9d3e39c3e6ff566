/** A gateway that is told to end while it holds connections: with --drain it gives them back first, where the link allows. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { residueOf, routerState } from '../../src/lab/residue.ts';
import { Lab } from '../../src/lab/topology.ts';
import { type Flow, Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

describe.skipIf(!storiesPossible)('a planned stop', () => {
  let journal = '';
  let lab: Lab;
  let traffic: Traffic;
  let flow: Flow;
  let gateway: LabGateway | undefined;

  // What failed shall not stand in the way of the next.
  afterEach(async () => {
    if (gateway?.exitCode === undefined) await gateway?.stop('SIGKILL');
    if (lab.link.cutKind !== undefined) await lab.link.restore();
  });

  beforeAll(async () => {
    journal = mkdtempSync(join(tmpdir(), 'tcpfreeze-stop-'));
    lab = await Lab.create({ topology: 'router', link: { rateBps: 20e6, delayMillis: 10, queuePackets: 100 } });
    traffic = await Traffic.start(lab);
  }, 60_000);

  afterAll(async () => {
    await gateway?.stop('SIGKILL');
    await lab?.dispose();
    rmSync(journal, { recursive: true, force: true });
  });

  const start = (...args: string[]): Promise<LabGateway> =>
    LabGateway.start(lab, { args: ['--journal', journal, ...args] });

  async function progress(): Promise<void> {
    const before = await flow.received();
    const hasMoved = async (): Promise<boolean> => (await flow.received()) > before + 100_000;
    await until(hasMoved, { what: 'progress', timeoutMillis: 60_000 });
  }

  /** An upload that is held, with bytes in custody. */
  async function hold(...args: string[]): Promise<LabGateway> {
    gateway = await start(...args);
    flow = await traffic.open({ mode: 'upload' });
    await progress();
    await lab.link.cut('carrier');
    const { client } = gateway;
    const held = async (): Promise<boolean> => (await client.status()).custodyBytes > 0;
    await until(held, { what: 'custody', timeoutMillis: 30_000 });
    return gateway;
  }

  async function expectIntact(): Promise<void> {
    await progress();
    const { sent, received, hashEqual } = await flow.end();
    expect([sent.error, received.error, hashEqual]).toEqual([null, null, true]);
  }

  test('with --drain: it waits for the link, gives everything back, and is gone', { timeout: 120_000 }, async () => {
    const untouched = await routerState(lab.gateway);
    const draining = await hold('--drain', '60s');
    const ended = draining.end('SIGTERM');
    await until(() => draining.log.some((line) => line.includes('"msg":"stopping"')), {
      what: 'its end',
      timeoutMillis: 30_000,
    });
    await sleep(500);
    expect(draining.exitCode).toBeUndefined();
    expect((await draining.client.status()).custodyBytes).toBeGreaterThan(0);
    await lab.link.restore();
    expect(await ended).toBe(0);
    expect(draining.log.join('\n')).not.toContain('stopped with bytes in custody');
    expect(residueOf(untouched, await routerState(lab.gateway))).toEqual([]);
    await expectIntact();
  });

  test('with --drain, and the link stays lost: the time runs out, and the next one goes on', {
    timeout: 120_000,
  }, async () => {
    const draining = await hold('--drain', '500ms');
    expect(await draining.end('SIGTERM')).toBe(0);
    expect(draining.log.join('\n')).toContain(
      'stopped with bytes in custody: the journal keeps them for the next start',
    );
    gateway = await start();
    expect((await gateway.client.status()).custodyBytes).toBeGreaterThan(0);
    await lab.link.restore();
    await expectIntact();
    expect(await gateway.stop()).toBe(0);
  });

  test('a second signal ends the wait', { timeout: 120_000 }, async () => {
    const draining = await hold('--drain', '10m');
    const ended = draining.end('SIGTERM');
    await until(() => draining.log.some((line) => line.includes('"msg":"stopping"')), {
      what: 'its end',
      timeoutMillis: 30_000,
    });
    process.kill(draining.pid!, 'SIGTERM');
    expect(await ended).toBe(0);
    gateway = await start();
    await lab.link.restore();
    await expectIntact();
    expect(await gateway.stop()).toBe(0);
  });
});
