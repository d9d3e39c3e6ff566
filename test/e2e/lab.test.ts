/** The lab itself on the real kernel: if the emulated link lies, every story told on it is worth nothing. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { compiledProgram } from '../../src/lab/child.ts';
import { STANDARD_LINK } from '../../src/lab/link-handle.ts';
import { labNamespaces, namespaceName, sweep } from '../../src/lab/namespace.ts';
import { judgeRecovery } from '../../src/lab/recovery.ts';
import { readSocket } from '../../src/lab/ss.ts';
import { bytesBetween } from '../../src/lab/timeline.ts';
import { ADDRESS, Lab, type LabOptions } from '../../src/lab/topology.ts';
import { Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';

const run = promisify(execFile);
const root = process.getuid?.() === 0;
if (!root) console.warn('lab tests skipped: they need root to make network namespaces');

const labs: Lab[] = [];

async function open(options: LabOptions): Promise<Lab> {
  const lab = await Lab.create(options);
  labs.push(lab);
  return lab;
}

/** Round-trip times of echo requests after a first one that resolves the link-layer addresses, milliseconds. */
async function ping(lab: Lab, address: string, count: number): Promise<number[]> {
  await lab.host.exec('ping', ['-c', '1', '-W', '5', address]);
  const output = await lab.host.exec('ping', ['-c', String(count), '-i', '0.05', address]);
  return [...output.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

describe.skipIf(!root)('lab', () => {
  afterEach(async () => {
    await Promise.all(labs.splice(0).map((lab) => lab.dispose()));
  });

  test('delay is right within 1 ms each way, IPv4 and IPv6, both places of the link', async () => {
    for (const topology of ['router', 'access'] as const) {
      const lab = await open({ topology });
      for (const family of [4, 6] as const) {
        const times = await ping(lab, ADDRESS.server[family], 20);
        expect(times).toHaveLength(20);
        expect(Math.min(...times)).toBeGreaterThanOrEqual(40);
        expect(median(times)).toBeLessThan(42);
      }
    }
  });

  test('rate and queue: a bulk transfer gets the rate, and its round trip grows by the full queue at most', async () => {
    const lab = await open({ topology: 'router' });
    const traffic = await Traffic.start(lab);
    const flow = await traffic.open({ mode: 'upload' });
    const roundTrips: number[] = [];
    await until(
      async () => {
        roundTrips.push((await readSocket(lab.host, 'local', flow.port))?.rttMillis ?? 0);
        return (await flow.received()) > 40e6;
      },
      { what: '40 MB uploaded', timeoutMillis: 30_000, everyMillis: 100 },
    );
    const report = await flow.end();
    expect(report).toMatchObject({ hashEqual: true, sent: { error: null }, received: { error: null } });
    // 400 frames of 1514 bytes take 48 ms at 100 Mb/s.
    expect(median(roundTrips)).toBeGreaterThan(50);
    expect(median(roundTrips)).toBeLessThan(40 + 48 + 5);
    const { awayFromGateway } = await lab.link.statistics();
    expect(awayFromGateway).toMatchObject({ queuePeak: 400, oversize: 0, lossDrops: 0, cutDrops: 0 });
    expect(awayFromGateway.queueDrops).toBeGreaterThan(0);
    const { timeline } = report.received;
    const recovery = judgeRecovery(timeline!, {
      cutAt: report.received.at,
      restoredAt: report.received.at,
      rttMillis: 40,
    });
    // The rate counts whole frames, so 1448 of 1514 bytes are payload; 3 % for the noise of a shared machine.
    const best = ((STANDARD_LINK.rateBps / 8) * 1448) / 1514;
    expect(recovery.rateBefore / best).toBeGreaterThan(0.95);
    expect(recovery.rateBefore / best).toBeLessThan(1.03);
  });

  test('200 Mb/s at full-size frames', async () => {
    const link = { rateBps: 200e6, delayMillis: 5, queuePackets: 400 };
    const lab = await open({ topology: 'router', link });
    const traffic = await Traffic.start(lab);
    const flow = await traffic.open({ mode: 'download', bytes: 80e6 });
    const report = await flow.finished();
    expect(report.hashEqual).toBe(true);
    // The best second: TCP's own start and its losses at the end of the queue are not the link's.
    const { origin } = report.received.timeline!;
    let best = 0;
    for (let from = origin; from + 1e6 <= report.received.at; from += 100_000) {
      best = Math.max(best, bytesBetween(report.received.timeline!, from, from + 1e6));
    }
    expect((best * 8) / ((link.rateBps * 1448) / 1514)).toBeGreaterThan(0.95);
  });

  test('loss is near the probability asked for, in each direction', async () => {
    const lab = await open({ topology: 'router', link: { ...STANDARD_LINK, delayMillis: 1, loss: 0.2 } });
    await lab.host.exec('ping', ['-q', '-f', '-c', '800', '-W', '1', ADDRESS.server[4]]).catch(() => '');
    const { awayFromGateway: away, towardsGateway: back } = await lab.link.statistics();
    for (const { packets, lossDrops } of [away, back]) {
      expect(packets + lossDrops).toBeGreaterThan(500);
      expect(lossDrops / (packets + lossDrops)).toBeGreaterThan(0.15);
      expect(lossDrops / (packets + lossDrops)).toBeLessThan(0.25);
    }
  });

  test('the kinds of cut differ in what the gateway can see', async () => {
    for (const topology of ['router', 'access'] as const) {
      const lab = await open({ topology });
      const state = async (): Promise<string> => {
        const flags = /<(.*)>/
          .exec(await lab.gateway.ip('-br', 'link', 'show', 'dev', lab.lostInterface))![1]!
          .split(',');
        if (!flags.includes('UP')) return 'down';
        return flags.includes('LOWER_UP') ? 'up' : 'no carrier';
      };
      const becomes = (wanted: string) =>
        until(async () => (await state()) === wanted, { what: `${lab.lostInterface} ${wanted}`, timeoutMillis: 5000 });
      const passes = async (): Promise<boolean> =>
        lab.host.exec('ping', ['-c', '1', '-W', '1', ADDRESS.server[4]]).then(
          () => true,
          () => false,
        );
      for (const [kind, seen] of [
        ['carrier', 'no carrier'],
        ['swallow', 'up'],
        ['admin', 'down'],
      ] as const) {
        // "Up" is not "passing packets": the kernel may take another second after a short cut.
        await until(passes, { what: `packets passing before ${kind}`, timeoutMillis: 5000 });
        await lab.link.cut(kind);
        expect(lab.link.cutKind).toBe(kind);
        await becomes(seen);
        expect(await passes()).toBe(false);
        const { openedAt, operationalAt } = await lab.link.restore();
        expect(operationalAt).toBeGreaterThanOrEqual(openedAt);
        expect(await state()).toBe('up');
      }
      await until(passes, { what: 'packets passing at the end', timeoutMillis: 5000 });
      const six = await lab.host.exec('ping', ['-c', '1', '-W', '3', ADDRESS.server[6]]);
      expect(six).toContain(' 0% packet loss');
    }
  });

  test('upload and download live through a cut of 3 s without the gateway', async () => {
    const lab = await open({ topology: 'nat' });
    const traffic = await Traffic.start(lab);
    const flows = [await traffic.open({ mode: 'upload', family: 6 }), await traffic.open({ mode: 'download' })];
    const received = async (): Promise<number> =>
      Math.min(...(await Promise.all(flows.map((flow) => flow.received()))));
    await until(async () => (await received()) > 5e6, { what: 'both running', timeoutMillis: 30_000 });
    const cutAt = await lab.link.cut('swallow');
    const before = await received();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    // What had reached the receiving kernels by the cut may still be on its way to the applications.
    expect(await received()).toBeLessThan(before + 2e6);
    const { openedAt } = await lab.link.restore();
    await until(async () => (await received()) > before + 10e6, { what: 'both resumed', timeoutMillis: 60_000 });
    await Promise.all(flows.map((flow) => flow.stop()));
    for (const flow of flows) {
      const report = await flow.finished();
      expect(report).toMatchObject({ hashEqual: true, sent: { error: null }, received: { error: null } });
      const verdict = judgeRecovery(report.received.timeline!, { cutAt, restoredAt: openedAt, rttMillis: 40 });
      // Half a round trip is the least that physics allows.
      expect(verdict.firstByteMillis).toBeGreaterThanOrEqual(20);
      expect(verdict.deadAirMillis).toBeGreaterThan(3000);
    }
  });

  test('a connection that is told to end as soon as it is open does end', async () => {
    const lab = await open({ topology: 'router' });
    const traffic = await Traffic.start(lab);
    // A responder that sends hears of the connection half a round trip after its opener.
    for (const mode of ['download', 'upload', 'echo'] as const) {
      const flow = await traffic.open({ mode });
      const { sent, received } = await flow.end();
      expect([sent.error, received.error]).toEqual([null, null]);
    }
  });

  test('a typed line is echoed after one round trip; idle connections survive and close cleanly', async () => {
    const lab = await open({ topology: 'router' });
    const traffic = await Traffic.start(lab);
    const flows = await Promise.all(
      Array.from({ length: 50 }, (_, i) => traffic.open({ mode: 'echo', family: i % 2 ? 4 : 6 })),
    );
    for (const flow of flows.slice(0, 2)) {
      const { roundTripMicros } = await flow.line('date');
      expect(roundTripMicros).toBeGreaterThan(40_000);
      expect(roundTripMicros).toBeLessThan(80_000);
    }
    await Promise.all(flows.map((flow) => flow.stop()));
    for (const flow of flows) {
      const { sent, received } = await flow.finished();
      expect([sent.error, received.error]).toEqual([null, null]);
    }
  });

  test('an end that is cut off for good reports its error', async () => {
    const lab = await open({ topology: 'router', sysctl: { host: { 'net.ipv4.tcp_retries2': 3 } } });
    const traffic = await Traffic.start(lab);
    const flow = await traffic.open({ mode: 'upload' });
    await until(async () => (await flow.received()) > 1e6, { what: 'running', timeoutMillis: 10_000 });
    await lab.link.cut('swallow');
    const ended = await until(() => flow.ends.sent, { what: 'the sender giving up', timeoutMillis: 30_000 });
    expect(ended).toMatchObject({ part: 'sender', error: 'ETIMEDOUT' });
  });

  test('nothing is left after dispose', async () => {
    const lab = await open({ topology: 'nat' });
    await Traffic.start(lab);
    const names = [lab.host.name, lab.gateway.name, lab.server.name];
    expect(await labNamespaces()).toEqual(expect.arrayContaining(names));
    await labs.splice(0)[0]!.dispose();
    const mine = namespaceName(0, 'x').split('-')[0]!;
    expect((await labNamespaces()).filter((name) => name.startsWith(`${mine}-`))).toEqual([]);
    expect(await processesIn(names)).toEqual([]);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'nothing is left of a run that %s ends (sweep included)',
    async (signal) => {
      const program = `
      const { Lab } = await import(${JSON.stringify(compiledProgram('lab/topology.js'))});
      const { Traffic } = await import(${JSON.stringify(compiledProgram('lab/traffic-handle.js'))});
      const lab = await Lab.create({ topology: 'router' });
      await Traffic.start(lab);
      console.log('up');
      setInterval(() => {}, 1000);`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const prefix = `tfz${child.pid}-`;
      const mine = async (): Promise<string[]> => (await labNamespaces()).filter((name) => name.startsWith(prefix));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const names = await mine();
      expect(names).toHaveLength(4);
      const gone = new Promise((resolve) => child.once('exit', (_, by) => resolve(by)));
      child.kill(signal);
      expect(await gone).toBe(signal);
      if (signal === 'SIGKILL') {
        expect(await mine()).toEqual(names);
        expect(existsSync(`/proc/${child.pid}`)).toBe(false);
        expect(await sweep()).toEqual(expect.arrayContaining(names));
      }
      expect(await mine()).toEqual([]);
      await until(async () => (await processesIn(names)).length === 0, { what: 'children gone', timeoutMillis: 5000 });
    },
  );
});

/** Processes that name one of the namespaces or were started through one: agents and links are children with our paths. */
async function processesIn(names: readonly string[]): Promise<string[]> {
  const { stdout } = await run('ps', ['-eo', 'pid,args']);
  return stdout.split('\n').filter((line) => names.some((name) => line.includes(name)));
}
