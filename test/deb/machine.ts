/** A Debian machine with systemd, booted inside of this one, in a lab's network namespace; see boot.sh. */
import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Namespace } from '../../src/lab/namespace.ts';
import { until } from '../../src/lab/wait.ts';

const BOOT = resolve(import.meta.dirname, 'boot.sh');

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Why no machine can be booted here; null: it can. */
export function whyNoMachine(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/dev/net/tun')) return 'needs /dev/net/tun';
  for (const path of ['/lib/systemd/systemd', '/usr/bin/dpkg-deb', '/usr/bin/nsenter', '/usr/bin/systemd-sysusers']) {
    if (!existsSync(path)) return `needs ${path}`;
  }
  try {
    // An overlay of the root file system, in a mount namespace that ends with this line.
    const script =
      'd=$(mktemp -d) && mount -t tmpfs t $d && cd $d && mkdir u w r && mount -t overlay o -o lowerdir=/,upperdir=u,workdir=w r';
    execFileSync('unshare', ['--mount', '--cgroup', 'sh', '-c', `${script} && mount -t cgroup2 c r/mnt`], {
      stdio: 'ignore',
    });
    return null;
  } catch {
    return 'this kernel or container allows no overlay of the root file system';
  }
}

export class Machine {
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly #pid: number;

  private constructor(process: ChildProcess, directory: string, pid: number) {
    this.#process = process;
    this.#directory = directory;
    this.#pid = pid;
  }

  /**
   * Boots; resolves when systemd has reached its target.
   * @param exchange folder that the machine sees as /mnt
   */
  static async boot(network: Namespace, exchange: string): Promise<Machine> {
    const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-machine-'));
    symlinkSync(exchange, join(directory, 'exchange'));
    const spaces = ['--mount', '--pid', '--fork', '--cgroup', '--uts', '--ipc', '--kill-child'];
    const child = network.spawn('unshare', [...spaces, 'sh', BOOT, directory], { stdio: 'ignore' });
    const systemd = await until(() => childOf(child.pid!), {
      what: 'the machine has a first process',
      timeoutMillis: 5_000,
    });
    const machine = new Machine(child, directory, systemd);
    const isUp = async () => /running|degraded/.test((await machine.try('systemctl', 'is-system-running')).stdout);
    await until(isUp, { what: 'the machine is up', timeoutMillis: 60_000, everyMillis: 200 });
    return machine;
  }

  /** Runs a program inside; a failure is a result. */
  try(program: string, ...args: string[]): Promise<Outcome> {
    const enter = ['-t', `${this.#pid}`, '-m', '-p', '-C', '-u', '-i', '-n', '-r', '-w', program, ...args];
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };
    return new Promise((done) => {
      execFile('/usr/bin/nsenter', enter, { env, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
        done({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
      });
    });
  }

  /** As `try`; a failure is an exception. @returns standard output */
  async run(program: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.try(program, ...args);
    if (code === 0) return stdout;
    throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${(stdout + stderr).trim().slice(-1_500)}`);
  }

  /** Writes a file inside. */
  async write(path: string, text: string): Promise<void> {
    await this.run('sh', '-c', 'printf %s "$2" >"$1"', 'sh', path, text);
  }

  async dispose(): Promise<void> {
    const ended = new Promise((done) => this.#process.once('exit', done));
    this.#process.kill('SIGKILL');
    if (this.#process.exitCode === null && this.#process.signalCode === null) await ended;
    // Its mounts went with its namespace.
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The only child of a process, once it has become systemd. */
function childOf(pid: number): number | undefined {
  try {
    const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
    return child > 0 && readFileSync(`/proc/${child}/comm`, 'utf8').startsWith('systemd') ? child : undefined;
  } catch {
    return undefined;
  }
}
