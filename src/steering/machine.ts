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
  /** What it is a port of: a bridge, a bond, a team; that is where its packets come in for the routing. */
  readonly upper?: { readonly kind: string; readonly name: string };
}

/** Kinds of interfaces that take the packets of their ports as their own. */
const UPPER_KINDS = ['bridge', 'bond', 'team'];

/** The network interfaces of this namespace. @throws TcpfreezeError PROGRAM_MISSING, PROGRAM_FAILED */
export async function listInterfaces(): Promise<Interface[]> {
  const entries = JSON.parse(await run('ip', ['-j', '-d', 'link', 'show'])) as Record<string, unknown>[];
  return entries.map((entry) => ({
    name: String(entry.ifname),
    mtu: Number(entry.mtu),
    loopback: entry.link_type === 'loopback',
    ...upperOf(entry),
  }));
}

function upperOf(entry: Record<string, unknown>): Pick<Interface, 'upper'> {
  const kind = (entry.linkinfo as { readonly info_slave_kind?: string } | undefined)?.info_slave_kind ?? '';
  return UPPER_KINDS.includes(kind) ? { upper: { kind, name: String(entry.master) } } : {};
}

/** Which of the named interfaces exist. */
export interface FoundInterfaces {
  readonly present: readonly Interface[];
  /** Those that may appear later: a modem that is not plugged in, a tunnel that is not up. */
  readonly absent: readonly string[];
  /** What there is instead, for whoever has misspelt a name. */
  readonly others: string;
}

/**
 * Looks the named interfaces up.
 * @throws TcpfreezeError INTERFACE_UNFIT, INTERFACE_NAME
 */
export async function findInterfaces(names: readonly string[]): Promise<FoundInterfaces> {
  const there = await listInterfaces();
  const present = there.filter(({ name }) => names.includes(name));
  const loopback = present.find((candidate) => candidate.loopback);
  if (loopback !== undefined) {
    throw new TcpfreezeError(
      'INTERFACE_UNFIT',
      `${loopback.name} is the loopback interface`,
      'name one that leads to a network',
    );
  }
  for (const { name, upper } of present) {
    if (upper === undefined) continue;
    throw new TcpfreezeError(
      'INTERFACE_UNFIT',
      `${name} is a port of the ${upper.kind} ${upper.name}: nothing is routed from it`,
      `name ${upper.name} instead`,
    );
  }
  const absent = names.filter((name) => !present.some((found) => found.name === name));
  const impossible = absent.find((name) => !isInterfaceName(name));
  if (impossible !== undefined) {
    throw new TcpfreezeError(
      'INTERFACE_NAME',
      `no interface can be named ${impossible}`,
      'names have 1 to 15 characters, without / : and blanks',
    );
  }
  const others = there.filter((candidate) => !candidate.loopback).map((candidate) => candidate.name);
  return {
    present,
    absent,
    others: others.length === 0 ? 'this network namespace has none but lo' : `there are: ${others.join(', ')}`,
  };
}

/** dev_valid_name() of net/core/dev.c. */
function isInterfaceName(name: string): boolean {
  return /^(?!\.{1,2}$)[^\s/:]{1,15}$/.test(name);
}
