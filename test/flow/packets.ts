/** Parsed packets by description, for tests below the engine. Each call builds in the same memory. */
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { ACK } from '../../src/wire/tcp-flags.ts';

export interface PacketSketch {
  readonly family?: 4 | 6;
  /** One word for IPv4, four for IPv6. */
  readonly src?: readonly number[];
  readonly dst?: readonly number[];
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly payload?: number | Uint8Array;
  readonly ts?: readonly [number, number];
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  readonly vnet?: boolean;
  readonly gsoSize?: number;
}

const memory = new ArrayBuffer(70_000);
const bytes = new Uint8Array(memory);
const view = new DataView(memory);

/** Writes the packet to `target` (or to memory of its own) and returns its length. */
export function write(sketch: PacketSketch, target: Uint8Array = bytes, at = 0): number {
  const spec = new TcpSpec();
  spec.family = sketch.family ?? 4;
  spec.vnetLength = sketch.vnet ? 10 : 0;
  spec.addresses.set(sketch.src ?? [0x0a010002], 0);
  spec.addresses.set(sketch.dst ?? [0x0a020002], 4);
  spec.srcPort = sketch.srcPort ?? 1_000;
  spec.dstPort = sketch.dstPort ?? 80;
  spec.seq = sketch.seq ?? 0;
  spec.ack = sketch.ack ?? 0;
  spec.flags = sketch.flags ?? ACK;
  spec.window = sketch.window ?? 1_000;
  spec.hasTs = sketch.ts !== undefined;
  spec.tsVal = sketch.ts?.[0] ?? 0;
  spec.tsEcr = sketch.ts?.[1] ?? 0;
  spec.mss = sketch.mss ?? -1;
  spec.windowScale = sketch.windowScale ?? -1;
  spec.sackPermitted = sketch.sackPermitted ?? false;
  spec.gsoSize = sketch.gsoSize ?? 0;
  const { payload = 0 } = sketch;
  spec.payload = typeof payload === 'number' ? new Uint8Array(payload) : payload;
  spec.payloadTo = spec.payload.length;
  const targetView = target === bytes ? view : new DataView(target.buffer, target.byteOffset, target.byteLength);
  const length = emitTcp(target, targetView, at, spec);
  if (length === 0) throw new Error('the packet does not fit');
  return length;
}

/** The packet, parsed; valid until the next call. */
export function packetOf(sketch: PacketSketch): Packet {
  const length = write(sketch);
  const packet = new Packet();
  packet.attach(memory);
  if (packet.parse(0, length, sketch.vnet ? 10 : 0) !== KIND_TCP) throw new Error(`not TCP, reason ${packet.reason}`);
  return packet;
}
