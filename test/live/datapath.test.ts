/**
 * The datapath on a real TUN device, in network namespaces of its own: a - gateway - b. Runs the compiled code, because
 * worker threads need it. Needs root and /dev/net/tun; says so when it has to skip.
 */
import { type ChildProcessWithoutNullStreams, execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const PREFIX = `dpt${process.pid}`;
const GATEWAY = `${PREFIX}g`;
const NEAR = `${PREFIX}a`;
const FAR = `${PREFIX}b`;
const AGENT = fileURLToPath(new URL('./datapath-agent.mjs', import.meta.url));
const PEER = fileURLToPath(new URL('./datapath-peer.mjs', import.meta.url));
const TUN = 'tcpfrtest0';

function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'no /dev/net/tun';
  }
  return undefined;
}

const lack = missing();
if (lack !== undefined) console.warn(`skipping the datapath on a real TUN: ${lack}`);

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

interface Answer {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: string; readonly line: string };
}

interface ExitNotice {
  readonly code: string | null;
  readonly message?: string;
}

/** A process in the gateway's namespace that holds a datapath. */
class Agent {
  readonly child: ChildProcessWithoutNullStreams;
  readonly exitNotice: Promise<ExitNotice>;
  readonly ended: Promise<number | null>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;
  #errors = '';

  /** @param wrapper a command to run it under, e.g. one that drops privileges */
  constructor(wrapper: readonly string[] = []) {
    const argv = ['netns', 'exec', GATEWAY, ...wrapper, process.execPath, AGENT];
    this.child = spawn('ip', argv, { stdio: 'pipe' });
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.#errors += chunk.toString();
    });
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
    this.exitNotice = new Promise((resolve) => {
      createInterface({ input: this.child.stdout }).on('line', (text) => {
        const message = JSON.parse(text) as Answer & { id?: number; exited?: boolean } & ExitNotice;
        if (message.exited) resolve(message);
        else this.#waiting.get(message.id!)?.(message);
      });
    });
    void this.ended.then((code) => {
      for (const answer of this.#waiting.values()) {
        answer({ error: { code: 'AGENT_ENDED', line: `agent ended with ${code}: ${this.#errors}` } });
      }
    });
  }

  async ask(op: string, more: Record<string, unknown> = {}): Promise<Answer> {
    const id = this.#nextId++;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.child.stdin.write(`${JSON.stringify({ id, op, ...more })}\n`);
    return await answer;
  }

  async get(op: string, more: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const { result, error } = await this.ask(op, more);
    if (result === undefined) throw new Error(`${op}: ${error?.line}`);
    return result;
  }

  async start(options: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    return await this.get('start', { options: { tun: { name: TUN }, ...options } });
  }

  /** Waits until a link event like this has been reported. */
  async linkEvent(match: Record<string, unknown>): Promise<void> {
    for (let i = 0; i < 500; i++) {
      const links = (await this.get('links')) as unknown as Record<string, unknown>[];
      if (links.some((event) => Object.entries(match).every(([key, value]) => event[key] === value))) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`no link event ${JSON.stringify(match)}`);
  }
}

const agents: Agent[] = [];

function agent(wrapper: readonly string[] = []): Agent {
  const made = new Agent(wrapper);
  agents.push(made);
  return made;
}

function tunExists(): boolean {
  return ip('-n', GATEWAY, '-br', 'link').includes(TUN);
}

/** Sends what the interfaces receive through the TUN, as the gateway does. */
function steer(): void {
  ip('-n', GATEWAY, 'link', 'set', TUN, 'up');
  execFileSync('ip', ['netns', 'exec', GATEWAY, 'sysctl', '-qw', `net.ipv4.conf.${TUN}.rp_filter=0`]);
  for (const family of ['-4', '-6']) ip('-n', GATEWAY, family, 'route', 'add', 'default', 'dev', TUN, 'table', '100');
}

async function transfer(address: string, bytes: number): Promise<{ sent: unknown; received: unknown }> {
  const server = spawn('ip', ['netns', 'exec', FAR, process.execPath, PEER, 'serve', address, '5001']);
  const lines: string[] = [];
  const reader = createInterface({ input: server.stdout });
  const done = new Promise<void>((resolve) => server.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve) =>
      reader.on('line', (text) => {
        lines.push(text);
        if (text === 'listening') resolve();
      }),
    );
    const sender = ['netns', 'exec', NEAR, process.execPath, PEER, 'send', address, '5001', String(bytes)];
    const { stdout } = await run('ip', sender, { timeout: 60_000 });
    await done;
    return { sent: JSON.parse(stdout) as unknown, received: JSON.parse(lines.at(-1)!) as unknown };
  } finally {
    server.kill('SIGKILL');
  }
}

describe.skipIf(lack !== undefined)('the datapath on a real TUN device', () => {
  beforeAll(() => {
    for (const name of [GATEWAY, NEAR, FAR]) {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    for (const [end, port, net] of [
      [NEAR, 'lan0', 1],
      [FAR, 'wan0', 2],
    ] as const) {
      ip('link', 'add', port, 'netns', GATEWAY, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', end);
      ip('-n', GATEWAY, 'addr', 'add', `10.72.${net}.1/24`, 'dev', port);
      ip('-n', GATEWAY, 'addr', 'add', `fd72:${net}::1/64`, 'dev', port, 'nodad');
      ip('-n', GATEWAY, 'link', 'set', port, 'up');
      ip('-n', end, 'addr', 'add', `10.72.${net}.2/24`, 'dev', 'eth0');
      ip('-n', end, 'addr', 'add', `fd72:${net}::2/64`, 'dev', 'eth0', 'nodad');
      ip('-n', end, 'link', 'set', 'eth0', 'up');
      ip('-n', end, 'route', 'add', 'default', 'via', `10.72.${net}.1`);
      ip('-n', end, '-6', 'route', 'add', 'default', 'via', `fd72:${net}::1`);
      for (const family of ['-4', '-6']) {
        ip('-n', GATEWAY, family, 'rule', 'add', 'iif', port, 'ipproto', 'tcp', 'lookup', '100');
      }
    }
    const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
    execFileSync('ip', ['netns', 'exec', GATEWAY, 'sysctl', '-qw', ...forwarding]);
  });

  afterEach(async () => {
    for (const made of agents.splice(0)) {
      made.child.kill('SIGKILL');
      await made.ended;
    }
  });

  afterAll(() => {
    for (const name of [GATEWAY, NEAR, FAR]) ip('netns', 'del', name);
  });

  test.each([
    ['IPv4 with offloads', '10.72.2.2', {}],
    ['IPv6 with offloads', 'fd72:2::2', {}],
    ['IPv4 without the virtio-net header', '10.72.2.2', { tun: { name: TUN, vnetHeader: false } }],
    ['IPv6 with the header but no offload', 'fd72:2::2', { tun: { name: TUN, offloads: false } }],
  ])('carries a transfer unharmed: %s', async (_how, address, options) => {
    const gateway = agent();
    expect(await gateway.start(options)).toEqual({ name: TUN, degraded: [] });
    steer();
    const bytes = 64 << 20;
    const { sent, received } = await transfer(address, bytes);
    expect(received).toEqual(sent);
    // Everything went through the device, and nothing was refused on the way back.
    const [device] = JSON.parse(ip('-n', GATEWAY, '-s', '-j', 'link', 'show', TUN)) as {
      stats64: { tx: { bytes: number }; rx: { bytes: number } };
    }[];
    expect(device!.stats64.tx.bytes).toBeGreaterThan(bytes);
    expect(device!.stats64.rx.bytes).toBeGreaterThan(bytes);
    expect(await gateway.get('counters')).toMatchObject({ readErrors: 0, writeErrors: 0, writeDropped: 0 });
    await gateway.get('stop');
    expect(tunExists()).toBe(false);
  });

  test('answers commands while it sleeps', async () => {
    const gateway = agent();
    await gateway.start();
    for (let i = 0; i < 50; i++) {
      expect(await gateway.get('command', { command: { kind: 'status' } })).toHaveProperty('kind');
    }
  });

  test.each([['down'], ['up']])('uses no processor time when idle, the device being %s', async (state) => {
    const gateway = agent();
    await gateway.start();
    ip('-n', GATEWAY, 'link', 'set', TUN, state);
    await gateway.linkEvent({ kind: 'interface', name: TUN, up: state === 'up' });
    const before = (await gateway.get('cpu')).micros as number;
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const used = ((await gateway.get('cpu')).micros as number) - before;
    expect(used).toBeLessThan(30_000);
  });

  test('reports links, addresses and routes as they change', async () => {
    const gateway = agent();
    await gateway.start();
    await gateway.linkEvent({ kind: 'interface', name: 'wan0', up: true, carrier: true, operState: 6 });
    await gateway.linkEvent({ kind: 'address', name: 'wan0', address: '10.72.2.1', present: true });
    const gatewayOf = { kind: 'route', destination: '10.9.0.0', prefixLength: 16, metric: 7 };
    ip('-n', GATEWAY, 'link', 'add', 'extra0', 'type', 'veth', 'peer', 'name', 'extra1');
    ip('-n', GATEWAY, 'link', 'set', 'extra0', 'up');
    ip('-n', GATEWAY, 'addr', 'add', '10.73.0.1/24', 'dev', 'extra0');
    ip('-n', GATEWAY, 'route', 'add', '10.9.0.0/16', 'via', '10.73.0.2', 'metric', '7');
    await gateway.linkEvent({ ...gatewayOf, name: 'extra0', present: true });
    // The last address goes, and the kernel drops the route behind it without a word.
    ip('-n', GATEWAY, 'addr', 'del', '10.73.0.1/24', 'dev', 'extra0');
    await gateway.linkEvent({ kind: 'address', name: 'extra0', address: '10.73.0.1', present: false });
    expect(ip('-n', GATEWAY, 'route', 'show', '10.9.0.0/16')).toBe('');
    await gateway.linkEvent({ ...gatewayOf, name: 'extra0', present: false });
    ip('-n', GATEWAY, 'link', 'del', 'extra0');
    await gateway.linkEvent({ kind: 'interface-gone', name: 'extra0' });
  });

  test('notices lost route messages and reads the routes again', async () => {
    const gateway = agent();
    const count = 60_000;
    const result = await gateway.get('overrun', { count });
    expect(result).toMatchObject({ status: 0, routes: count / 2 });
    expect(result.overruns).toBeGreaterThan(0);
    ip('-n', GATEWAY, 'link', 'set', 'lan0', 'down');
    ip('-n', GATEWAY, 'link', 'set', 'lan0', 'up');
  });

  test('a device deleted by someone else ends it with that reason', async () => {
    const gateway = agent();
    await gateway.start();
    ip('-n', GATEWAY, 'link', 'del', TUN);
    expect(await gateway.exitNotice).toMatchObject({ code: 'TUN_GONE' });
    const { error } = await gateway.ask('command', { command: { kind: 'status' } });
    expect(error?.code).toBe('TUN_GONE');
  });

  test('a worker that fails at its start takes the device with it and says why', async () => {
    const { error } = await agent().ask('start', { options: { tun: { name: TUN }, arenaBytes: 4096 } });
    expect(error?.code).toBe('DATAPATH_FAILED');
    expect(tunExists()).toBe(false);
  });

  test('a worker that fails later does, too, and open commands hear of it', async () => {
    const gateway = agent();
    await gateway.start();
    // Not a command that the types allow: the programmer's error that ends the worker.
    const { error } = await gateway.ask('command', { command: { kind: 'freeze', selector: null } });
    expect(error?.code).toBe('DATAPATH_FAILED');
    expect((await gateway.exitNotice).message).toMatch(/null/);
    expect(tunExists()).toBe(false);
  });

  test('killed, it leaves nothing and traffic flows on through the kernel', async () => {
    const gateway = agent();
    await gateway.start();
    steer();
    expect(tunExists()).toBe(true);
    gateway.child.kill('SIGKILL');
    await gateway.ended;
    for (let i = 0; i < 100 && tunExists(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(tunExists()).toBe(false);
    expect(ip('-n', GATEWAY, 'route', 'show', 'table', 'all')).not.toContain(TUN);
    const { sent, received } = await transfer('10.72.2.2', 1 << 20);
    expect(received).toEqual(sent);
  });

  test('process.exit does not wait for the sleeping worker', async () => {
    const gateway = agent();
    await gateway.start();
    gateway.child.stdin.write(`${JSON.stringify({ id: 99, op: 'exit', code: 7 })}\n`);
    expect(await gateway.ended).toBe(7);
    expect(tunExists()).toBe(false);
  });

  describe('bad surroundings end in one line with a remedy', () => {
    const start = async (wrapper: readonly string[], name = TUN): Promise<Answer['error']> =>
      (await agent(wrapper).ask('start', { options: { tun: { name } } })).error;

    test('a name in use, by whatever device', async () => {
      await agent().start();
      for (const name of [TUN, 'lan0']) {
        const error = await start([], name);
        expect(error?.code).toBe('TUN_NAME_IN_USE');
        expect(error?.line).toMatch(new RegExp(`^an interface ${name} exists already; .*choose another`));
      }
    });

    test('no permission for the device node', async () => {
      const error = await start(['setpriv', '--reuid', '65534', '--clear-groups']);
      // Where the node is world-writable, it is the device that is refused: the same advice.
      expect(error?.code).toBe('TUN_FORBIDDEN');
      expect(error?.line).toContain('run as root');
    });

    test('root without CAP_NET_ADMIN', async () => {
      const error = await start(['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin']);
      expect(error?.code).toBe('TUN_FORBIDDEN');
      expect(error?.line).toContain('CAP_NET_ADMIN');
    });

    test('no /dev/net/tun', async () => {
      const script = 'mount -t tmpfs none /dev/net && exec "$@"';
      const error = await start(['unshare', '-m', 'sh', '-c', script, 'sh']);
      expect(error?.code).toBe('TUN_MISSING');
      expect(error?.line).toContain('modprobe tun');
    });

    test('an impossible name', async () => {
      expect((await start([], 'a name that is too long'))?.code).toBe('TUN_NAME_INVALID');
    });
  });
});
