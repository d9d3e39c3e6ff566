/** Every profile of docker-compose.yml on a real engine: cut, unplugged, compared with plain forwarding, and taken down. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { attempt, buildImages, docker, until, whyNoEngine } from './engine.ts';
import { projectName, removeProject, sweepProjects } from './projects.ts';
import { EMPTY_HASH, type Profile, type SenderState, Stack } from './stack.ts';

const OUTAGE_MILLIS = 4_000;
/** About 6 s at the link's 40 Mb/s: under way before the cut, and not over long after it. */
const MEBIBYTES = 30;

const reason = whyNoEngine();
const note = reason === null ? '' : ` (skipped: ${reason})`;

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis));

function tell(text: string): void {
  process.stdout.write(`  ${text}\n`);
}

beforeAll(async () => {
  if (reason !== null) return;
  for (const project of await sweepProjects()) tell(`left by an interrupted run, removed: ${project}`);
  await buildImages();
});

for (const profile of ['router', 'nat', 'access'] as const satisfies readonly Profile[]) {
  describe.skipIf(reason !== null)(`profile ${profile}${note}`, () => {
    const stack = new Stack(profile);

    beforeAll(async () => {
      await stack.up();
    });
    afterAll(async () => {
      await stack.down();
      expect(await stack.remains()).toEqual([]);
    });

    test('nothing is privileged', async () => {
      const ids = (await stack.compose('ps', '-q')).trim().split('\n');
      expect(ids.length).toBeGreaterThanOrEqual(4);
      for (const id of ids) {
        const [container] = JSON.parse(await docker('inspect', id)) as [{ Name: string; HostConfig: HostConfig }];
        const { Privileged, CapAdd, CapDrop, Binds, PidMode, NetworkMode } = container.HostConfig;
        expect({ Privileged, PidMode, CapDrop }).toEqual({ Privileged: false, PidMode: '', CapDrop: ['ALL'] });
        expect(NetworkMode).not.toBe('host');
        expect((CapAdd ?? []).map(plainName).filter((name) => !ALLOWED.includes(name))).toEqual([]);
        // Of the host only the folder for captures.
        expect((Binds ?? []).filter((bind) => bind.startsWith('/') && !bind.endsWith(':/captures:rw'))).toEqual([]);
        if (container.Name.includes('gateway')) expect((CapAdd ?? []).map(plainName)).toEqual(['NET_ADMIN', 'NET_RAW']);
      }
    });

    test('a transfer by IPv4 outlives `ip link set down`, and its sender does not back off', async () => {
      onTestFinished(() => stack.linkUp());
      const transfer = await stack.transfer(MEBIBYTES, 4);
      await stack.linkDown();
      await until('the connection is frozen', 15, async () => (await stack.status()).flows.frozen >= 1);
      const atCut = await stack.sender(transfer);
      await pause(OUTAGE_MILLIS);
      const atEnd = await stack.sender(transfer);
      const before = await stack.status();
      expect(before.links.find((link) => link.name === stack.link)?.state).toBe('lost');
      expect(atEnd.retransmitted).toBe(atCut.retransmitted);
      expect(atEnd.backoff).toBeLessThanOrEqual(PERSIST_BACKOFF);
      await stack.linkUp();
      const { seconds, hash } = await transfer.done;
      expect(hash).toBe(transfer.sent);
      expect(hash).not.toBe(EMPTY_HASH);
      tell(
        `${profile}: link down ${OUTAGE_MILLIS / 1_000} s, ${MEBIBYTES} MiB in ${seconds.toFixed(1)} s, ${words(atCut, atEnd)}`,
      );
      await until('no flow is frozen', 10, async () => (await stack.status()).flows.frozen === 0);
    });

    test('a transfer by IPv6 outlives `docker network disconnect`: the interface returns as another one', async () => {
      const transfer = await stack.transfer(MEBIBYTES, 6);
      await stack.unplug();
      await until('the connection is frozen', 15, async () => (await stack.status()).flows.frozen >= 1);
      const atCut = await stack.sender(transfer);
      await pause(OUTAGE_MILLIS);
      const atEnd = await stack.sender(transfer);
      expect(atEnd.retransmitted).toBe(atCut.retransmitted);
      await stack.plug();
      const { seconds, hash } = await transfer.done;
      expect(hash).toBe(transfer.sent);
      tell(
        `${profile}: unplugged ${OUTAGE_MILLIS / 1_000} s, ${MEBIBYTES} MiB in ${seconds.toFixed(1)} s, ${words(atCut, atEnd)}`,
      );
      const link = (await stack.status()).links.find((one) => one.name === stack.link);
      expect(link?.state).toBe('up');
      // Steered again, not merely forwarded: the next transfer is tracked.
      const before = (await stack.status()).counters.packets!;
      const next = await stack.transfer(8, 6);
      expect((await next.done).hash).toBe(next.sent);
      // 8 MiB in super-packets of 64 KiB are 128 at least, and as many acknowledgements.
      expect((await stack.status()).counters.packets).toBeGreaterThan(before + 100);
    });

    test('an ssh session (IPv6) and an MQTT subscription (IPv4) outlive it, too', async () => {
      onTestFinished(() => stack.linkUp());
      const lines = Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n');
      const ssh = `i=0; while [ $i -lt 40 ]; do echo "line $i"; i=$((i+1)); sleep 0.2; done | ${stack.ssh(6)} cat`;
      const session = stack.as('guest', 'client', 'sh', '-c', ssh);
      const subscription = stack.as(
        'guest',
        'client',
        'mosquitto_sub',
        '-h',
        stack.server(4),
        '-t',
        'story',
        '-C',
        '40',
        '-W',
        '60',
      );
      // Waited for later; until then a failure must not count as unhandled.
      for (const one of [session, subscription]) one.catch(() => {});
      await until('both are connected', 30, async () => (await stack.status()).flows.flowing >= 2);
      const publish =
        'i=0; while [ $i -lt 40 ]; do mosquitto_pub -h 127.0.0.1 -t story -m "line $i"; i=$((i+1)); sleep 0.2; done';
      const published = stack.as('guest', 'server', 'sh', '-c', publish);
      await pause(1_000);
      await stack.linkDown();
      await until('both are frozen', 15, async () => (await stack.status()).flows.frozen >= 2);
      await pause(OUTAGE_MILLIS);
      await stack.linkUp();
      await published;
      // The broker repeats nothing at this quality of service, and a new session would not have the old messages.
      expect((await session).trim()).toBe(lines);
      expect((await subscription).trim()).toBe(lines);
      tell(`${profile}: ssh and MQTT, link down ${OUTAGE_MILLIS / 1_000} s: 40 lines each, none lost`);
    });

    test('what passed was captured, with comments', async () => {
      const files = readdirSync(stack.captures).filter((name) => name.startsWith(profile));
      expect(files.length).toBeGreaterThanOrEqual(1);
      const captured = files.map((name) => readFileSync(join(stack.captures, name)));
      // Section header block of pcapng; then a comment on a packet that took bytes into custody.
      for (const bytes of captured) expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a);
      expect(captured.some((bytes) => bytes.includes('custody'))).toBe(true);
    });

    test('the viewer has told of the outages', async () => {
      const told = await stack.compose('logs', '--no-color', `${profile}-viewer`);
      expect(told.match(/ LOST /g)?.length).toBe(3);
      expect(told.match(/ RESTORED /g)?.length).toBe(3);
      expect(told).toMatch(/FLOWING {3}traffic again \d+\.\d\d s after/);
    });

    test('the gateway stops in order', async () => {
      const id = await stack.container('gateway');
      await docker('stop', id);
      expect((await docker('inspect', '--format', '{{.State.ExitCode}}', id)).trim()).toBe('0');
      const { stdout } = await attempt('docker', ['logs', id]);
      expect(stdout).toContain('"msg":"stopped"');
    });
  });
}

describe.skipIf(reason !== null)(`without tcpfreeze${note}`, () => {
  const stack = new Stack('router', { plain: true });

  beforeAll(async () => {
    await stack.up();
  });
  afterAll(async () => {
    await stack.down();
    expect(await stack.remains()).toEqual([]);
  });

  test('the same cut makes the sender repeat itself and back off', async () => {
    const transfer = await stack.transfer(MEBIBYTES, 4);
    await stack.linkDown();
    const atCut = await stack.sender(transfer);
    await pause(OUTAGE_MILLIS);
    const atEnd = await stack.sender(transfer);
    expect(atEnd.retransmitted).toBeGreaterThan(atCut.retransmitted);
    expect(atEnd.unacked).toBeGreaterThan(0);
    await stack.linkUp();
    const { seconds, hash } = await transfer.done;
    expect(hash).toBe(transfer.sent);
    tell(
      `plain:  link down ${OUTAGE_MILLIS / 1_000} s, ${MEBIBYTES} MiB in ${seconds.toFixed(1)} s, ${words(atCut, atEnd)}`,
    );
  });
});

describe.skipIf(reason !== null)(`what test runs leave in the engine${note}`, () => {
  const gone = 'tcpfreeze-test-4194305-1-router';
  const own = projectName('left');

  afterEach(() => {
    for (const project of [gone, own]) removeProject(project);
  });

  test('a project whose process is gone is removed, and no other', async () => {
    const command = ['--network', 'none', 'tcpfreeze-gateway', '--version'];
    for (const project of [gone, own]) {
      const label = ['--label', `com.docker.compose.project=${project}`];
      await docker('network', 'create', ...label, `${project}_lan`);
      await docker('volume', 'create', ...label, `${project}_control`);
      await docker('create', ...label, ...command);
    }
    expect(await sweepProjects()).toEqual([gone]);
    const left = await docker('network', 'ls', '--format', '{{.Name}}', '--filter', 'name=tcpfreeze-test');
    expect(left.trim()).toBe(`${own}_lan`);
    removeProject(own);
    for (const list of [
      ['ps', '--all', '--quiet'],
      ['network', 'ls', '--quiet'],
      ['volume', 'ls', '--quiet'],
    ]) {
      expect(await docker(...list, '--filter', `label=com.docker.compose.project=${own}`)).toBe('');
    }
  });
});

describe.skipIf(reason !== null)(`what a container may lack${note}`, () => {
  const image = (args: readonly string[], ...command: string[]) =>
    attempt('docker', ['run', '--rm', '--network', 'none', ...args, 'tcpfreeze-gateway', ...command]);

  test('no capability', async () => {
    const { exitCode, stderr } = await image(
      ['--cap-drop', 'ALL', '--device', '/dev/net/tun'],
      'run',
      '--lan',
      'a',
      '--wan',
      'b',
    );
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/needs CAP_NET_ADMIN and CAP_NET_RAW/);
  });

  test('no /dev/net/tun', async () => {
    const { exitCode, stderr } = await image(['--cap-add', 'NET_ADMIN'], 'run', '--lan', 'a', '--wan', 'b');
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/there is no \/dev\/net\/tun.*--device \/dev\/net\/tun/);
  });

  test('no interface with the address of the gateway', async () => {
    const { exitCode, stderr } = await image([
      '--cap-add',
      'NET_ADMIN',
      '-e',
      'NAMES=192.0.2.1=lan0',
      '-e',
      'PATIENCE=2',
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/no interface of this container has the address 192\.0\.2\.1/);
  });
});

interface HostConfig {
  readonly Privileged: boolean;
  readonly PidMode: string;
  readonly NetworkMode: string;
  readonly CapAdd: readonly string[] | null;
  readonly CapDrop: readonly string[] | null;
  readonly Binds: readonly string[] | null;
}

const ALLOWED = ['NET_ADMIN', 'NET_RAW', 'SETUID', 'SETGID'];

/** Engines write capabilities with and without the prefix. */
const plainName = (name: string) => name.replace(/^CAP_/, '');

/** In persist state the kernel counts its probes as back-off; at 0.2 s doubling, 5 s hold four of them, 6 with margin. */
const PERSIST_BACKOFF = 6;

function words(atCut: SenderState, atEnd: SenderState): string {
  const repeated = atEnd.retransmitted - atCut.retransmitted;
  return `cwnd ${atCut.cwnd} -> ${atEnd.cwnd}, ${repeated} segments repeated, ${atEnd.unacked} unacknowledged, back-off ${atEnd.backoff}`;
}
