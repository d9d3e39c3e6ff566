/**
 * Probes of the TUN driver: what the datapath assumes of it, tried out. Two devices with the kernel forwarding between
 * them stand for the network: what is written to one is read from the other.
 */
import { execFileSync, spawn } from 'node:child_process';
import { addressOf, close, ioctl, MADV_HUGEPAGE, madvise, POLLERR, POLLIN, PollSet, read, write } from './libc.ts';
import { openTun, type Tun, type TunOptions } from './tun.ts';

/** _IOR('T', 215, int). */
const TUNGETVNETHDRSZ = 0x800454d7;

/** struct virtio_net_hdr: flags, gso_type, then hdr_len, gso_size, csum_start, csum_offset (uapi/linux/virtio_net.h). */
const VNET_HEADER = 10;
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const IP_HEADER = 20;
const TCP_HEADER = 20;
const SEGMENT = 1460;
const ROOM = 12 + 65_535;

export type Probe = readonly [name: string, run: () => string | Promise<string>];

export const TUN_PROBES: readonly Probe[] = [
  ['TUN grants header and offloads', offloadsGranted],
  ['TUN header is 10 bytes', headerSize],
  ['TUN name in use is refused', exclusive],
  ['TUN idle is silent in poll', silentWhenIdle],
  ['TUN deleted shows in poll', deletedShows],
  ['TUN vanishes with its process, and its routes', vanishes],
  ['TUN passes super-packets whole', superPackets],
  ['TUN without offloads gets them split', splitWithoutOffloads],
  ['arena as read buffer', arenaCost],
];

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

function withTun<T>(options: TunOptions, use: (tun: Tun) => T): T {
  const tun = openTun(options);
  try {
    return use(tun);
  } finally {
    close(tun.fd);
  }
}

function offloadsGranted(): string {
  return withTun({ name: 'probe%d' }, (tun) => {
    check(tun.degraded.length === 0, tun.degraded.join(', '));
    return `${tun.name}: IFF_VNET_HDR, CSUM|TSO4|TSO6|TSO_ECN`;
  });
}

function headerSize(): string {
  return withTun({ name: 'probe%d' }, (tun) => {
    const size = new Int32Array(1);
    check(ioctl(tun.fd, TUNGETVNETHDRSZ, addressOf(size)) >= 0, 'TUNGETVNETHDRSZ refused');
    check(size[0] === VNET_HEADER, `it is ${size[0]} bytes`);
    return 'as assumed';
  });
}

function exclusive(): string {
  return withTun({ name: 'probe%d' }, (tun) => {
    try {
      close(openTun({ name: tun.name }).fd);
    } catch {
      return 'EBUSY, also for one not persistent';
    }
    throw new Error('a second process could attach to the device');
  });
}

function silentWhenIdle(): string {
  return withTun({ name: 'probe%d' }, (tun) => {
    const set = new PollSet(1);
    set.add(tun.fd, POLLIN);
    const down = set.wait(20_000);
    ip('link', 'set', tun.name, 'up');
    ip('link', 'set', tun.name, 'down');
    drain(tun.fd);
    const downAgain = set.wait(20_000);
    check(down === 0 && downAgain === 0, `poll returned ${down} before and ${downAgain} after it was up`);
    return 'no event while down: waiting does not spin';
  });
}

function deletedShows(): string {
  return withTun({ name: 'probe%d' }, (tun) => {
    ip('link', 'del', tun.name);
    const set = new PollSet(1);
    const slot = set.add(tun.fd, POLLIN);
    set.wait(1_000_000);
    check((set.revents(slot) & POLLERR) !== 0, `revents is ${set.revents(slot)}`);
    return 'POLLERR';
  });
}

async function vanishes(): Promise<string> {
  const source = `const { openTun } = await import(${JSON.stringify(new URL('./tun.js', import.meta.url).href)});
    openTun({ name: 'probegone' }); console.log('open'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  ip('link', 'set', 'probegone', 'up');
  ip('route', 'add', 'default', 'dev', 'probegone', 'table', '100');
  const started = performance.now();
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('close', resolve));
  while (ip('-br', 'link').includes('probegone') || ip('route', 'show', 'table', 'all').includes('probegone')) {
    check(performance.now() - started < 2_000, 'still there after 2 s');
  }
  return `${(performance.now() - started).toFixed(0)} ms after SIGKILL`;
}

/** Two TUN devices, forwarding between them; calls `use` with both up. */
function withPair<T>(second: Omit<TunOptions, 'name'>, use: (from: Tun, to: Tun) => T): T {
  return withTun({ name: 'probea' }, (from) =>
    withTun({ name: 'probeb', ...second }, (to) => {
      execFileSync('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.probea.rp_filter=0']);
      // A new interface solicits IPv6 routers after a while (RFC 4861 6.3.7): among the probe's packets. Without IPv6 it cannot.
      execFileSync('sysctl', ['-qew', ...['probea', 'probeb'].map((name) => `net.ipv6.conf.${name}.disable_ipv6=1`)]);
      for (const [name, net] of [
        ['probea', 1],
        ['probeb', 2],
      ]) {
        ip('addr', 'add', `10.80.${net}.1/24`, 'dev', String(name));
        ip('link', 'set', String(name), 'up', 'txqueuelen', '2000');
      }
      drain(to.fd);
      return use(from, to);
    }),
  );
}

function drain(fd: number): void {
  const memory = new Uint8Array(ROOM);
  while (read(fd, addressOf(memory), ROOM) > 0);
}

/** A TCP data segment from 10.80.1.2 to 10.80.2.2 as the stack hands it to a TUN with offloads: checksum partial. */
function superPacket(payload: number): Uint8Array {
  const bytes = new Uint8Array(VNET_HEADER + IP_HEADER + TCP_HEADER + payload);
  const view = new DataView(bytes.buffer);
  const host = new Uint16Array(bytes.buffer, 0, 5);
  bytes[0] = NEEDS_CSUM;
  bytes[1] = GSO_TCPV4;
  // The virtio header is in host order (legacy interface).
  host[1] = IP_HEADER + TCP_HEADER;
  host[2] = SEGMENT;
  host[3] = IP_HEADER;
  host[4] = 16;
  const at = VNET_HEADER;
  view.setUint8(at, 0x45);
  view.setUint16(at + 2, bytes.length - VNET_HEADER);
  view.setUint16(at + 6, 0x4000);
  view.setUint8(at + 8, 64);
  view.setUint8(at + 9, 6);
  view.setUint32(at + 12, 0x0a500102);
  view.setUint32(at + 16, 0x0a500202);
  view.setUint16(at + 10, ~sum(view, at, IP_HEADER, 0) & 0xffff);
  const tcp = at + IP_HEADER;
  view.setUint16(tcp, 40_000);
  view.setUint16(tcp + 2, 5001);
  view.setUint8(tcp + 12, 0x50);
  view.setUint8(tcp + 13, 0x10);
  view.setUint16(tcp + 14, 0xffff);
  for (let i = tcp + TCP_HEADER; i < bytes.length; i++) bytes[i] = i * 31;
  // With VIRTIO_NET_HDR_F_NEEDS_CSUM the field holds the sum of the pseudo header, not inverted.
  view.setUint16(tcp + 16, sum(view, at + 12, 8, 6 + TCP_HEADER + payload));
  return bytes;
}

/** Ones' complement sum (RFC 1071) of an even number of bytes, folded to 16 bits. */
function sum(view: DataView, at: number, length: number, start: number): number {
  let total = start;
  for (let i = 0; i < length; i += 2) total += view.getUint16(at + i);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

function superPackets(): string {
  return withPair({}, (from, to) => {
    const packet = superPacket(60_000);
    check(write(from.fd, addressOf(packet), packet.length) === packet.length, 'the write was refused');
    const memory = new Uint8Array(ROOM);
    const length = read(to.fd, addressOf(memory), ROOM);
    check(length === packet.length, `${packet.length} bytes went in, ${length} came out`);
    check(memory[0] === NEEDS_CSUM && memory[1] === GSO_TCPV4, `flags ${memory[0]}, gso type ${memory[1]}`);
    const body = VNET_HEADER + IP_HEADER + TCP_HEADER;
    check(Buffer.from(memory.buffer, body, 60_000).equals(packet.subarray(body)), 'the payload differs');
    return `${length} bytes in one read, checksum still partial`;
  });
}

function splitWithoutOffloads(): string {
  return withPair({ offloads: false }, (from, to) => {
    const packet = superPacket(SEGMENT * 10);
    check(write(from.fd, addressOf(packet), packet.length) === packet.length, 'the write was refused');
    const memory = new Uint8Array(ROOM);
    const view = new DataView(memory.buffer);
    let count = 0;
    for (let length = read(to.fd, addressOf(memory), ROOM); length > 0; length = read(to.fd, addressOf(memory), ROOM)) {
      const tcpLength = length - VNET_HEADER - IP_HEADER;
      check(memory[0] === 0 && tcpLength === TCP_HEADER + SEGMENT, `flags ${memory[0]}, length ${length}`);
      const pseudo = sum(view, VNET_HEADER + 12, 8, 6 + tcpLength);
      check(sum(view, VNET_HEADER + IP_HEADER, tcpLength, pseudo) === 0xffff, 'bad checksum');
      count++;
    }
    check(count === 10, `${count} packets came out of 10`);
    return '10 segments of 1460 bytes, checksums complete';
  });
}

/** Time per super-packet written to one device and read from the other, into one hot buffer and into a ring. */
function arenaCost(): string {
  return withPair({}, (from, to) => {
    const packet = superPacket(60_000);
    const source = addressOf(packet);
    const ring = new ArrayBuffer(64 << 20);
    const huge = new ArrayBuffer(64 << 20);
    madvise(addressOf(huge), huge.byteLength, MADV_HUGEPAGE);
    const buffers = [
      { address: addressOf(ring), span: 0, best: Number.POSITIVE_INFINITY },
      { address: addressOf(ring), span: ring.byteLength - ROOM, best: Number.POSITIVE_INFINITY },
      { address: addressOf(huge), span: huge.byteLength - ROOM, best: Number.POSITIVE_INFINITY },
    ];
    // The first round touches all pages; the best of the others is the least disturbed by what else the machine does.
    for (let round = 0; round < 6; round++) {
      for (const buffer of buffers) {
        const started = performance.now();
        let at = 0;
        const count = 2_000;
        for (let i = 0; i < count; i++) {
          write(from.fd, source, packet.length);
          const length = read(to.fd, buffer.address + at, ROOM);
          check(length === packet.length, `read returned ${length}`);
          at += length;
          if (at > buffer.span) at = 0;
        }
        const micros = ((performance.now() - started) * 1000) / count;
        if (round > 0) buffer.best = Math.min(buffer.best, micros);
      }
    }
    const [hot, cold, wide] = buffers.map((buffer) => buffer.best) as [number, number, number];
    const gigabits = (micros: number): string => `${((packet.length * 8) / micros / 1000).toFixed(1)} Gb/s`;
    return `one hot buffer ${gigabits(hot)}, 64 MiB ring ${gigabits(cold)}, with huge pages ${gigabits(wide)}`;
  });
}
