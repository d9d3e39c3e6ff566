/**
 * What the packet taps hear on a real kernel, and echoes there and back: two namespaces of its own, joined by a veth pair. Runs
 * the compiled code. Needs root; says so when it has to skip.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dhcpMessage } from '../wire/dhcp-messages.ts';

const PREFIX = `tap${process.pid}`;
const HERE = `${PREFIX}a`;
const THERE = `${PREFIX}b`;
const AGENT = fileURLToPath(new URL('./taps-agent.mjs', import.meta.url));
const FLOOD = fileURLToPath(new URL('./taps-flood.mjs', import.meta.url));

const root = process.getuid?.() === 0;
if (!root) console.warn('skipping the packet taps: not root');

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function inside(namespace: string, program: string, ...args: string[]): string {
  return ip('netns', 'exec', namespace, program, ...args);
}

function plug(): void {
  ip(
    '-n',
    HERE,
    'link',
    'add',
    'eth0',
    'address',
    '02:00:00:00:81:01',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    THERE,
  );
  for (const [namespace, last] of [
    [HERE, 1],
    [THERE, 2],
  ] as const) {
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    ip('-n', namespace, 'address', 'add', `10.82.1.${last}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'address', 'add', `fd82:1::${last}/64`, 'dev', 'eth0', 'nodad');
  }
  ip('-n', HERE, 'route', 'add', '10.83.0.0/16', 'via', '10.82.1.2');
  ip('-n', HERE, 'route', 'add', 'fd83::/16', 'via', 'fd82:1::2');
}

const hasRawSocket = await import('raw-socket').then(
  () => true,
  () => false,
);
if (!hasRawSocket) console.warn('skipping echoes and the flood: raw-socket is not there (npm rebuild raw-socket)');

type Event = Readonly<Record<string, unknown>>;

class Agent {
  readonly child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, (answer: { events?: Event[]; counters: Record<string, number> }) => void>();
  #next = 1;

  constructor(role: string) {
    this.child = spawn('ip', ['netns', 'exec', HERE, process.execPath, AGENT, role], { stdio: 'pipe' });
    this.child.stderr.pipe(process.stderr);
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as { id: number; events?: Event[]; counters: Record<string, number> };
      this.#waiting.get(answer.id)?.(answer);
    });
  }

  ask(op: string, more: object = {}): Promise<{ events?: Event[]; counters: Record<string, number> }> {
    const id = this.#next++;
    const answer = new Promise<{ events?: Event[]; counters: Record<string, number> }>((resolve) =>
      this.#waiting.set(id, resolve),
    );
    this.child.stdin.write(`${JSON.stringify({ id, op, ...more })}\n`);
    return answer;
  }

  /** Waits for the first event like this; forgets what came before it. */
  async event(match: Event): Promise<Event> {
    const seen: Event[] = [];
    for (let i = 0; i < 500; i++) {
      const { events = [] } = await this.ask('events');
      for (const event of events) {
        seen.push(event);
        if (Object.entries(match).every(([key, value]) => event[key] === value)) return event;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`no event ${JSON.stringify(match)} among ${JSON.stringify(seen)}`);
  }

  end(): void {
    this.child.kill('SIGKILL');
  }
}

/** Sends UDP from THERE, as a DHCP server or client does. */
function sendUdp(srcPort: number, address: string, dstPort: number, payload: Uint8Array): void {
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.bind(${srcPort}, () => {
      socket.setBroadcast(true);
      socket.send(Buffer.from('${Buffer.from(payload).toString('hex')}', 'hex'), ${dstPort}, '${address}', () => socket.close());
    });`;
  inside(THERE, process.execPath, '-e', script);
}

describe.skipIf(!root)('taps and echoes on a real kernel', () => {
  let agent: Agent;
  beforeAll(async () => {
    for (const namespace of [HERE, THERE]) ip('netns', 'add', namespace);
    for (const namespace of [HERE, THERE]) {
      inside(namespace, 'sysctl', '-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0');
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
    inside(
      THERE,
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.icmp_ratelimit=0',
    );
    plug();
    ip('-n', THERE, 'route', 'add', 'unreachable', '10.83.0.0/16');
    ip('-n', THERE, '-6', 'route', 'add', 'unreachable', 'fd83::/16');
    agent = new Agent('lan');
    // It listens when it tells what there is.
    await agent.event({ kind: 'interface', name: 'eth0' });
  });
  afterAll(() => {
    agent.end();
    for (const namespace of [HERE, THERE]) ip('netns', 'delete', namespace);
  });

  test('ICMP errors of a real router are heard whole; echoes and other traffic are not', async () => {
    expect(() => inside(HERE, 'ping', '-c1', '-W1', '10.83.0.1')).toThrow();
    const { bytes } = await agent.event({ kind: 'icmp' });
    const packet = Buffer.from(bytes as string, 'hex');
    // IPv4, ICMP, host unreachable, quoting what was sent to 10.83.0.1.
    expect([packet[0], packet[9], packet[20], packet[21]]).toEqual([0x45, 1, 3, 1]);
    expect([...packet.subarray(44, 48)]).toEqual([10, 83, 0, 1]);
    expect(() => inside(HERE, 'ping', '-6', '-c1', '-W1', 'fd83::1')).toThrow();
    const six = Buffer.from((await agent.event({ kind: 'icmp' })).bytes as string, 'hex');
    expect([six[0]! >> 4, six[6], six[40]]).toEqual([6, 58, 1]);
    inside(HERE, 'ping', '-c2', '-i0.1', '10.82.1.2');
    inside(THERE, 'ping', '-c2', '-i0.1', '10.82.1.1');
    const { events = [] } = await agent.ask('events');
    expect(events.filter(({ kind }) => kind === 'icmp')).toEqual([]);
  });

  test('DHCP of a host is understood, broadcast and unicast', async () => {
    const request = dhcpMessage({ options: [53, 1, 3, 50, 4, 10, 82, 1, 9] });
    sendUdp(68, '10.82.1.255', 67, request);
    expect(await agent.event({ kind: 'dhcp' })).toMatchObject({
      lease: 'host',
      what: 'asking',
      name: 'eth0',
      address: '0a520109',
      hardware: '020000008107',
    });
    const release = dhcpMessage({ client: [10, 82, 1, 2], options: [53, 1, 7] });
    sendUdp(68, '10.82.1.1', 67, release);
    expect(await agent.event({ kind: 'dhcp' })).toMatchObject({ what: 'released', address: '0a520102' });
  });

  test.skipIf(!hasRawSocket)('echoes are answered, IPv4, IPv6 and link-local, within a millisecond or so', async () => {
    const mac = (/link\/ether (\S+)/.exec(ip('-n', THERE, 'link', 'show', 'eth0'))?.[1] ?? '').split(':');
    const eui = [
      (Number.parseInt(mac[0]!, 16) ^ 2).toString(16).padStart(2, '0'),
      mac[1],
      mac[2],
      'ff',
      'fe',
      ...mac.slice(3),
    ];
    const local = `fe80000000000000${eui.join('')}`;
    const fastest: number[] = [];
    for (const [family, address] of [
      [4, '0a520102'],
      [6, 'fd820001000000000000000000000002'],
      [6, local],
    ] as const) {
      const micros: number[] = [];
      for (let sequence = 1; sequence <= 20; sequence++) {
        await agent.ask('echo', { family, address, sequence: sequence + fastest.length * 100 });
        const reply = await agent.event({ kind: 'echo', sequence: sequence + fastest.length * 100 });
        expect(reply).toMatchObject({ outcome: 'reply', address, name: 'eth0' });
        micros.push(Number(reply.micros));
      }
      fastest.push(Math.min(...micros));
    }
    console.info(`echo there and back: ${fastest.join(', ')} us`);
    expect(Math.max(...fastest)).toBeLessThan(20_000);
  });

  test.skipIf(!hasRawSocket)(
    'an echo that has no route is told as unsendable, one to nobody is not answered',
    async () => {
      await agent.ask('echo', { family: 4, address: '0a520109', sequence: 900 });
      ip('-n', HERE, 'link', 'set', 'eth0', 'down');
      await agent.ask('echo', { family: 4, address: '0a520102', sequence: 901 });
      expect(await agent.event({ kind: 'echo' })).toMatchObject({ outcome: 'unsendable', sequence: 901 });
      ip('-n', HERE, 'link', 'set', 'eth0', 'up');
    },
  );

  test.skipIf(!hasRawSocket)(
    'an interface that comes back under another index is listened to again, and asked again',
    async () => {
      ip('-n', HERE, 'link', 'del', 'eth0');
      await agent.event({ kind: 'interface-gone', name: 'eth0' });
      plug();
      await agent.event({ kind: 'interface', name: 'eth0', operState: 6 });
      await agent.ask('echo', { family: 4, address: '0a520102', sequence: 950 });
      await agent.event({ kind: 'echo', sequence: 950, outcome: 'reply' });
      expect(() => inside(HERE, 'ping', '-c1', '-W1', '10.83.0.1')).toThrow();
      await agent.event({ kind: 'icmp' });
    },
  );

  test.skipIf(!hasRawSocket)('of a flood only so much is read', async () => {
    const before = (await agent.ask('events')).counters;
    const flood = spawn('ip', ['netns', 'exec', THERE, process.execPath, FLOOD, '10.82.1.1', '2000'], {
      stdio: 'pipe',
    });
    const sent = await new Promise<number>((resolve) => {
      let text = '';
      flood.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      flood.once('close', () => resolve(Number(text)));
    });
    const { counters } = await agent.ask('events');
    const heard = counters.icmpHeard! - before.icmpHeard!;
    console.info(`flood of ${sent} ICMP errors in 2 s: ${heard} read`);
    expect(sent).toBeGreaterThan(5_000);
    // A burst of 128 and 400 a second, for two seconds and what the buffer still held.
    expect(heard).toBeGreaterThan(200);
    expect(heard).toBeLessThan(2_000);
    expect(counters.tapPauses! - before.tapPauses!).toBeGreaterThan(2);
  });
});
