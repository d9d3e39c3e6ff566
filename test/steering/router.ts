/**
 * A router between a host and a server, each in a network namespace, for tests of what the gateway changes on a
 * machine. No emulated link: packets pass at once.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Namespace, namespaceName, nextLabNumber } from '../../src/lab/namespace.ts';

export const HOST = '10.82.1.2';
export const SERVER = '10.82.2.2';
export const SERVER6 = 'fd82:2::2';
export const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Router {
  readonly host: Namespace;
  readonly gateway: Namespace;
  readonly server: Namespace;

  private constructor(host: Namespace, gateway: Namespace, server: Namespace) {
    this.host = host;
    this.gateway = gateway;
    this.server = server;
  }

  /** Directory of the gateway's journal. */
  readonly journal: string = mkdtempSync(join(tmpdir(), 'tcpfreeze-journal-'));

  static async create(): Promise<Router> {
    const number = nextLabNumber();
    const spaces: Namespace[] = [];
    for (const role of ['host', 'gateway', 'server']) {
      const space = await Namespace.create(namespaceName(number, role));
      spaces.push(space);
      // Addresses that appear by and by would make two dumps differ.
      await space.sysctl({ 'net.ipv6.conf.default.accept_dad': 0, 'net.ipv6.conf.default.dad_transmits': 0 });
    }
    const [host, gateway, server] = spaces as [Namespace, Namespace, Namespace];
    const router = new Router(host, gateway, server);
    await gateway.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    await gateway.ip('link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.name);
    await gateway.ip('link', 'add', 'wan0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', server.name);
    for (const [space, device, subnet, last] of [
      [host, 'eth0', 1, 2],
      [gateway, 'lan0', 1, 1],
      [gateway, 'wan0', 2, 1],
      [server, 'eth0', 2, 2],
    ] as const) {
      await space.ip('link', 'set', device, 'up');
      await space.ip('address', 'add', `10.82.${subnet}.${last}/24`, 'dev', device);
      await space.ip('address', 'add', `fd82:${subnet}::${last}/64`, 'dev', device, 'nodad');
    }
    for (const [space, subnet] of [
      [host, 1],
      [server, 2],
    ] as const) {
      await space.ip('route', 'add', 'default', 'via', `10.82.${subnet}.1`);
      await space.ip('-6', 'route', 'add', 'default', 'via', `fd82:${subnet}::1`);
    }
    return router;
  }

  async dispose(): Promise<void> {
    rmSync(this.journal, { recursive: true, force: true });
    for (const space of [this.host, this.gateway, this.server]) await space.dispose();
  }

  async masquerade(): Promise<void> {
    const rules =
      'add table ip nat\nadd chain ip nat post { type nat hook postrouting priority srcnat; }\nadd rule ip nat post oifname "wan0" masquerade\n';
    await this.gateway.exec('nft', ['-f', '-'], rules);
  }

  /** Everything about the gateway's network configuration that could be changed, one fact per line. */
  async dump(): Promise<string> {
    const parts = [
      await this.gateway.ip('rule'),
      await this.gateway.ip('-6', 'rule'),
      await this.gateway.ip('route', 'show', 'table', 'all'),
      await this.gateway.ip('-6', 'route', 'show', 'table', 'all'),
      await this.gateway.ip('-o', 'link'),
      await this.gateway.ip('-o', 'address'),
      (await this.gateway.exec('nft', ['list', 'ruleset'])).replace(/packets \d+ bytes \d+/g, 'counted'),
      (await this.gateway.exec('sysctl', ['-a', '--ignore']))
        .split('\n')
        .filter((line) => line.startsWith('net.') && !VOLATILE.test(line))
        .join('\n'),
    ];
    return parts.join('\n--\n');
  }

  /** Runs the command line in the gateway's namespace until it ends. */
  cli(args: readonly string[], wrap: readonly string[] = [], path?: string): Promise<Outcome> {
    const command = ['netns', 'exec', this.gateway.name, ...wrap, process.execPath, CLI, ...args];
    const env = { ...process.env, TCPFREEZE_JOURNAL: this.journal, ...(path === undefined ? {} : { PATH: path }) };
    return new Promise((done) => {
      // The programs of the test itself are found by their full path: PATH is what the gateway shall see.
      execFile('/sbin/ip', command, { env, timeout: 60_000 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        done({ code, stdout, stderr });
      });
    });
  }

  /** Starts a program in a namespace and watches what it prints. */
  start(space: Namespace, program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    return new Program(
      space.spawn(program, args, { stdio: 'pipe', env: { ...process.env, TCPFREEZE_JOURNAL: this.journal, ...env } }),
    );
  }

  /** The gateway, ready. */
  async run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Program> {
    const program = this.start(
      this.gateway,
      process.execPath,
      [CLI, 'run', '--lan', 'lan0', '--wan', 'wan0', ...args],
      env,
    );
    await program.said(/"msg":"ready"/);
    return program;
  }
}

/** Counts and random keys that change by themselves. */
const VOLATILE = /conntrack_count|fastopen_key|random|\.gc_|stable_secret/;

/** A running program whose output a test waits for. */
export class Program {
  readonly child: ChildProcess;
  /** Exit code; null when it was killed. */
  readonly exited: Promise<number | null>;
  output = '';
  readonly #waiting = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (text: Buffer) => {
        this.output += text.toString();
        for (const check of this.#waiting) check();
      });
    }
    this.exited = new Promise((done) => child.once('close', (code) => done(code)));
  }

  /** Waits until the output matches; from an earlier match on when `after` is given. */
  said(pattern: RegExp, after = 0): Promise<string> {
    return new Promise((done, fail) => {
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        if (error !== undefined) fail(error);
      };
      const check = (): void => {
        const match = pattern.exec(this.output.slice(after));
        if (match === null) return;
        settle();
        done(match[0]);
      };
      const timer = setTimeout(() => settle(new Error(`${pattern} was not said in: ${this.output}`)), 30_000);
      this.#waiting.add(check);
      void this.exited.then(() => {
        check();
        settle(new Error(`ended without saying ${pattern}: ${this.output}`));
      });
      check();
    });
  }

  send(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }
}
