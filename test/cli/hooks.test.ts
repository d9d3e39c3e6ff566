/** The shipped hooks, run by the system's shell with the variables that their callers set and a command that writes down its arguments. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LEASE_EVENTS } from '../../src/control/lease-api.ts';

const HOOKS = join(import.meta.dirname, '../../packaging/hooks');
const names = readdirSync(HOOKS).filter((name) => !name.endsWith('.md'));

let directory = '';
let command = '';
let log = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-hooks-'));
  command = join(directory, 'tcpfreeze');
  log = join(directory, 'log');
  // It fails, as it does where no gateway runs: no hook may fail with it.
  writeFileSync(command, `#!/bin/sh\necho "$@" >> ${log}\nexit 1\n`);
  chmodSync(command, 0o755);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a hook. @returns the arguments of each call it made */
function run(hook: string, args: readonly string[], env: Readonly<Record<string, string>>): string[] {
  writeFileSync(log, '');
  const path = join(HOOKS, hook);
  // dhclient-script sources its hooks; the others are programs.
  const argv = hook === 'dhclient' ? ['-c', `. ${path}; echo sourced`] : [path, ...args];
  const { status, stdout, stderr } = spawnSync('/bin/sh', argv, {
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', TCPFREEZE: command, TCPFREEZE_UDHCPC_SCRIPT: '/bin/true', ...env },
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  if (hook === 'dhclient') expect(stdout).toBe('sourced\n');
  return readFileSync(log, 'utf8').split('\n').slice(0, -1);
}

const WAN = { interface: 'wan0' };
const LEASE = { ...WAN, new_ip_address: '192.0.2.7', new_dhcp_lease_time: '60' };

describe('dhclient', () => {
  test.each<[string, Readonly<Record<string, string>>, string[]]>([
    ['BOUND', LEASE, ['dhcp-event bound --interface wan0 --address 192.0.2.7 --lease 60']],
    [
      'REBOOT',
      { ...LEASE, new_dhcp_renewal_time: '30', new_dhcp_rebinding_time: '50' },
      ['dhcp-event bound --interface wan0 --address 192.0.2.7 --lease 60 --renew 30 --rebind 50'],
    ],
    [
      'RENEW',
      { ...LEASE, old_ip_address: '192.0.2.7' },
      ['dhcp-event renewed --interface wan0 --address 192.0.2.7 --lease 60'],
    ],
    [
      'REBIND',
      { ...LEASE, old_ip_address: '192.0.2.8' },
      ['dhcp-event changed --interface wan0 --address 192.0.2.7 --lease 60'],
    ],
    ['EXPIRE', { ...WAN, old_ip_address: '192.0.2.7' }, ['dhcp-event expired --interface wan0 --address 192.0.2.7']],
    ['FAIL', WAN, ['dhcp-event expired --interface wan0']],
    ['RELEASE', { ...WAN, old_ip_address: '192.0.2.7' }, ['dhcp-event released --interface wan0 --address 192.0.2.7']],
    [
      'BOUND6',
      { ...WAN, new_ip6_address: '2001:db8::7', new_max_life: '90' },
      ['dhcp-event bound --interface wan0 --family 6 --address 2001:db8::7 --lease 90'],
    ],
    [
      'EXPIRE6',
      { ...WAN, old_ip6_address: '2001:db8::7' },
      ['dhcp-event expired --interface wan0 --family 6 --address 2001:db8::7'],
    ],
    [
      'BOUND6',
      { ...WAN, new_ip6_prefix: '2001:db8:7::/48', new_max_life: '90' },
      ['dhcp-event bound --interface wan0 --prefix 2001:db8:7::/48'],
    ],
    [
      'REBIND6',
      { ...WAN, new_ip6_prefix: '2001:db8:8::/48', old_ip6_prefix: '2001:db8:7::/48' },
      [
        'dhcp-event expired --interface wan0 --prefix 2001:db8:7::/48',
        'dhcp-event renewed --interface wan0 --prefix 2001:db8:8::/48',
      ],
    ],
    [
      'EXPIRE6',
      { ...WAN, old_ip6_prefix: '2001:db8:7::/48' },
      ['dhcp-event expired --interface wan0 --prefix 2001:db8:7::/48'],
    ],
    ['PREINIT', WAN, []],
    ['NBI', WAN, []],
  ])('%s', (reason, env, calls) => {
    // The order of options is the script's affair.
    const sorted = (line: string): string =>
      line
        .split(/ (?=--)/)
        .sort()
        .join(' ');
    expect(run('dhclient', [], { reason, ...env }).map(sorted)).toEqual(calls.map(sorted));
  });
});

describe('the others', () => {
  const host = '--host --interface lan0 --address 10.0.0.9 --hardware 02:00:00:00:81:07';
  const dnsmasq = ['02:00:00:00:81:07', '10.0.0.9', 'laptop'];
  const LAN = { DNSMASQ_INTERFACE: 'lan0' };
  test.each<[string, string[], Readonly<Record<string, string>>, string[]]>([
    [
      'udhcpc',
      ['bound'],
      { ...WAN, ip: '192.0.2.7', lease: '60' },
      ['dhcp-event bound --address 192.0.2.7 --lease 60 --interface wan0'],
    ],
    [
      'udhcpc',
      ['renew'],
      { ...WAN, ip: '192.0.2.7', lease: '60' },
      ['dhcp-event renewed --address 192.0.2.7 --lease 60 --interface wan0'],
    ],
    ['udhcpc', ['nak'], WAN, ['dhcp-event nak --interface wan0']],
    ['udhcpc', ['deconfig'], WAN, ['dhcp-event expired --interface wan0']],
    ['udhcpc', ['leasefail'], WAN, []],
    [
      'networkd-dispatcher',
      [],
      { IFACE: 'wan0', OperationalState: 'routable', IP_ADDRS: '192.0.2.7 192.0.2.8' },
      ['dhcp-event bound --address 192.0.2.7 --interface wan0'],
    ],
    ['networkd-dispatcher', [], { IFACE: 'wan0', STATE: 'degraded' }, ['dhcp-event expired --interface wan0']],
    ['networkd-dispatcher', [], { STATE: 'degraded' }, []],
    [
      'networkmanager',
      ['wan0', 'up'],
      { DHCP4_IP_ADDRESS: '192.0.2.7', DHCP4_DHCP_LEASE_TIME: '60' },
      ['dhcp-event bound --address 192.0.2.7 --lease 60 --interface wan0'],
    ],
    [
      'networkmanager',
      ['wan0', 'dhcp4-change'],
      { DHCP4_IP_ADDRESS: '192.0.2.7' },
      ['dhcp-event renewed --address 192.0.2.7 --interface wan0'],
    ],
    [
      'networkmanager',
      ['wan0', 'dhcp6-change'],
      { DHCP6_IP6_ADDRESS: '2001:db8::7' },
      ['dhcp-event renewed --family 6 --address 2001:db8::7 --interface wan0'],
    ],
    ['networkmanager', ['wan0', 'down'], {}, ['dhcp-event released --interface wan0']],
    ['networkmanager', ['', 'hostname'], {}, []],
    ['dnsmasq', ['add', ...dnsmasq], { ...LAN, DNSMASQ_TIME_REMAINING: '60' }, [`dhcp-event bound --lease 60 ${host}`]],
    ['dnsmasq', ['old', ...dnsmasq], LAN, [`dhcp-event renewed ${host}`]],
    ['dnsmasq', ['del', ...dnsmasq], { ...LAN, DNSMASQ_TIME_REMAINING: '7' }, [`dhcp-event released ${host}`]],
    ['dnsmasq', ['del', ...dnsmasq], LAN, [`dhcp-event expired ${host}`]],
    [
      'dnsmasq',
      ['add', '00:01:00:01:aa', '2001:db8::9'],
      LAN,
      ['dhcp-event bound --host --interface lan0 --address 2001:db8::9'],
    ],
    ['dnsmasq', ['arp-add'], LAN, []],
    [
      'systemd-sleep',
      ['pre', 'suspend'],
      { TCPFREEZE_SCOPE: '--host 192.0.2.7' },
      ['freeze --host 192.0.2.7 --lead 500ms'],
    ],
    ['systemd-sleep', ['pre', 'suspend'], {}, []],
  ])('%s %j %j', (hook, args, env, calls) => {
    const sorted = (line: string): string =>
      line
        .split(/ (?=--)/)
        .sort()
        .join(' ');
    expect(run(hook, args, env).map(sorted)).toEqual(calls.map(sorted));
  });

  test('what they report is what the command takes', () => {
    const said = names
      .filter((name) => name !== 'systemd-sleep')
      .flatMap((name) => [...readFileSync(join(HOOKS, name), 'utf8').matchAll(/(?:report|lease) ([a-z]+)/g)])
      .map((match) => match[1]!);
    const words = new Set(said.filter((word) => (LEASE_EVENTS as readonly string[]).includes(word)));
    expect([...words].sort()).toEqual(['bound', 'changed', 'expired', 'nak', 'released', 'renewed']);
  });

  test('without the command nothing happens', () => {
    for (const name of names) {
      expect(run(name, ['bound', 'up'], { TCPFREEZE: '/nonexistent/tcpfreeze', reason: 'BOUND', ...WAN })).toEqual([]);
    }
  });

  test('programs are executable, the sourced one is not', () => {
    for (const name of names) {
      expect((statSync(join(HOOKS, name)).mode & 0o111) !== 0, name).toBe(name !== 'dhclient');
    }
  });
});

const shellcheck = spawnSync('shellcheck', ['--version']).status === 0;
if (!shellcheck) console.warn('hooks are not checked by shellcheck: it is not installed (apt-get install shellcheck)');
test.skipIf(!shellcheck)('shellcheck has nothing to say', () => {
  execFileSync('shellcheck', ['-s', 'sh', ...names.map((name) => join(HOOKS, name))], { stdio: 'inherit' });
});
