/**
 * What the steering does to a machine, on a real kernel: full dumps of its network configuration before and after,
 * translation, source validation, killed processes. Runs against dist/.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { childrenOf } from '../../src/lab/process-gauge.ts';
import { HOST, type Program, Router, SERVER, SERVER6 } from '../steering/router.ts';

const able = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!able) console.warn('steering tests skipped: they need root and /dev/net/tun');

const PEER = resolve(import.meta.dirname, '../steering/peer.mjs');
const DETOUR = resolve(import.meta.dirname, '../steering/detour.mjs');

let router: Router;
let directory: string;
let control: string;

/** A connection from the host to the server, both ends at hand. */
async function connection(address: string, port: number): Promise<{ near: Program; far: Program }> {
  const far = router.start(router.server, process.execPath, [PEER, 'listen', address, String(port)]);
  await far.said(/listening/);
  const near = router.start(router.host, process.execPath, [PEER, 'connect', address, String(port)]);
  await near.said(/connected/);
  await far.said(/accepted/);
  return { near, far };
}

/** A line each way. */
async function exchange({ near, far }: { near: Program; far: Program }, word: string): Promise<void> {
  near.send(`${word}-up`);
  await far.said(new RegExp(`got ${word}-up`));
  far.send(`${word}-down`);
  await near.said(new RegExp(`got ${word}-down`));
}

async function nftTables(): Promise<string> {
  return router.gateway.exec('nft', ['list', 'tables']);
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

describe.skipIf(!able)('steering', () => {
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-steering-'));
    control = join(directory, 'control.sock');
    router = await Router.create();
  });

  afterEach(async () => {
    await router.dispose();
    rmSync(directory, { recursive: true });
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('after %s everything is as it was', async (signal) => {
    const before = await router.dump();
    const gateway = await router.run(['--control', control]);
    expect(await router.dump()).not.toBe(before);
    await exchange(await connection(SERVER, 7001), 'four');
    await exchange(await connection(SERVER6, 7001), 'six');
    gateway.signal(signal);
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
    expect(existsSync(control)).toBe(false);
  });

  test('TCP of both families takes the detour, other traffic and that of the gateway itself does not', async () => {
    await router.run(['--control', control]);
    const counted = async (): Promise<number> => {
      const { stdout } = await router.cli(['status', '--json', '--control', control]);
      return (JSON.parse(stdout) as { counters: { packets: number } }).counters.packets;
    };
    const start = await counted();
    await router.host.exec('ping', ['-c', '2', '-i', '0.1', SERVER]);
    await router.gateway.exec('ping', ['-c', '2', '-i', '0.1', SERVER]);
    // A connection to the gateway itself, from the LAN, and one from the gateway.
    const own = router.start(router.gateway, process.execPath, [PEER, 'listen', '10.82.1.1', '7002']);
    await own.said(/listening/);
    const toOwn = router.start(router.host, process.execPath, [PEER, 'connect', '10.82.1.1', '7002']);
    await toOwn.said(/connected/);
    await exchange({ near: toOwn, far: own }, 'own');
    expect(await counted()).toBe(start);
    await exchange(await connection(SERVER, 7001), 'four');
    const four = await counted();
    expect(four).toBeGreaterThan(start);
    await exchange(await connection(SERVER6, 7001), 'six');
    expect(await counted()).toBeGreaterThan(four);
  });

  test('kill -9: connections go on through the kernel, translation included; the next run cleans up', async () => {
    await router.masquerade();
    const before = await router.dump();
    const gateway = await router.run(['--control', control]);
    const established = await connection(SERVER, 7001);
    await exchange(established, 'before');
    gateway.signal('SIGKILL');
    await gateway.exited;
    await exchange(established, 'killed');
    await until('the nftables table is gone', async () => !(await nftTables()).includes('inet tcpfreeze'));
    const later = await connection(SERVER, 7002);
    await exchange(later, 'new');
    expect(later.far.output).toContain('accepted 10.82.2.1');
    // The rules are all that is left.
    const rules = /^\d+:\tfrom all iif \S+ ipproto tcp lookup 7100 proto 211 *\n/gm;
    const left = await router.dump();
    expect(left.match(rules)).toHaveLength(4);
    expect(left.replace(rules, '')).toBe(before);
    const next = await router.run(['--control', control]);
    expect(next.output.match(/left-over/g)).toHaveLength(4);
    await exchange(established, 'again');
    next.signal('SIGTERM');
    expect(await next.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('without owned tables: a plain one that goes by itself when the gateway is killed', async () => {
    await router.masquerade();
    const before = await router.dump();
    const nft = (await router.gateway.exec('which', ['nft'])).trim();
    writeFileSync(
      join(directory, 'nft'),
      `#!/bin/sh\nif [ "$1" = -i ]; then echo 'Error: Could not process rule: Operation not supported' >&2; exit 1; fi\nexec ${nft} "$@"\n`,
      { mode: 0o755 },
    );
    const gateway = await router.run(['--control', control], { PATH: `${directory}:${process.env.PATH}` });
    expect(gateway.output).toContain('"nftables":"plain"');
    expect(gateway.output).toContain('cannot be tied to this process');
    const established = await connection(SERVER, 7001);
    await exchange(established, 'before');
    gateway.signal('SIGKILL');
    await gateway.exited;
    const lanSet = (): Promise<string> => router.gateway.exec('nft', ['list', 'set', 'inet', 'tcpfreeze', 'lan']);
    expect(await lanSet()).toContain('lan0');
    await until('the LAN interfaces have dropped out of the set', async () => !(await lanSet()).includes('lan0'));
    await exchange(await connection(SERVER, 7002), 'new');
    const next = await router.run(['--control', control]);
    expect(next.output).toContain('left-over of an earlier run: nftables table');
    next.signal('SIGTERM');
    expect(await next.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('the TUN deleted by somebody: traffic goes on, the datapath comes back', async () => {
    const before = await router.dump();
    const gateway = await router.run(['--control', control]);
    const established = await connection(SERVER, 7001);
    await exchange(established, 'before');
    const seen = gateway.output.length;
    await router.gateway.ip('link', 'delete', 'tcpfreeze0');
    await exchange(established, 'deleted');
    await gateway.said(/"msg":"ready"/, seen);
    expect(gateway.output.slice(seen)).toContain('datapath-failed');
    await exchange(established, 'again');
    const events = await router.cli(['events', '--control', control]);
    expect(events.stdout).toMatch(/datapath-failed[\s\S]*datapath-restarted/);
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('rules and routes that somebody removed are put back', async () => {
    const before = await router.dump();
    const detour = router.start(router.gateway, process.execPath, [DETOUR]);
    await detour.said(/ready owner/);
    const complete = await router.gateway.ip('rule');
    await router.gateway.ip('rule', 'del', 'iif', 'wan0', 'ipproto', 'tcp', 'lookup', '7100');
    await router.gateway.ip('-6', 'route', 'flush', 'table', '7100');
    detour.send('repair');
    expect(await detour.said(/repaired .*/)).toBe('repaired IPv4 rule for wan0, IPv6 route to detour0');
    expect(await router.gateway.ip('rule')).toBe(complete);
    await exchange(await connection(SERVER6, 7001), 'six');
    detour.send('stop');
    expect(await detour.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  test('killed: the nftables table goes after the TUN, not before', async () => {
    // What is tracked on its way into a TUN loses its translation. A TUN that is held by another process shows the order.
    const detour = router.start(router.gateway, process.execPath, [DETOUR]);
    await detour.said(/ready owner/);
    detour.send('hold');
    await detour.said(/done hold/);
    detour.signal('SIGKILL');
    await detour.exited;
    for (let look = 0; look < 5; look++) expect(await nftTables()).toContain('inet tcpfreeze');
    await router.gateway.ip('link', 'delete', 'detour0');
    await until('the table is gone', async () => !(await nftTables()).includes('inet tcpfreeze'));
  });

  test('ended by a signal to all its processes, as a service manager does: the table stays until the rules are gone', async () => {
    const before = await router.dump();
    const detour = router.start(router.gateway, process.execPath, [DETOUR]);
    await detour.said(/ready owner/);
    const children = childrenOf(detour.child.pid!);
    expect(children.length).toBeGreaterThanOrEqual(2);
    for (const pid of children) process.kill(pid, 'SIGTERM');
    await new Promise((done) => setTimeout(done, 300));
    expect(childrenOf(detour.child.pid!)).toEqual(children);
    expect(await nftTables()).toContain('inet tcpfreeze');
    detour.send('stop');
    expect(await detour.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });

  describe('a far segment that comes first after masquerade forgot its connection', () => {
    async function farFirst(lost: boolean): Promise<{ near: Program; far: Program; counters: () => Promise<string> }> {
      await router.masquerade();
      const detour = router.start(router.gateway, process.execPath, [DETOUR]);
      await detour.said(/ready owner/);
      const ends = await connection(SERVER, 7001);
      await exchange(ends, 'before');
      if (lost) {
        detour.send('lost wan0');
        await detour.said(/done lost/);
      }
      // What the kernel does when the interface goes down, without the rest of it.
      await router.gateway.exec('conntrack', ['-D', '-p', 'tcp']);
      ends.far.send('first');
      return { ...ends, counters: () => router.gateway.exec('nft', ['list', 'chain', 'inet', 'tcpfreeze', 'input']) };
    }

    test('is answered with a reset by a router left to itself', async () => {
      const { far } = await farFirst(false);
      await far.said(/error ECONNRESET/);
    });

    test('does no harm while the link counts as lost: the near side takes the connection up again', async () => {
      const { near, far, counters } = await farFirst(true);
      await until('the segment was dropped', async () => / packets [1-9]/.test(await counters()));
      near.send('second');
      await far.said(/got second/);
      await near.said(/got first/);
      expect(far.output).not.toContain('error');
    });
  });

  describe('segments written in the name of an address that has no route', () => {
    // 203.0.113.9 port 80 to the host port 5555, and an ICMP net unreachable; the checksums are right.
    const packets = { tcp: ipv4(6, tcpSegment()), icmp: ipv4(1, [3, 0, 0xfc, 0xff, 0, 0, 0, 0]) };

    test.each([
      [0, 'tcp'],
      [0, 'icmp'],
      [1, 'tcp'],
      [1, 'icmp'],
      [2, 'tcp'],
      [2, 'icmp'],
    ] as const)('reach the host with rp_filter=%i: %s', async (filter, kind) => {
      await router.gateway.sysctl({ 'net.ipv4.conf.all.rp_filter': filter });
      const before = await router.dump();
      const detour = router.start(router.gateway, process.execPath, [DETOUR]);
      await detour.said(/ready/);
      const sniffer = router.start(router.host, 'tcpdump', [
        '-nn',
        '-l',
        '-c',
        '1',
        '-i',
        'eth0',
        'src',
        '203.0.113.9',
      ]);
      await sniffer.said(/listening on/);
      detour.send(`inject ${packets[kind]}`);
      await sniffer.said(/IP 203\.0\.113\.9.* > 10\.82\.1\.2/);
      detour.send('stop');
      expect(await detour.exited).toBe(0);
      expect(await router.dump()).toBe(before);
    });
  });
});

function tcpSegment(): number[] {
  const header = [0, 80, 0x15, 0xb3, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0, 0, 0, 0];
  const pseudo = [203, 0, 113, 9, ...HOST.split('.').map(Number), 0, 6, 0, header.length];
  const sum = checksum([...pseudo, ...header]);
  header[16] = sum >> 8;
  header[17] = sum & 0xff;
  return header;
}

function ipv4(protocol: number, payload: number[]): string {
  const header = [
    0x45,
    0,
    0,
    20 + payload.length,
    0,
    1,
    0,
    0,
    64,
    protocol,
    0,
    0,
    203,
    0,
    113,
    9,
    ...HOST.split('.').map(Number),
  ];
  const sum = checksum(header);
  header[10] = sum >> 8;
  header[11] = sum & 0xff;
  return Buffer.from([...header, ...payload]).toString('hex');
}

function checksum(bytes: number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
