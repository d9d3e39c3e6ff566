/**
 * Whatever happens to the gateway, traffic goes on through the kernel within 2 s, the next one has the bytes in custody, and nothing of it
 * stays behind: endless loops, a system call that does not return and exhausted memory, in the datapath's thread and in the main one.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lineSplitter } from '../../src/lab/child.ts';
import { LabGateway } from '../../src/lab/gateway.ts';
import { residueOf, routerState } from '../../src/lab/residue.ts';
import { ADDRESS, Lab } from '../../src/lab/topology.ts';
import { Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { print, storiesPossible } from '../e2e/story-goals.ts';
import { childOf, stallSeconds } from './supervised.ts';

/** Faults by thread; signals have a test of their own in any case (supervisor.test.ts). */
const FAULTS = ['datapath loop', 'datapath read', 'datapath memory', 'main loop', 'main memory'];
if (process.env.TCPFREEZE_FAULTS === 'all') FAULTS.push('main read', 'main SIGSTOP', 'main SIGKILL');

const PORT = 7300;
const LISTEN = `import socket
s=socket.create_server(("${ADDRESS.server[4]}",${PORT}),backlog=100); print("up",flush=True)
while True: s.accept()[0].close()`;
/** A connection every 50 ms; prints when each came about. */
const KNOCK = `import socket,sys,threading,time
def knock():
  s=socket.socket(); s.settimeout(20)
  try:
    s.connect(("${ADDRESS.server[4]}",${PORT})); sys.stdout.write("%.3f\\n" % time.monotonic()); sys.stdout.flush()
  except OSError: pass
  s.close()
while True: threading.Thread(target=knock,daemon=True).start(); time.sleep(0.05)`;

describe.skipIf(!storiesPossible)('fail-open', () => {
  let folder = '';
  let lab: Lab;
  let traffic: Traffic;
  let gateway: LabGateway | undefined;
  const answered: number[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-faults-'));
    execFileSync('mkfifo', [join(folder, 'fifo')]);
    lab = await Lab.create({ topology: 'router', link: { rateBps: 20e6, delayMillis: 5, queuePackets: 100 } });
    traffic = await Traffic.start(lab);
    const listener = lab.server.spawn('python3', ['-c', LISTEN], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => listener.stdout!.once('data', resolve));
    const knocker = lab.host.spawn('python3', ['-c', KNOCK], { stdio: ['ignore', 'pipe', 'inherit'] });
    knocker.stdout!.setEncoding('utf8').on(
      'data',
      lineSplitter((line) => answered.push(Number(line))),
    );
  }, 60_000);

  afterAll(async () => {
    await gateway?.stop('SIGKILL');
    await lab?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const starts = (): number => gateway!.log.filter((line) => line.includes('"msg":"ready"')).length;
  const custody = async (): Promise<number> => (await gateway!.client.status()).custodyBytes;

  /** Brings the fault about; settles when the gateway is ready again. */
  async function fail(thread: string, fault: string): Promise<void> {
    const before = starts();
    if (fault.startsWith('SIG')) process.kill(childOf(gateway!.pid!)!, fault as NodeJS.Signals);
    else writeFileSync(join(folder, thread), fault, 'latin1');
    if (thread === 'datapath') void gateway!.client.status().catch(() => {});
    await until(() => starts() > before, { what: `another start after ${thread} ${fault}`, timeoutMillis: 60_000 });
  }

  test.each(FAULTS)('%s', { timeout: 180_000 }, async (what) => {
    const [thread, fault] = what.split(' ') as [string, string];
    const untouched = await routerState(lab.gateway);
    const preload = `--import=${join(import.meta.dirname, 'faults.mjs')} --max-old-space-size=64`;
    gateway = await LabGateway.start(lab, {
      supervised: true,
      env: { NODE_OPTIONS: preload, TCPFREEZE_TEST_FAULTS: folder },
    });
    const flows = await Promise.all([traffic.open({ mode: 'upload' }), traffic.open({ mode: 'download', family: 6 })]);
    const progress = async (): Promise<void> => {
      const before = await Promise.all(flows.map((flow) => flow.received()));
      for (const [index, flow] of flows.entries()) {
        const hasMoved = async (): Promise<boolean> => (await flow.received()) > before[index]! + 20_000;
        await until(hasMoved, { what: `progress of ${flow.options.mode}`, timeoutMillis: 60_000 });
      }
    };
    await progress();

    // While connections flow: how long nothing passes.
    const from = answered.length;
    await fail(thread, fault);
    await progress();
    const times = answered.slice(Math.max(0, from - 1)).sort((a, b) => a - b);
    const stall = Math.max(...times.slice(1).map((at, index) => at - times[index]!));

    // While they are held: what was acknowledged in another's name is there again.
    await lab.link.cut('carrier');
    await until(async () => (await custody().catch(() => 0)) > 0, { what: 'custody', timeoutMillis: 30_000 });
    const held = await custody();
    await fail(thread, fault);
    const recalled = await custody();
    await lab.link.restore();
    await progress();
    const reports = await Promise.all(
      flows.map(async (flow) => {
        return flow.end();
      }),
    );
    expect(await gateway.stop()).toBe(0);
    gateway = undefined;
    expect(residueOf(untouched, await routerState(lab.gateway))).toEqual([]);
    for (const { sent, received, hashEqual } of reports)
      expect([sent.error, received.error, hashEqual]).toEqual([null, null, true]);
    print(`${what}: nothing passed for ${stall.toFixed(2)} s; ${held} bytes in custody before, ${recalled} after`);
    expect(recalled).toBeGreaterThan(0);
    expect(stall).toBeLessThan(stallSeconds());
  });
});
