/** The demo as a user starts it: what it prints, what it leaves behind (nothing), and what it needs. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compiledProgram } from '../../src/lab/child.ts';
import { until } from '../../src/lab/wait.ts';

const root = process.getuid?.() === 0;
if (!root) console.warn('most demo tests skipped: they need root to make other users and capabilities');

const PROJECT = resolve(import.meta.dirname, '../..');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A demo under way. */
class Running {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;

  constructor(program: string, args: readonly string[]) {
    this.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((done) => {
      this.process.once('close', (code) => done({ code, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  saw(text: string): Promise<true> {
    return until(() => this.stderr.includes(text), { what: `"${text}" in ${this.stderr}`, timeoutMillis: 60_000 });
  }
}

function demo(...args: string[]): Running {
  return new Running(process.execPath, [compiledProgram('cli.js'), 'demo', ...args]);
}

/** Every process that descends from one, as `pid starttime`, so that a pid used again is not mistaken. */
function descendants(pid: number): string[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => identify(Number(name)));
  const found = new Set([pid]);
  for (let before = -1; found.size > before; ) {
    before = found.size;
    for (const one of all) if (found.has(one.parent)) found.add(one.pid);
  }
  return all.filter((one) => found.has(one.pid)).map((one) => `${one.pid} ${one.started}`);
}

function identify(pid: number): { pid: number; parent: number; started: string }[] {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return [{ pid, parent: Number(fields[1]), started: fields[19] ?? '' }];
  } catch {
    return [];
  }
}

function survivors(processes: readonly string[]): string[] {
  return processes.filter((one) =>
    identify(Number(one.split(' ')[0])).some((now) => `${now.pid} ${now.started}` === one),
  );
}

/** What a lab could leave behind on the machine. Other tests of the machine have other names. */
function traces(): string[] {
  const scratch = existsSync('/dev/shm') ? readdirSync('/dev/shm') : [];
  const temporary = [...readdirSync(tmpdir()), ...scratch].filter((name) => name.startsWith('tcpfreeze-lab-'));
  // A lab of another process that lives is none of the demo's.
  const foreign = (name: string): boolean => {
    const pid = /^tfz(\d+)-/.exec(name)?.[1];
    return pid !== undefined && pid !== '1' && existsSync(`/proc/${pid}`);
  };
  const namespaces = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => !foreign(name));
  const rules = execFileSync('ip', ['rule'], { encoding: 'utf8' }).split('\n');
  // Other mounts come and go with other programs of the machine.
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => / \/(?:run\/netns|dev\/shm)/.test(line) && !foreign(line.replace(/^.*\/(?=tfz)/, '')));
  return [...temporary, ...namespaces, ...rules, ...mounts].sort();
}

/** Runs the demo in a private mount namespace as nobody, in front of a /dev/net/tun of the given mode. */
function asNobody(tunMode: string, ...args: string[]): Running {
  const script = `set -e
    mount -t tmpfs tmpfs /dev/net
    mknod -m "$1" /dev/net/tun c 10 200
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/project /mnt/node
    mount --bind "$2" /mnt/project
    mount --bind "$3" /mnt/node
    shift 3
    cd /
    exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"`;
  const command = [join('/mnt/node', 'node'), '/mnt/project/dist/cli.js', 'demo', ...args];
  const values = [tunMode, PROJECT, dirname(process.execPath), ...command];
  return new Running('unshare', ['--mount', '--', 'sh', '-c', script, 'sh', ...values]);
}

interface FlowDocument {
  readonly mode: string;
  readonly intact: boolean;
  readonly firstByteSeconds: number;
  readonly retransmissions: number;
  readonly cwndBefore: number;
  readonly cwndAfter: number;
  readonly echoSeconds: number;
}

interface DemoDocument {
  readonly outageSeconds: number;
  readonly runs: readonly { readonly name: string; readonly flows: readonly FlowDocument[] }[];
}

function expectWhole(document: DemoDocument): void {
  expect(document.runs.map((run) => run.name)).toEqual(['plain', 'gateway']);
  for (const { flows } of document.runs) {
    expect(flows.map((flow) => flow.mode)).toEqual(['upload', 'download', 'echo']);
    expect(flows.map((flow) => flow.intact)).toEqual([true, true, true]);
    expect(flows[2]!.echoSeconds).toBeGreaterThan(0.02);
  }
  const [plain, gateway] = document.runs.map((run) => run.flows[0]!);
  expect(plain!.retransmissions).toBeGreaterThan(0);
  expect(gateway!.retransmissions).toBe(0);
  expect(gateway!.firstByteSeconds).toBeGreaterThan(0.02);
}

describe.skipIf(!root)('the demo as root', () => {
  test('prints a table and a plot, shows progress, and leaves nothing behind', async () => {
    const before = traces();
    const running = demo('--outage', '1.5');
    await running.saw('plain routing: link lost');
    const processes = descendants(running.process.pid!);
    // The two namespaces' own programs and the applications in them: otherwise the look afterwards proves nothing.
    expect(processes.length).toBeGreaterThan(5);
    const { code, stdout, stderr } = await running.ended;
    expect(stderr.replace(/^(?:plain routing|with tcpfreeze): .*\n/gm, '')).toBe('');
    expect(code).toBe(0);
    for (const run of ['plain routing', 'with tcpfreeze']) {
      for (const phase of ['building the network', 'warming up', 'link lost', 'recovering'])
        expect(stderr).toContain(`${run}: ${phase}`);
    }
    expect(stdout).toMatch(/^upload: first new byte after link-up +[\d.]+ s +[\d.]+ s$/m);
    expect(stdout).toMatch(/^ {2}every byte arrived \(SHA-256\) +yes +yes$/m);
    expect(stdout).toContain('0: back'.replace('0', '1.5 s'));
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(survivors(processes)).toEqual([]);
    expect(traces()).toEqual(before);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    '%s in the middle of the outage leaves nothing behind',
    async (signal) => {
      const before = traces();
      const running = demo('--outage', '30');
      await running.saw('plain routing: link lost');
      const processes = descendants(running.process.pid!);
      expect(processes.length).toBeGreaterThan(5);
      const at = performance.now();
      running.process.kill(signal);
      const { code, stdout } = await running.ended;
      expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGKILL: null }[signal]);
      expect(stdout).toBe('');
      // Nobody waits for what a killed process leaves to the kernel.
      await until(() => survivors(processes).length === 0, { what: `end of ${processes}`, timeoutMillis: 6_000 });
      expect(performance.now() - at).toBeLessThan(8_000);
      expect(traces()).toEqual(before);
    },
  );

  test('Ctrl-C reaches all programs of the terminal at once, also while the network is being built', async () => {
    const before = traces();
    // A session of its own stands for the terminal's foreground group.
    const running = new Running('setsid', ['--wait', process.execPath, compiledProgram('cli.js'), 'demo']);
    await running.saw('building the network');
    const processes = descendants(running.process.pid!);
    const leader = processes.map((one) => Number(one.split(' ')[0])).find((pid) => isGroupLeader(pid));
    process.kill(-leader!, 'SIGINT');
    const { code } = await running.ended;
    expect(code).toBe(130);
    expect(survivors(processes)).toEqual([]);
    expect(traces()).toEqual(before);
  });

  test('without the right to make namespaces it says so in one line', async () => {
    const dropped = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin', '--'];
    const { code, stderr } = await new Running('setpriv', [
      ...dropped,
      process.execPath,
      compiledProgram('cli.js'),
      'demo',
    ]).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tcpfreeze: the demo may not make namespaces here; .*--cap-add SYS_ADMIN.*\n$/);
  });
});

describe.skipIf(!root || !userNamespaces())('the demo without root', () => {
  test('runs where /dev/net/tun is open to all', async () => {
    const { code, stdout, stderr } = await asNobody('666', '--json', '--outage', '1.5').ended;
    expect(stderr.replace(/^(?:plain routing|with tcpfreeze): .*\n/gm, '')).toBe('');
    expect(code).toBe(0);
    expectWhole(JSON.parse(stdout) as DemoDocument);
  });

  test('says in one line what is missing where it is not', async () => {
    const { code, stdout, stderr } = await asNobody('600').ended;
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      'tcpfreeze: the demo needs root here, because this user may not open /dev/net/tun; run it as root: sudo npm run demo\n',
    );
  });
});

test('a wrong outage is wrong usage', async () => {
  const { code, stderr } = await demo('--outage', '0').ended;
  expect(code).toBe(2);
  expect(stderr).toContain('It must be 1 to 300 seconds.');
});

function isGroupLeader(pid: number): boolean {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return Number(fields[2]) === pid;
}

function userNamespaces(): boolean {
  try {
    execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'unshare', '-Urnm', 'true']);
    return true;
  } catch {
    console.warn('demo tests without root skipped: unprivileged user namespaces are not allowed here');
    return false;
  }
}
