/** The Debian package on a machine with systemd: installed, started, watched, upgraded, removed, purged. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StatusJson } from '../../src/control/api.ts';
import { type RouterState, residueOf, routerState } from '../../src/lab/residue.ts';
import { Lab } from '../../src/lab/topology.ts';
import { type Flow, Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { Machine, whyNoMachine } from '../deb/machine.ts';
import { flowOn } from './reality.ts';

const run = promisify(execFile);
const BUILD = resolve(import.meta.dirname, '../../packaging/deb/build.mjs');
const UNIT = resolve(import.meta.dirname, '../../packaging/deb/tcpfreeze.service');
/** systemd-analyze security: 0 is a service without any rights, 10 one with all. */
const EXPOSURE_AT_MOST = 2.5;
const CONFIGURATION = '/etc/tcpfreeze/tcpfreeze.yaml';

const reason = whyNoMachine();
if (reason !== null) console.warn(`package tests skipped: ${reason}`);

async function build(version: string, out: string): Promise<string> {
  const { stdout } = await run(process.execPath, [BUILD, '--quick', '--version', version, '--out', out]);
  return stdout.trim();
}

describe.skipIf(reason !== null)('the Debian package', () => {
  let directory: string;
  let lab: Lab;
  let machine: Machine;
  let traffic: Traffic;
  let flows: Flow[] = [];
  let untouched: RouterState;
  const packages: string[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-packages-'));
    lab = await Lab.create({ topology: 'router', link: { rateBps: 20e6, delayMillis: 5, queuePackets: 100 } });
    [machine] = await Promise.all([
      Machine.boot(lab.gateway, directory),
      build('0.9.0', directory).then((file) => packages.push(file)),
    ]);
    packages.push(await build('0.9.1', directory));
    untouched = await routerState(lab.gateway);
  });

  afterAll(async () => {
    await machine?.dispose();
    await lab?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const install = (file: string): Promise<string> =>
    machine.run('dpkg', '--force-unsafe-io', '--no-triggers', '--install', join('/mnt', basename(file)));
  const property = async (name: string): Promise<string> =>
    (await machine.run('systemctl', 'show', '--value', '--property', name, 'tcpfreeze')).trim();
  const status = async (): Promise<StatusJson> =>
    JSON.parse(await machine.run('tcpfreeze', 'status', '--json')) as StatusJson;

  test('installed: everything in its place, nothing started', async () => {
    expect(await install(packages[0]!)).toMatch(/name the interfaces in \/etc\/tcpfreeze\/tcpfreeze\.yaml/);
    for (const path of [
      '/usr/share/man/man8/tcpfreeze.8.gz',
      '/usr/share/man/man5/tcpfreeze.yaml.5.gz',
      '/usr/share/bash-completion/completions/tcpfreeze',
      '/usr/share/tcpfreeze/tcpfreeze.schema.json',
      '/usr/share/tcpfreeze/wireshark/tcpfreeze.lua',
      '/usr/share/tcpfreeze/prometheus/alerts.yaml',
      '/usr/lib/systemd/system-sleep/tcpfreeze',
      '/etc/dhcp/dhclient-exit-hooks.d/tcpfreeze',
      '/etc/NetworkManager/dispatcher.d/90-tcpfreeze',
      CONFIGURATION,
    ]) {
      expect((await machine.try('test', '-s', path)).code, path).toBe(0);
    }
    expect(await machine.run('dpkg', '--verify', 'tcpfreeze')).toBe('');
    expect((await machine.run('tcpfreeze', '--version')).trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(await machine.run('getent', 'passwd', 'tcpfreeze')).toContain('/var/lib/tcpfreeze');
    expect((await machine.try('systemctl', 'is-enabled', 'tcpfreeze')).stdout.trim()).toBe('disabled');
    const completed = 'COMP_WORDS=(tcpfreeze fre); COMP_CWORD=1; _tcpfreeze; declare -p COMPREPLY';
    const source = '. /usr/share/bash-completion/completions/tcpfreeze';
    expect((await machine.run('bash', '-c', `${source}; ${completed}`)).trim()).toMatch(/\(\[0\]="freeze"\)/);
  });

  test('without interfaces the service does not start, and says why', async () => {
    expect((await machine.try('systemctl', 'start', 'tcpfreeze')).code).not.toBe(0);
    expect(await machine.run('journalctl', '-u', 'tcpfreeze', '--no-pager')).toMatch(/no lan interface is named/);
    await machine.try('systemctl', 'reset-failed', 'tcpfreeze');
    await machine.try('systemctl', 'stop', 'tcpfreeze');
  });

  test('started: ready when it says so, an ordinary user with two capabilities', async () => {
    await machine.write(CONFIGURATION, 'links:\n  lan0: {role: lan}\n  wan0: {role: wan}\n');
    const started = await machine.try('systemctl', 'enable', '--now', 'tcpfreeze');
    expect(started.code, await machine.run('journalctl', '-u', 'tcpfreeze', '-n', '20', '--no-pager')).toBe(0);
    expect(await property('ActiveState')).toBe('active');
    expect((await status()).links.map(({ state }) => state)).toEqual(['up', 'up']);
    const own = await machine.run('cat', `/proc/${await property('MainPID')}/status`);
    const user = (await machine.run('id', '-u', 'tcpfreeze')).trim();
    expect(own).toMatch(new RegExp(`^Uid:\\t${user}\\t${user}`, 'm'));
    // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13 (linux/capability.h).
    expect(own).toMatch(/^CapBnd:\t0000000000003000$/m);
    expect(own).toMatch(/^NoNewPrivs:\t1$/m);
    expect(own).toMatch(/^Seccomp:\t2$/m);
    traffic = await Traffic.start(lab);
    flows = await Promise.all([
      traffic.open({ mode: 'upload', family: 4 }),
      traffic.open({ mode: 'download', family: 6 }),
    ]);
    await flowOn(flows, 'through the service');
    expect((await status()).flows.flowing).toBe(2);
  });

  test('the socket is for root and the group', async () => {
    const as = (group: string): Promise<{ code: number; stderr: string }> =>
      machine.try('setpriv', '--reuid=nobody', `--regid=${group}`, '--clear-groups', 'tcpfreeze', 'status');
    expect((await as('tcpfreeze')).code).toBe(0);
    const stranger = await as('nogroup');
    expect([stranger.code, stranger.stderr]).toEqual([1, expect.stringMatching(/^tcpfreeze: .*\n$/)]);
  });

  test('a process that hangs is replaced by the watchdog, connections go on', async () => {
    await machine.run('mkdir', '-p', '/run/systemd/system/tcpfreeze.service.d');
    await machine.write('/run/systemd/system/tcpfreeze.service.d/quick.conf', '[Service]\nWatchdogSec=2\n');
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'restart', 'tcpfreeze');
    const first = await property('MainPID');
    await machine.run('kill', '-STOP', first);
    await until(async () => (await property('MainPID')) !== first && (await property('ActiveState')) === 'active', {
      what: 'another process',
      timeoutMillis: 20_000,
    });
    expect(Number(await property('NRestarts'))).toBeGreaterThanOrEqual(1);
    expect(await machine.run('journalctl', '-u', 'tcpfreeze', '--no-pager')).toMatch(/Watchdog timeout/);
    await flowOn(flows, 'after the watchdog');
  });

  test('upgraded during an outage: frozen connections stay frozen, and go on; the configuration stays', async () => {
    const before = await property('MainPID');
    await lab.link.cut('carrier');
    const frozen = async (): Promise<boolean> => (await status()).flows.frozen === flows.length;
    await until(frozen, { what: 'all frozen', timeoutMillis: 10_000 });
    const isHeld = async (): Promise<boolean> => (await status()).custodyBytes > 0;
    await until(isHeld, { what: 'bytes in custody', timeoutMillis: 5_000 });
    await install(packages[1]!);
    const isActive = async (): Promise<boolean> => (await property('ActiveState')) === 'active';
    await until(isActive, { what: 'active again', timeoutMillis: 20_000 });
    expect(await property('MainPID')).not.toBe(before);
    const after = await status();
    expect([after.flows.frozen, after.custodyBytes > 0]).toEqual([flows.length, true]);
    await lab.link.restore();
    expect(await machine.run('cat', CONFIGURATION)).toMatch(/wan0/);
    await flowOn(flows, 'after the upgrade');
  });

  test('removed: stopped, nothing of it in effect, configuration kept; purged: gone', async () => {
    await machine.run('dpkg', '--no-triggers', '--remove', 'tcpfreeze');
    await flowOn(flows, 'after the removal');
    expect(residueOf(untouched, await routerState(lab.gateway))).toEqual([]);
    expect((await machine.try('test', '-e', CONFIGURATION)).code).toBe(0);
    await machine.run('dpkg', '--no-triggers', '--purge', 'tcpfreeze');
    for (const path of ['/etc/tcpfreeze', '/var/lib/tcpfreeze', '/usr/lib/tcpfreeze', '/run/tcpfreeze']) {
      expect((await machine.try('test', '-e', path)).code, path).toBe(1);
    }
    await Promise.all(flows.map((flow) => flow.stop()));
    for (const flow of flows) {
      expect(await flow.finished()).toMatchObject({
        hashEqual: true,
        sent: { error: null },
        received: { error: null },
      });
    }
  });

  test('lintian finds no error', { skip: !existsSync('/usr/bin/lintian') }, async () => {
    const { stdout } = await run('lintian', ['--allow-root', '--fail-on', 'none', packages[1]!]);
    expect(stdout.split('\n').filter((line) => line.startsWith('E:'))).toEqual([]);
  });

  test.each(['tcpfreeze.8', 'tcpfreeze.yaml.5'])(
    'man has no complaint about %s',
    { skip: !existsSync('/usr/bin/man') },
    async (page) => {
      const file = join(dirname(BUILD), page);
      const { stdout, stderr } = await run('man', ['--warnings', '--encoding=UTF-8', '--local-file', file]);
      expect(stderr).toBe('');
      expect(stdout).toContain('DESCRIPTION');
    },
  );

  test('the unit gives away little', () => {
    const told = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', UNIT], {
      encoding: 'utf8',
    });
    const exposure = Number(/exposure level for [^:]*: ([\d.]+)/.exec(told)?.[1]);
    process.stdout.write(`  systemd-analyze security: ${exposure}\n`);
    expect(exposure).toBeLessThanOrEqual(EXPOSURE_AT_MOST);
  });
});
