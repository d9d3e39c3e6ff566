/**
 * Network namespaces of a lab run. Names carry the process id and a serial number (`tfz4711-1-host`), so that runs do not
 * meet, and left-overs of a killed run can be told from those of a living one.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { onLabExit } from './registry.ts';
import { runCommand, runCommandSync } from './run-command.ts';

const NAME = /^tfz(\d+)-\d+-[a-z0-9]+$/;

let serial = 0;

/** A new number for each lab of this process. */
export function nextLabNumber(): number {
  serial += 1;
  return serial;
}

/** Full name of a namespace of this process. @param role lower-case letters and digits, e.g. `host` */
export function namespaceName(lab: number, role: string): string {
  return `tfz${process.pid}-${lab}-${role}`;
}

export class Namespace {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();
  readonly #release: () => void;
  #disposed = false;

  private constructor(name: string) {
    this.name = name;
    this.#release = onLabExit(() => this.#destroy());
  }

  /**
   * Creates a namespace with its loopback interface up.
   * @throws TcpfreezeError: `ip` is missing, no permission (root, or root of a user namespace with its own /run/netns)
   */
  static async create(name: string): Promise<Namespace> {
    if (!NAME.test(name)) throw new TcpfreezeError('LAB_NAME', `${name} is no name of a lab namespace`, '');
    // Remembered before it exists: a signal may come in between.
    const namespace = new Namespace(name);
    try {
      await runCommand('ip', ['netns', 'add', name]);
      await namespace.ip('link', 'set', 'lo', 'up');
    } catch (error) {
      await namespace.dispose().catch(() => {});
      throw error;
    }
    return namespace;
  }

  /** Where iproute2 keeps a handle on it (ip-netns(8)). */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Runs a program inside and returns its standard output. @throws TcpfreezeError as runCommand */
  exec(program: string, args: readonly string[], input?: string): Promise<string> {
    return runCommand('ip', ['netns', 'exec', this.name, program, ...args], input);
  }

  /** `ip` acting on this namespace: quicker than exec, because the program itself enters it. */
  ip(...args: string[]): Promise<string> {
    return runCommand('ip', ['-n', this.name, ...args]);
  }

  /**
   * Starts a long-lived program inside. `ip netns exec` becomes the program, so the child's pid is the program's own.
   * It is killed with the namespace if it still runs then.
   */
  spawn(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, program, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    child.once('error', () => this.#children.delete(child));
    return child;
  }

  /** Sets kernel parameters inside, `{'net.ipv4.tcp_retries2': 5}`. @throws TcpfreezeError with the kernel's refusal */
  async sysctl(values: Readonly<Record<string, string | number>>): Promise<void> {
    const settings = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    if (settings.length > 0) await this.exec('sysctl', ['-qw', ...settings]);
  }

  /** Kills what was started inside and removes the namespace with all its interfaces. Idempotent. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    const exits = [...this.#children].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(exits);
    this.#destroy();
    this.#release();
  }

  #destroy(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const child of this.#children) child.kill('SIGKILL');
    removeNamespace(this.name);
  }
}

/** Kills whatever still runs inside (a namespace lives on as long as a process does) and removes the namespace. */
function removeNamespace(name: string): void {
  try {
    for (const pid of runCommandSync('ip', ['netns', 'pids', name]).split('\n')) {
      if (pid !== '' && Number(pid) !== process.pid) process.kill(Number(pid), 'SIGKILL');
    }
  } catch {
    // A process that ended in the meantime; or no such namespace, which the next call says.
  }
  runCommandSync('ip', ['netns', 'delete', name]);
}

/** Names of lab namespaces that exist now, of this and other runs. */
export async function labNamespaces(): Promise<string[]> {
  const list = await runCommand('ip', ['netns', 'list']);
  return list
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => NAME.test(name));
}

/**
 * Removes namespaces of lab runs whose process is gone, with what still runs inside.
 * @returns the names removed
 */
export async function sweep(): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await labNamespaces()) {
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      removeNamespace(name);
      removed.push(name);
    } catch {
      // Another run may be sweeping, too; a name that stays is tried again by the next run.
    }
  }
  return removed;
}
