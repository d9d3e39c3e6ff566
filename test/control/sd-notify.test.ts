/** Datagrams to a service manager; Python stands for it, because Node.js has no such sockets. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SdNotify } from '../../src/control/sd-notify.ts';
import { notifySocket } from '../../src/native/notify-socket.ts';

const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', chr(0), 1))
print('bound', flush=True)
while True: print(repr(s.recv(4096).decode()), flush=True)
`;

function hasPython(): boolean {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const able = hasPython();
if (!able) console.warn('tests of sd_notify skipped: they need python3');

let directory: string;
let receiver: ChildProcess | undefined;
let received: string[] = [];

async function listen(path: string): Promise<void> {
  received = [];
  const child = spawn('python3', ['-c', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  receiver = child;
  child.stdout
    .setEncoding('utf8')
    .on('data', (text: string) => received.push(...text.split('\n').filter((line) => line !== '')));
  await until(() => received.includes('bound'));
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`waited in vain, received: ${received.join(' ')}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-notify-'));
});
afterEach(() => {
  receiver?.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

describe.skipIf(!able)('sd_notify', () => {
  test('ready, signs of life while there are answers, the end', async () => {
    const path = join(directory, 'notify');
    await listen(path);
    let answering = true;
    const answers = () => (answering ? Promise.resolve() : new Promise<void>(() => {}));
    const notify = SdNotify.fromEnvironment(answers, { NOTIFY_SOCKET: path, WATCHDOG_USEC: '40000' });
    notify.ready();
    const signs = (): number => received.filter((line) => line === "'WATCHDOG=1'").length;
    await until(() => signs() >= 3);
    expect(received[1]).toBe(String.raw`'READY=1\nSTATUS=forwarding'`);
    answering = false;
    await new Promise((done) => setTimeout(done, 100));
    const before = signs();
    await new Promise((done) => setTimeout(done, 200));
    expect(signs()).toBe(before);
    notify.stopping();
    await until(() => received.at(-1) === "'STOPPING=1'");
  });

  test('the abstract name space', async () => {
    const path = `@tcpfreeze-test-${process.pid}`;
    await listen(path);
    expect(notifySocket(path, 'READY=1')).toBe(0);
    await until(() => received.includes("'READY=1'"));
  });

  test('signs of life are not for another process', async () => {
    const path = join(directory, 'notify');
    await listen(path);
    const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' };
    const notify = SdNotify.fromEnvironment(() => Promise.resolve(), env);
    notify.ready();
    await new Promise((done) => setTimeout(done, 150));
    notify.stopping();
    await until(() => received.length === 3);
    expect(received.slice(1).map((line) => line.slice(0, 6))).toEqual(["'READY", "'STOPP"]);
  });
});

test('without a service manager, or with one that went away, nothing happens', () => {
  expect(notifySocket(join(directory, 'nobody'), 'READY=1')).toBeLessThan(0);
  expect(notifySocket('/'.padEnd(200, 'x'), 'READY=1')).toBeLessThan(0);
  for (const env of [{}, { NOTIFY_SOCKET: '' }, { NOTIFY_SOCKET: join(directory, 'nobody') }]) {
    const notify = SdNotify.fromEnvironment(() => Promise.resolve(), env);
    notify.ready();
    notify.stopping();
  }
});
