/**
 * The command line on a real machine: what a person meets who starts it wrongly, or on a machine that lacks something.
 * Every refusal is one line that names the remedy, exit code 1, and leaves nothing changed. Runs against dist/.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { type Outcome, Router, SERVER } from '../steering/router.ts';

const able = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!able) console.warn('command line tests skipped: they need root and /dev/net/tun');

const PEER = resolve(import.meta.dirname, '../steering/peer.mjs');

let router: Router;
let directory: string;
let control: string;
let before: string;

const RUN = ['run', '--lan', 'lan0', '--wan', 'wan0'];

/** One line on standard error, exit code 1, nothing changed. */
async function expectRefusal({ code, stderr }: Outcome, words: RegExp): Promise<void> {
  expect(stderr).toMatch(words);
  expect(stderr).toMatch(/^tcpfreeze: [^\n]+\n$/);
  expect(code).toBe(1);
  expect(await router.dump()).toBe(before);
  expect(existsSync(control)).toBe(false);
}

/** A folder to stand for PATH, with some programs only. */
async function folderWith(...programs: ('ip' | 'nft')[]): Promise<string> {
  const folder = join(directory, `path-${programs.join('-')}`);
  mkdirSync(folder);
  for (const program of programs) symlinkSync(await place(program), join(folder, program));
  return folder;
}

async function place(program: string): Promise<string> {
  return (await router.gateway.exec('which', [program])).trim();
}

/** Stands before a program in PATH, counts the calls that change something, and fails at one of them. */
async function failing(program: 'ip' | 'nft', at: number): Promise<string> {
  const folder = join(directory, `fail-${program}-${at}`);
  mkdirSync(folder);
  const changes = program === 'ip' ? '*" add "*|*" set "*' : '*" -f "*|*" -i "*';
  const script = [
    '#!/bin/sh',
    `case " $* " in ${changes})`,
    `  echo x >> ${folder}/calls`,
    `  if [ "$(wc -l < ${folder}/calls)" ${program === 'ip' ? '-eq' : '-ge'} ${at} ]; then`,
    "    echo 'RTNETLINK answers: No buffer space available' >&2; exit 2; fi;;",
    'esac',
    `exec ${await place(program)} "$@"`,
  ];
  writeFileSync(join(folder, program), `${script.join('\n')}\n`, { mode: 0o755 });
  return `${folder}:${process.env.PATH}`;
}

describe.skipIf(!able)('tcpfreeze run', () => {
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-cli-'));
    control = join(directory, 'control.sock');
    router = await Router.create();
    before = await router.dump();
  });

  afterEach(async () => {
    await router.dispose();
    rmSync(directory, { recursive: true });
  });

  const run = (...args: string[]): string[] => [...RUN, '--control', control, ...args];

  test('a name that no interface can have', async () => {
    const outcome = await router.cli(['run', '--lan', 'lan0', '--wan', 'wan0/7', '--control', control]);
    await expectRefusal(outcome, /no interface can be named wan0\/7; names have 1 to 15 characters/);
  });

  test('the loopback interface', async () => {
    const outcome = await router.cli(['run', '--lan', 'lo', '--wan', 'wan0', '--control', control]);
    await expectRefusal(outcome, /lo is the loopback interface/);
  });

  test('no privileges', async () => {
    const wrap = ['setpriv', '--bounding-set=-net_admin,-net_raw', '--inh-caps=-all'];
    await expectRefusal(await router.cli(run(), wrap), /needs CAP_NET_ADMIN and CAP_NET_RAW; run it as root/);
  });

  test('no /dev/net/tun', async () => {
    const wrap = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
    await expectRefusal(await router.cli(run(), wrap), /there is no \/dev\/net\/tun; load the driver: modprobe tun/);
  });

  test('the name of the TUN is in use', async () => {
    await router.gateway.ip('link', 'add', 'tcpfreeze0', 'type', 'veth', 'peer', 'name', 'other');
    before = await router.dump();
    await expectRefusal(await router.cli(run()), /interface tcpfreeze0 exists already; /);
  });

  test('no ip', async () => {
    await expectRefusal(
      await router.cli(run(), [], await folderWith('nft')),
      /program ip is not .*; install it: apt-get install iproute2/,
    );
  });

  test('no nft', async () => {
    await expectRefusal(
      await router.cli(run(), [], await folderWith('ip')),
      /program nft is not .*iptables cannot tell .*; install it: apt-get install nftables/,
    );
  });

  test('no nft, and none wanted', async () => {
    const file = join(directory, 'f.yaml');
    writeFileSync(file, 'steering: {connectionTracking: off}\n');
    const gateway = await router
      .run(['--control', control, '--config', file], { PATH: await folderWith('ip') })
      .catch((error: unknown) => String(error));
    // PATH hides the program that enters the namespace, too, where it is not the one linked here.
    if (typeof gateway === 'string') throw new Error(gateway);
    expect(gateway.output).toContain('"nftables":"off"');
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('an ip that fails half-way, at every step', async () => {
    let reached = 0;
    for (let at = 1; ; at += 1) {
      // A busy machine takes its time to get to a step that fails; the last one is never reached.
      const patience = at <= 7 ? '50' : '5';
      const outcome = await router.cli(run(), ['timeout', '-s', 'TERM', patience], await failing('ip', at));
      // Not reached any more: everything was set up, and the time ran out.
      if (outcome.code === 124 || outcome.code === 0) break;
      await expectRefusal(
        outcome,
        /ip .* failed: RTNETLINK answers: No buffer space available; see .*tcpfreeze doctor/,
      );
      reached = at;
    }
    // The TUN, a route and two rules in each family.
    expect(reached).toBe(7);
    expect(await router.dump()).toBe(before);
  });

  test('an nft that fails', async () => {
    await expectRefusal(
      await router.cli(run(), [], await failing('nft', 1)),
      /nft -f - failed: RTNETLINK answers: No buffer/,
    );
  });

  test('a table that others use', async () => {
    await router.gateway.ip('rule', 'add', 'from', '192.0.2.1', 'lookup', '77', 'priority', '900');
    before = await router.dump();
    const file = join(directory, 'f.yaml');
    writeFileSync(file, 'steering:\n  table: 77\n');
    await expectRefusal(await router.cli(run('--config', file)), /route table 77 is used by others; choose another/);
  });

  test('a second instance: on the same socket, and on another', async () => {
    const gateway = await router.run(['--control', control]);
    const running = await router.dump();
    const same = await router.cli(run());
    expect([same.code, same.stderr]).toEqual([
      1,
      expect.stringMatching(/^tcpfreeze: another tcpfreeze is already running with the control socket .*; stop it/),
    ]);
    const kept = await router.cli([...RUN, '--control', `${control}2`]);
    expect([kept.code, kept.stderr]).toEqual([
      1,
      expect.stringMatching(/^tcpfreeze: another gateway keeps its journal in /),
    ]);
    const another = ['--control', `${control}2`, '--journal', join(directory, 'journal2')];
    const other = await router.cli([...RUN, ...another]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(/^tcpfreeze: .*tcpfreeze0 exists already; /)]);
    const file = join(directory, 'f.yaml');
    writeFileSync(file, 'steering: {tun: second0}\n');
    const elsewhere = await router.cli([...RUN, ...another, '--config', file]);
    expect([elsewhere.code, elsewhere.stderr]).toEqual([
      1,
      expect.stringMatching(/another tcpfreeze steers .* through tcpfreeze0; stop it/),
    ]);
    expect(await router.dump()).toBe(running);
    expect((await router.cli(['status', '--control', control])).code).toBe(0);
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('a configuration with mistakes: every one with its line', async () => {
    const file = join(directory, 'f.yaml');
    writeFileSync(file, 'log:\n  level: loud\nlinkz: {}\n');
    const { code, stderr } = await router.cli(run('--config', file));
    expect(stderr).toBe(
      `tcpfreeze: ${file}:2:3: log.level must be one of trace, debug, info, warn, error, fatal, silent\n` +
        `${file}:3:1: linkz is not a key here; did you mean links?\n`,
    );
    expect(code).toBe(1);
    expect(await router.dump()).toBe(before);
    const checked = await router.cli(['doctor', '--config', file]);
    expect(checked.code).toBe(1);
    expect(checked.stdout).toContain(`${file}:3:1: linkz`);
  });

  test('--print-config prints what is in effect, with origins, and starts nothing', async () => {
    const file = join(directory, 'f.yaml');
    writeFileSync(file, 'log: {level: warn}\n');
    const { code, stdout, stderr } = await router.cli(run('--config', file, '--print-config'));
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^ {4}role: wan # flag --wan$/m);
    expect(stdout).toMatch(/^ {2}level: warn # file$/m);
    expect(stdout).toMatch(/^ {2}tun: tcpfreeze0 # default$/m);
    expect(await router.dump()).toBe(before);
  });

  test('interfaces from the configuration', async () => {
    const file = join(directory, 'f.yaml');
    writeFileSync(
      file,
      'links: {lan0: {role: lan}, wan0: {role: wan}}\nsteering: {tun: mine0, table: 99, priority: 9}\n',
    );
    const gateway = router.start(router.gateway, process.execPath, [
      resolve('dist/cli.js'),
      'run',
      '--config',
      file,
      '--control',
      control,
    ]);
    const ready = await gateway.said(/\{[^\n]*"msg":"ready"\}/);
    expect(JSON.parse(ready)).toMatchObject({ tun: 'mine0', table: 99, priority: 9 });
    expect(await router.gateway.ip('rule')).toContain('9:\tfrom all iif wan0 ipproto tcp lookup 99');
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('--no-steering changes nothing but the TUN', async () => {
    const gateway = await router.run(['--control', control, '--no-steering']);
    const lines = (await router.dump()).split('\n').filter((line) => !/tcpfreeze0/.test(line));
    const known = new Set(before.split('\n'));
    expect(lines.filter((line) => !known.has(line))).toEqual([]);
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test.each([0, 150, 250, 300, 350, 400])('a signal %i ms after the start: exit 0, nothing left', async (millis) => {
    const gateway = router.start(router.gateway, process.execPath, [resolve('dist/cli.js'), ...run()]);
    await new Promise((done) => setTimeout(done, millis));
    gateway.signal('SIGTERM');
    // Before the program has begun, the signal ends it as it would any other.
    expect([0, null]).toContain(await gateway.exited);
    expect(await router.dump()).toBe(before);
    expect(existsSync(control)).toBe(false);
  });

  test('freeze, flows, events, resume, abort by command', async () => {
    await router.run(['--control', control]);
    const far = router.start(router.server, process.execPath, [PEER, 'listen', SERVER, '7001']);
    await far.said(/listening/);
    const near = router.start(router.host, process.execPath, [PEER, 'connect', SERVER, '7001']);
    await near.said(/connected/);
    near.send('one');
    await far.said(/got one/);
    const cli = (...args: string[]): Promise<Outcome> => router.cli([...args, '--control', control]);
    expect((await cli('freeze', '--link', 'wan0')).code).toBe(0);
    const frozen = JSON.parse((await cli('flows', '--json', '--frozen')).stdout) as {
      id: string;
      phase: string;
      near: string;
    }[];
    expect(frozen).toMatchObject([{ phase: 'frozen', near: 'originator' }]);
    const status = JSON.parse((await cli('status', '--json')).stdout) as { flows: { frozen: number }; links: object[] };
    expect(status.flows.frozen).toBe(1);
    expect(status.links).toContainEqual(expect.objectContaining({ name: 'wan0', role: 'wan', state: 'lost' }));
    near.send('two');
    expect((await cli('resume', '--link', 'wan0')).code).toBe(0);
    await far.said(/got two/);
    const events = (await cli('events', '--json')).stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; time: string });
    expect(events.map((event) => event.name)).toEqual(expect.arrayContaining(['link-lost', 'link-restored']));
    for (const { time } of events) expect(new Date(time).toISOString()).toBe(time);
    expect((await cli('abort', '--flow', frozen[0]!.id)).code).toBe(0);
    await near.said(/error ECONNRESET/);
    await far.said(/error ECONNRESET/);
    expect((await cli('freeze', '--link', 'nope')).code).toBe(1);
    expect((await cli('freeze', '--host', 'nope')).code).toBe(2);
    // The socket takes the same for programs.
    expect((await new ControlClient(control).flows(true)).length).toBe(0);
  });
});

describe('without a gateway', () => {
  test.each([
    [['status'], 1, /^tcpfreeze: no gateway is running with the control socket \/nonexistent\/x; start one /],
    [['run', '--lan', 'a'], 2, /no wan interface is named; name one: --wan IF/],
    [['run', '--lan', 'a', '--wan', 'a'], 2, /named as lan and as wan/],
    [['run', '--lan', 'a', '--wan', 'b', '--log-level', 'loud'], 2, /Allowed choices/],
    [['freeze', '--for', '5x'], 2, /must be a duration such as 500ms/],
    [['freeze', '--link', 'a', '--host', '1.1.1.1'], 2, /cannot be used with/],
    [['abort'], 2, /--flow ID, --host IP or --class CLASS/],
    [['dhcp-event', 'lost', '--interface', 'wan0'], 2, /Allowed choices are bound/],
    [['dhcp-event', 'bound'], 2, /--interface/],
    [['dhcp-event', 'bound', '--interface', 'wan0', '--lease', 'soon'], 2, /whole number of seconds/],
    [['dhcp-event', 'bound', '--interface', 'wan0'], 1, /no gateway is running/],
    [['nonsense'], 2, /unknown command/],
    [['status', '--nonsense'], 2, /unknown option/],
    [[], 2, /Usage: tcpfreeze/],
  ])('%j: exit code %i', async (args, code, words) => {
    const outcome = await plainCli(args);
    expect(outcome.stderr).toMatch(words);
    expect(outcome.code).toBe(code);
  });

  test('help and version are no failures', async () => {
    for (const args of [['--help'], ['run', '--help'], ['--version']]) expect((await plainCli(args)).code).toBe(0);
  });

  test('doctor says what it found, one line each, and changes nothing', async () => {
    const { stdout } = await plainCli(['doctor', '--json']);
    const findings = JSON.parse(stdout) as { check: string; state: string; found: string; remedy: string }[];
    const checks = findings.map((finding) => finding.check);
    expect(checks).toEqual(expect.arrayContaining(['tun device', 'packet sockets', 'icmp echo']));
    for (const { state, remedy } of findings) expect(state === 'ok' || remedy !== '').toBe(true);
  });
});

async function plainCli(args: readonly string[]): Promise<Outcome> {
  const { execFile } = await import('node:child_process');
  const env = { ...process.env, TCPFREEZE_CONTROL: '/nonexistent/x' };
  return new Promise((done) => {
    execFile(process.execPath, [resolve('dist/cli.js'), ...args], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : null, stdout, stderr });
    });
  });
}
