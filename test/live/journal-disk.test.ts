/** The disk under the journal: full, read-only, with rubbish on it. No byte is acknowledged that is not written, and connections come through. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { Lab } from '../../src/lab/topology.ts';
import { type Flow, TRAFFIC_PORT, Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

describe.skipIf(!storiesPossible)('the journal on a disk', () => {
  let folder = '';
  let lab: Lab;
  let traffic: Traffic;
  let gateway: LabGateway | undefined;

  // What failed shall not stand in the way of the next.
  afterEach(async () => {
    if (gateway?.exitCode === undefined) await gateway?.stop('SIGKILL');
    if (lab.link.cutKind !== undefined) await lab.link.restore();
  });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-disk-'));
    lab = await Lab.create({ topology: 'router', link: { rateBps: 20e6, delayMillis: 20, queuePackets: 200 } });
    traffic = await Traffic.start(lab);
  }, 60_000);

  afterAll(async () => {
    await gateway?.stop('SIGKILL');
    await lab?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A gateway that sees a tmpfs of its own at `folder`; `script` prepares it. */
  async function start(script: string): Promise<LabGateway> {
    const wrap = [
      'unshare',
      '--mount',
      '--propagation=private',
      'sh',
      '-c',
      `cd "$0" && ${script} && cd / && exec "$@"`,
      folder,
    ];
    gateway = await LabGateway.start(lab, { args: ['--journal', folder], wrap });
    return gateway;
  }

  const names = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const event of gateway!.client.events(false)) found.push(`${event.name} ${event.message}`);
    return found;
  };

  async function upload(): Promise<Flow> {
    const flow = await traffic.open({ mode: 'upload' });
    await moved(flow);
    return flow;
  }

  async function moved(flow: Flow): Promise<void> {
    const before = await flow.received();
    const isOn = async (): Promise<boolean> => (await flow.received()) > before + 300_000;
    await until(isOn, { what: 'progress', timeoutMillis: 60_000 });
  }

  async function intact(flow: Flow): Promise<void> {
    await moved(flow);
    const { sent, received, hashEqual } = await flow.end();
    expect([sent.error, received.error, hashEqual]).toEqual([null, null, true]);
  }

  /** Segments that the sender's kernel holds for lost or under way: what is acknowledged in another's name is neither. */
  async function unacknowledged(): Promise<number> {
    const text = await lab.host.exec('ss', ['-tinH', 'state', 'established', 'dport', '=', `:${TRAFFIC_PORT}`]);
    return Number(/unacked:(\d+)/.exec(text)?.[1] ?? 0);
  }

  /** Cut until `flow` is held. */
  async function cut(): Promise<void> {
    await lab.link.cut('carrier');
    const isHeld = async (): Promise<boolean> => (await gateway!.client.status()).flows.frozen > 0;
    await until(isHeld, { what: 'a frozen flow', timeoutMillis: 30_000 });
  }

  test('full: nothing is acknowledged in vain, until there is room again', { timeout: 120_000 }, async () => {
    // Three pages: the header of the file and that of the table fit, what is in flight does not.
    await start(`mount -t tmpfs -o size=12k,mode=700 none "$0" && cd "$0" && head -c 2000 /dev/urandom > custody`);
    expect(gateway!.log.join('\n')).toMatch(/the journal of an earlier run is not used in full: it is no journal/);
    const flow = await upload();
    await cut();
    const failed = async (): Promise<boolean> => (await names()).some((name) => name.startsWith('journal-failed'));
    await until(failed, { what: 'the event', timeoutMillis: 30_000 });
    expect((await names()).find((name) => name.startsWith('journal-failed'))).toMatch(/ENOSPC/);
    expect((await gateway!.client.status()).custodyBytes).toBe(0);
    expect(await unacknowledged()).toBeGreaterThan(10);
    await lab.link.restore();
    await moved(flow);

    const more = ['-t', `${gateway!.pid}`, '--mount', 'mount', '-o', 'remount,size=16m', folder];
    await lab.gateway.exec('nsenter', more);
    const mended = async (): Promise<boolean> => (await names()).some((name) => name.startsWith('journal-mended'));
    await until(mended, { what: 'the journal to work again', timeoutMillis: 30_000 });
    await cut();
    const taken = async (): Promise<boolean> => (await gateway!.client.status()).custodyBytes > 10_000;
    await until(taken, { what: 'custody', timeoutMillis: 30_000 });
    const isWritten = (): boolean => statSync(`/proc/${gateway!.pid}/root${folder}/custody`).size > 10_000;
    await until(isWritten, { what: 'custody on disk', timeoutMillis: 30_000 });
    expect((await names()).filter((name) => name.startsWith('journal-failed'))).toHaveLength(1);
    await lab.link.restore();
    await intact(flow);
    expect(await gateway!.stop()).toBe(0);
  });

  test('read-only from the start: connections are held without custody', { timeout: 120_000 }, async () => {
    await start(`mount -t tmpfs -o ro none "$0"`);
    expect(gateway!.log.join('\n')).toMatch(/nothing will be taken into custody: .*EROFS/);
    const flow = await upload();
    await cut();
    expect((await gateway!.client.status()).custodyBytes).toBe(0);
    expect(await unacknowledged()).toBeGreaterThan(10);
    expect(await names()).toContainEqual(expect.stringMatching(/^journal-failed .*EROFS/));
    await lab.link.restore();
    await intact(flow);
    expect(await gateway!.stop()).toBe(0);
  });
});
