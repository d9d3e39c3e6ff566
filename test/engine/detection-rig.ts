/** What the shell would report of the network, for the bench: errors, echoes, neighbours, leases. */
import type { DhcpEvent, NeighbourEvent } from '../../src/link/events.ts';
import { DEFAULT_DETECTORS, type DetectorConfig } from '../../src/policy/detectors.ts';
import { parseAddress } from '../../src/wire/address.ts';
import { emitUnreachable, UnreachableSpec } from '../../src/wire/emit.ts';
import type { Conversation } from './conversation.ts';
import { Rig, type RigOptions } from './rig.ts';

export const ROUTER = '192.0.2.1';
export const ROUTER6 = 'fe80::1';

/** A bench whose links are watched by every detector, unless told otherwise. */
export function watchedRig(change: Partial<DetectorConfig> = {}, options: RigOptions = {}): Rig {
  const detectors = { ...DEFAULT_DETECTORS, ...change };
  return new Rig({
    ports: [
      { name: 'lan0', role: 'lan', detectors },
      { name: 'wan0', role: 'wan', detectors },
    ],
    ...options,
  });
}

/** The default route of wan0 leads to a router. */
export function routeVia(rig: Rig, gateway: string, present = true): void {
  const address = parseAddress(gateway)!;
  const family = address.length === 4 ? 4 : 6;
  const destination = new Uint8Array(address.length);
  rig.event({
    kind: 'route',
    family,
    destination,
    prefixLength: 0,
    name: 'wan0',
    metric: 0,
    present,
    gateway: address,
  });
}

export interface ErrorChange {
  /** Sequence number of the quoted segment, relative to the near endpoint's; default: the first one in flight. */
  readonly seq?: number;
  readonly sender?: string;
  /** Interface it comes in on. */
  readonly name?: string;
  /** Change to the finished datagram. */
  readonly bend?: (bytes: Uint8Array) => void;
  readonly code?: number;
}

/** An ICMP error of a router about a segment from `near` to `far`. */
export function icmpError(c: Conversation, change: ErrorChange = {}): Uint8Array {
  const spec = new UnreachableSpec();
  const { variant, parties, nearAddress, farAddress } = c;
  const words = new Int32Array(12);
  load(words, 0, nearAddress);
  load(words, 4, farAddress);
  load(words, 8, change.sender ?? (variant.family === 4 ? '203.0.113.77' : '2001:db8:77::1'));
  spec.vnetLength = 0;
  spec.family = variant.family;
  spec.addresses = words;
  spec.srcAt = 8;
  spec.dstAt = 0;
  spec.ttl = 60;
  spec.code = change.code ?? (variant.family === 4 ? 1 : 0);
  const { quoted } = spec;
  quoted.vnetLength = 0;
  quoted.family = variant.family;
  quoted.addresses = words;
  quoted.srcAt = 0;
  quoted.dstAt = 4;
  quoted.srcPort = parties.nearPort;
  quoted.dstPort = parties.farPort;
  quoted.seq = (parties.nearIsn + (change.seq ?? c.near.nxt)) | 0;
  quoted.ttl = 50;
  const memory = new Uint8Array(1_024);
  const length = emitUnreachable(memory, new DataView(memory.buffer), 0, spec);
  if (length === 0) throw new Error('the error cannot be built');
  const bytes = memory.slice(0, length);
  change.bend?.(bytes);
  return bytes;
}

/** A router's error comes in. */
export function sendError(c: Conversation, change: ErrorChange = {}): void {
  c.rig.event({
    kind: 'icmp',
    name: change.name ?? (c.variant.lost === 1 ? 'wan0' : 'lan0'),
    bytes: icmpError(c, change),
  });
}

export function neighbour(rig: Rig, name: string, address: string, state: NeighbourEvent['state']): void {
  const bytes = parseAddress(address)!;
  const hardware =
    state === 'failed' || state === 'gone' ? {} : { hardware: Uint8Array.of(2, 0, 0, 0, 0, bytes.at(-1)!) };
  rig.event({ kind: 'neighbour', name, family: bytes.length === 4 ? 4 : 6, address: bytes, state, ...hardware });
}

export function lease(rig: Rig, what: DhcpEvent['what'], change: Partial<DhcpEvent> = {}): void {
  rig.event({ kind: 'dhcp', name: 'wan0', lease: 'own', what, family: 4, ...change });
}

/** Echo requests since the last call. */
export function echoes(rig: Rig): { readonly name: string; readonly address: string; readonly sequence: number }[] {
  const list: { name: string; address: string; sequence: number }[] = [];
  for (let echo = rig.engine.pollEcho(); echo !== undefined; echo = rig.engine.pollEcho())
    list.push({ name: echo.name, address: Array.from(echo.address).join('.'), sequence: echo.sequence });
  return list;
}

/** Neighbours that the kernel has to try again, since the last call. */
export function resolves(rig: Rig): string[] {
  const list: string[] = [];
  for (let one = rig.engine.pollResolve(); one !== undefined; one = rig.engine.pollResolve())
    list.push(`${one.name} ${one.address.join('.')} ${Buffer.from(one.hardware).toString('hex')}`);
  return list;
}

/** Names of the verdicts told so far, with their subject. */
export function verdicts(rig: Rig): string[] {
  return rig.events
    .filter(({ name }) => /^(link|host)-(lost|restored)$/.test(name))
    .map(({ name, message }) => `${name} ${message.split(' ')[1]!.replace(/:$/, '')}`);
}

/** Evidence that stands, by link and host. */
export function standing(rig: Rig): Record<string, readonly string[]> {
  const reply = rig.command({ kind: 'status' });
  if (reply.kind !== 'status') throw new Error('no status');
  const links = reply.links
    .filter(({ state }) => state === 'lost')
    .map(({ name, evidence }) => [name, evidence] as const);
  return Object.fromEntries([...links, ...reply.hosts.map(({ address, evidence }) => [address, evidence] as const)]);
}

function load(words: Int32Array, at: number, text: string): void {
  const address = parseAddress(text)!;
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  for (let i = 0; i < address.byteLength / 4; i++) words[at + i] = view.getInt32(4 * i);
}
