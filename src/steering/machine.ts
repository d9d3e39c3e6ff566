/**
 * What the machine must offer before anything is changed on it.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { run } from './command.ts';

/** Bit numbers of linux/capability.h. */
export const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13 } as const;

export const TUN_DEVICE = '/dev/net/tun';

/**
 * Capabilities that this process, and the programs it starts, lack. A process that is not root hands only its ambient
 * capabilities on to `ip` and `nft` (capabilities(7)).
 */
export function missingCapabilities(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = capabilityBits(status, 'CapEff');
  const handedOn = process.geteuid?.() === 0 ? effective : effective & capabilityBits(status, 'CapAmb');
  return Object.entries(CAPABILITIES)
    .filter(([, bit]) => (handedOn & (1n << BigInt(bit))) === 0n)
    .map(([name]) => name);
}

function capabilityBits(status: string, field: string): bigint {
  const match = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status);
  return match === null ? 0n : BigInt(`0x${match[1]}`);
}

/** @throws TcpfreezeError NOT_PERMITTED */
export function assertCapable(): void {
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new TcpfreezeError(
    'NOT_PERMITTED',
    `tcpfreeze run needs ${missing.join(' and ')}`,
    'run it as root, or as a service with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW',
  );
}

/** @throws TcpfreezeError TUN_MISSING */
export function assertTunDevice(): void {
  const problem = tunDeviceProblem();
  if (problem !== null) throw problem;
}

/** What is wrong with /dev/net/tun; null: nothing. */
export function tunDeviceProblem(): TcpfreezeError | null {
  if (!existsSync(TUN_DEVICE)) {
    return new TcpfreezeError(
      'TUN_MISSING',
      `there is no ${TUN_DEVICE}`,
      `load the driver: modprobe tun (in a container: --device ${TUN_DEVICE}), or make it: mkdir -p /dev/net && mknod ${TUN_DEVICE} c 10 200`,
    );
  }
  try {
    accessSync(TUN_DEVICE, constants.R_OK | constants.W_OK);
    return null;
  } catch {
    return new TcpfreezeError(
      'TUN_MISSING',
      `${TUN_DEVICE} may not be opened`,
      `run as root, or: chmod 666 ${TUN_DEVICE}`,
    );
  }
}

export interface Interface {
  readonly name: string;
  readonly mtu: number;
  readonly loopback: boolean;
}

/** The network interfaces of this namespace. @throws TcpfreezeError PROGRAM_MISSING, PROGRAM_FAILED */
export async function listInterfaces(): Promise<Interface[]> {
  const entries = JSON.parse(await run('ip', ['-j', 'link', 'show'])) as Record<string, unknown>[];
  return entries.map((entry) => ({
    name: String(entry.ifname),
    mtu: Number(entry.mtu),
    loopback: entry.link_type === 'loopback',
  }));
}

/**
 * The named interfaces.
 * @throws TcpfreezeError INTERFACE_UNKNOWN, INTERFACE_UNFIT
 */
export async function findInterfaces(names: readonly string[]): Promise<Interface[]> {
  const there = await listInterfaces();
  return names.map((name) => {
    const found = there.find((candidate) => candidate.name === name);
    if (found === undefined) {
      const others = there.filter((candidate) => !candidate.loopback).map((candidate) => candidate.name);
      throw new TcpfreezeError(
        'INTERFACE_UNKNOWN',
        `there is no interface ${name}`,
        others.length === 0 ? 'this network namespace has none but lo' : `there are: ${others.join(', ')}`,
      );
    }
    if (found.loopback) {
      throw new TcpfreezeError(
        'INTERFACE_UNFIT',
        `${name} is the loopback interface`,
        'name one that leads to a network',
      );
    }
    return found;
  });
}
