/**
 * Executable probes of what this project assumes of the kernel and of Node.js (`npm run probes`). One line each: ok or
 * FAIL, with the figure measured here. Exit code 1 if one fails, 2 if they cannot run.
 *
 * Everything happens in a new network namespace without a name, which ends with the process: nothing can be left behind.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { addressOf, close, eventfd, POLLIN, PollSet, read, recv, send, setTimerSlack, write } from './libc.ts';
import { openPacketSocket } from './packet-socket.ts';
import { type Probe, TUN_PROBES } from './probe-tun.ts';

const INSIDE = '--inside';

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

const ROUNDS = 100;

/** Nanoseconds per call: the best of several rounds, which is the least disturbed by what else the machine does. */
function cost(count: number, call: () => void): number {
  for (let i = 0; i < 10_000; i++) call();
  let best = Number.POSITIVE_INFINITY;
  const each = Math.ceil(count / ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    for (let i = 0; i < each; i++) call();
    best = Math.min(best, ((performance.now() - started) * 1e6) / each);
  }
  return best;
}

function ffiCost(): string {
  const fd = eventfd();
  const address = addressOf(new Uint8Array(8));
  const set = new PollSet(1);
  set.add(fd, POLLIN);
  const empty = cost(300_000, () => read(fd, address, 8));
  const poll = cost(300_000, () => set.wait(0));
  close(fd);
  check(empty < 5_000, `${empty.toFixed(0)} ns for a read`);
  return `${empty.toFixed(0)} ns for read -> EAGAIN, ${poll.toFixed(0)} ns for ppoll, system call included`;
}

function clockCost(): string {
  const now = cost(300_000, () => performance.now());
  const big = cost(300_000, () => process.hrtime.bigint());
  return `performance.now ${now.toFixed(0)} ns, process.hrtime.bigint ${big.toFixed(0)} ns`;
}

function sleepAccuracy(): string {
  const fd = eventfd();
  const set = new PollSet(1);
  set.add(fd, POLLIN);
  const measure = (): string => {
    const late: number[] = [];
    for (let i = 0; i < 200; i++) {
      const started = performance.now();
      set.wait(500);
      late.push((performance.now() - started) * 1000 - 500);
    }
    late.sort((a, b) => a - b);
    check(late[0]! >= 0, `woke ${-late[0]!} us early`);
    return `${late[100]!.toFixed(0)} us late`;
  };
  const usual = measure();
  check(setTimerSlack(1) === 0, 'PR_SET_TIMERSLACK was refused');
  const tight = measure();
  setTimerSlack(0);
  close(fd);
  return `500 us sleeps wake ${usual} (median), ${tight} with a timer slack of 1 ns`;
}

async function wakeRoundTrip(): Promise<string> {
  const askFd = eventfd();
  const answerFd = eventfd();
  const rounds = 2_000;
  const worker = new Worker(new URL('./probe-echo.js', import.meta.url), { workerData: { askFd, answerFd, rounds } });
  await new Promise((resolve) => worker.once('online', resolve));
  const set = new PollSet(1);
  set.add(answerFd, POLLIN);
  const one = BigUint64Array.of(1n);
  const address = addressOf(one);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const started = performance.now();
    one[0] = 1n;
    write(askFd, address, 8);
    check(set.wait(2_000_000) === 1, 'no answer within 2 s');
    read(answerFd, address, 8);
    times.push((performance.now() - started) * 1000);
  }
  await new Promise((resolve) => worker.once('exit', resolve));
  close(askFd);
  close(answerFd);
  times.sort((a, b) => a - b);
  return `${times[rounds / 2]!.toFixed(0)} us (median) to a thread asleep in ppoll and back`;
}

async function ownerTable(): Promise<string> {
  const child = spawn('nft', ['-i'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const failed = new Promise<never>((_resolve, reject) => child.once('error', reject));
  const gone = new Promise((resolve) => child.once('close', resolve));
  const listed = (): boolean =>
    spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' }).stdout.includes('inet tcpfreeze_probe');
  const waitFor = async (wanted: boolean): Promise<void> => {
    for (let i = 0; listed() !== wanted; i++) {
      check(i < 100, wanted ? 'the table was refused' : 'the table outlived its owner');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await Promise.race([new Promise((resolve) => child.once('spawn', resolve)), failed]);
  child.stdin.write('add table inet tcpfreeze_probe { flags owner; }\n');
  await waitFor(true);
  child.kill('SIGKILL');
  await gone;
  await waitFor(false);
  return 'gone with the process that made it';
}

function protocolRule(): string {
  for (const family of ['-4', '-6']) {
    ip(family, 'rule', 'add', 'iif', 'lo', 'ipproto', 'tcp', 'lookup', '100', 'priority', '5000');
    check(ip(family, 'rule', 'show').includes('ipproto tcp'), 'the selector was ignored');
    ip(family, 'rule', 'del', 'priority', '5000');
  }
  return 'IPv4 and IPv6';
}

function ownFramesHidden(): string {
  ip('link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1');
  for (const name of ['probe0', 'probe1']) {
    execFileSync('sysctl', ['-qw', `net.ipv6.conf.${name}.disable_ipv6=1`]);
    ip('link', 'set', name, 'up');
  }
  const left = openPacketSocket('probe0');
  const right = openPacketSocket('probe1');
  const frame = new Uint8Array(60).fill(0xff, 0, 6);
  // An EtherType for local experiments (IEEE 802), so that nobody answers.
  frame.set([0x88, 0xb5], 12);
  const memory = new Uint8Array(2048);
  const set = new PollSet(1);
  set.add(right.fd, POLLIN);
  check(send(left.fd, addressOf(frame), frame.length) === frame.length, 'send was refused');
  check(set.wait(1_000_000) === 1, 'the frame did not arrive');
  const arrived = recv(right.fd, addressOf(memory), memory.length);
  const echoed = recv(left.fd, addressOf(memory), memory.length);
  close(left.fd);
  close(right.fd);
  ip('link', 'del', 'probe0');
  check(arrived === frame.length, `${arrived} bytes arrived`);
  check(echoed < 0, 'the sender read its own frame');
  return 'frames pass, and the sender does not read its own';
}

const PROBES: readonly Probe[] = [
  ['FFI call', ffiCost],
  ['clock', clockCost],
  ['ppoll in microseconds', sleepAccuracy],
  ['wake-up by eventfd', wakeRoundTrip],
  ['packet socket', ownFramesHidden],
  ['ip rule with ipproto', protocolRule],
  ['nftables owner table', ownerTable],
  ...TUN_PROBES,
];

async function runAll(): Promise<number> {
  let failures = 0;
  for (const [name, run] of PROBES) {
    try {
      console.log(`ok    ${name}: ${await run()}`);
    } catch (error) {
      failures++;
      const message = error instanceof Error ? error.message : String(error);
      console.log(`FAIL  ${name}: ${message.trim().replaceAll('\n', ' ')}`);
    }
  }
  console.log(`${PROBES.length - failures} ok, ${failures} failed`);
  return failures === 0 ? 0 : 1;
}

/** Runs this file again in a new network namespace. */
function enter(): number {
  if (process.getuid?.() !== 0) {
    console.error(
      'the probes need root: they create devices in a network namespace of their own; run: sudo npm run probes',
    );
    return 2;
  }
  const self = fileURLToPath(import.meta.url);
  const result = spawnSync('unshare', ['--net', process.execPath, self, INSIDE], { stdio: 'inherit' });
  if (result.error !== undefined) {
    console.error(`cannot run unshare (${result.error.message}); install util-linux`);
    return 2;
  }
  return result.status ?? 1;
}

process.exitCode = process.argv.includes(INSIDE) ? await runAll() : enter();
