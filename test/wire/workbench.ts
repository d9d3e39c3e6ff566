/** What the wire tests build their packets with: one buffer with poison around the packet, a decoder and a specification. */
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';

/** First byte of every packet built here; odd, so that nothing relies on alignment. */
export const AT = 1001;
export const POISON = 0xa5;

/** A buffer, a decoder over it, and a specification with everything but options filled in. */
export class Workbench {
  readonly buffer: ArrayBuffer;
  readonly p = new Packet();
  readonly spec = new TcpSpec();

  constructor(size = 1 << 18) {
    this.buffer = new ArrayBuffer(size);
    this.p.attach(this.buffer);
    const { spec } = this;
    spec.addresses.set([0x0a010002, 0x20010db8 | 0, 7, 0x0a020002]);
    spec.addresses.set([0x0a020002, 0x20010db8 | 0, 9, -2], 4);
    spec.srcPort = 40_000;
    spec.dstPort = 80;
    spec.seq = 0x7fff_fff0;
    spec.ack = -5;
    spec.window = 502;
    spec.ipId = 0xfffe;
    spec.trafficClass = 0xb8;
    spec.flowLabel = 0x9abcd;
  }

  payload(length: number, salt = 0): void {
    this.spec.payload = pattern(length, salt);
    this.spec.payloadFrom = 0;
    this.spec.payloadTo = length;
  }

  /** Emits the specification at AT over poison and decodes it. */
  build(): Packet {
    const { p, spec } = this;
    p.bytes.fill(POISON);
    const length = emitTcp(p.bytes, p.view, AT, spec);
    if (length === 0) throw new Error('the specification does not fit');
    const kind = p.parse(AT, length, spec.vnetLength);
    if (kind !== KIND_TCP) throw new Error(`decoded as kind ${kind}, reason ${p.reason}`);
    return p;
  }

  /** Copies raw bytes to AT over poison and decodes them. @returns the kind */
  place(raw: ArrayLike<number>, vnetLength: 0 | 10 = 0): number {
    this.p.bytes.fill(POISON);
    this.p.bytes.set(raw, AT);
    return this.p.parse(AT, raw.length, vnetLength);
  }

  /** The bytes of the packet decoded last, copied. */
  raw(): Uint8Array {
    return this.p.bytes.slice(this.p.start, this.p.start + this.p.length);
  }

  /** Whether everything outside [from, to) still is poison. */
  poisonIntact(from: number, to: number): boolean {
    const { bytes } = this.p;
    for (let i = 0; i < bytes.length; i += 1) if ((i < from || i >= to) && bytes[i] !== POISON) return false;
    return true;
  }
}

/** Bytes without a period that divides any segment size. */
export function pattern(length: number, salt = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = 0x2545f491 ^ salt;
  for (let i = 0; i < length; i += 1) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    bytes[i] = x >>> 16;
  }
  return bytes;
}

/** The obvious checksum of RFC 1071, byte pairs in network order, with carries folded at once. */
export function slowSum(bytes: ArrayLike<number>, from: number, to: number, initial = 0): number {
  let sum = initial;
  for (let i = from; i < to; i += 2) {
    sum += bytes[i] * 256 + (i + 1 < to ? bytes[i + 1] : 0);
    while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  }
  return sum;
}

/** Ones' complement residue of a whole TCP packet without extension headers: 0xffff when its checksum is right. */
export function slowTcpResidue(p: Packet): number {
  const { bytes } = p;
  const length = p.end - p.tcpAt;
  const addresses = slowSum(bytes, p.srcAt, p.srcAt + (p.family === 4 ? 8 : 32));
  const pseudo = slowSum([0, 6, (length >> 8) & 0xff, length & 0xff], 0, 4, addresses);
  return slowSum(bytes, p.tcpAt, p.end, pseudo);
}

/** Everything the decoder says about a packet, without the memory it lies in (slow to compare). */
export function fieldsOf(p: Packet): Record<string, unknown> {
  const fields: Record<string, unknown> = { ...p };
  delete fields.view;
  delete fields.bytes;
  return fields;
}
