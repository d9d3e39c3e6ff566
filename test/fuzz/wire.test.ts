/**
 * Hostile input: random bytes, and mutations of sound packets. Nothing may throw, and nothing may be read outside the
 * packet: each input is decoded twice, once ending with the buffer and once beginning with it, amid different bytes,
 * and both decodings have to agree in everything.
 */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { emitTcp, emitUnreachable, TcpSpec, UnreachableSpec } from '../../src/wire/emit.ts';
import { emitRange, emitSegment, trimToRange } from '../../src/wire/gso.ts';
import { IcmpError } from '../../src/wire/icmp.ts';
import { KIND_MALFORMED, KIND_OTHER, KIND_TCP, MALFORMED_REASONS, Packet } from '../../src/wire/packet.ts';
import { describePacket } from '../../src/wire/printer.ts';
import {
  clampSackBelow,
  completeChecksum,
  setAck,
  setFlags,
  setTsEcr,
  setTsVal,
  setWindow,
  verifyChecksums,
} from '../../src/wire/rewrite.ts';
import { UdpHeader } from '../../src/wire/udp.ts';
import { fieldsOf, pattern } from '../wire/workbench.ts';

const SIZE = 2048;
const seeds = (process.env.WIRE_FUZZ_SEED ?? '20240607').split(',').map(Number);
const RUNS = Number(process.env.WIRE_FUZZ_RUNS ?? 200_000);

/** Two decoders over equal packets in different surroundings. */
class Twins {
  readonly low = new Packet();
  readonly high = new Packet();
  readonly random: Prng;

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.low.attach(new ArrayBuffer(SIZE));
    this.high.attach(new ArrayBuffer(SIZE));
  }

  /** Places `raw` at the start of one buffer and at the end of the other and decodes both. */
  decode(raw: Uint8Array, vnetLength: 0 | 10): number {
    const { low, high } = this;
    low.bytes.fill(0x5a);
    high.bytes.fill(0xc3);
    low.bytes.set(raw, 0);
    high.bytes.set(raw, SIZE - raw.length);
    const kind = low.parse(0, raw.length, vnetLength);
    const other = high.parse(SIZE - raw.length, raw.length, vnetLength);
    if (kind !== other || !this.agree(raw.length)) {
      expect({ kind, ...fieldsOf(low) }).toEqual({ kind: other, ...fieldsOf(high) });
      throw new Error('the decodings differ');
    }
    return kind;
  }

  /** Whether both decoders say the same, offsets counted from the start of each packet. */
  agree(length: number): boolean {
    const shift = SIZE - length;
    const { low, high } = this;
    for (const name of FIELDS) {
      const a = low[name];
      const b = high[name];
      if (a === b && !OFFSETS.has(name)) continue;
      if (OFFSETS.has(name) && typeof a === 'number' && (a === -1 ? b === -1 : b === a + shift)) continue;
      return false;
    }
    return true;
  }
}

type Field = Exclude<keyof Packet, 'view' | 'bytes' | 'attach' | 'parse'>;
const FIELDS = Object.keys(fieldsOf(new Packet())) as Field[];
const OFFSETS: ReadonlySet<Field> = new Set<Field>([
  'start',
  'ipAt',
  'end',
  'srcAt',
  'dstAt',
  'tcpAt',
  'payloadAt',
  'tsAt',
  'sackAt',
]);

/** Sound packets to start mutations from. */
function samples(): { raw: Uint8Array; vnetLength: 0 | 10 }[] {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  const list: { raw: Uint8Array; vnetLength: 0 | 10 }[] = [];
  for (const family of [4, 6] as const) {
    for (const vnetLength of [0, 10] as const) {
      const spec = new TcpSpec();
      Object.assign(spec, { family, vnetLength, payload: pattern(300), payloadTo: 300, hasTs: true });
      spec.gsoSize = vnetLength === 0 ? 0 : 100;
      list.push({ raw: bytes.slice(0, emitTcp(bytes, view, 0, spec)), vnetLength });
      Object.assign(spec, { gsoSize: 0, payloadTo: 20, sack: Int32Array.from([1, 2, 3, 4, 5, 6]), sackCount: 3 });
      list.push({ raw: bytes.slice(0, emitTcp(bytes, view, 0, spec)), vnetLength });
      const unreachable = Object.assign(new UnreachableSpec(), { family, vnetLength, quoted: spec });
      list.push({ raw: bytes.slice(0, emitUnreachable(bytes, view, 0, unreachable)), vnetLength });
      if (family === 6) list.push({ raw: withExtensions(list[list.length - 3].raw, vnetLength), vnetLength });
    }
  }
  return list;
}

/** The same IPv6 packet with hop-by-hop, fragment and destination headers in between. */
function withExtensions(raw: Uint8Array, vnetLength: number): Uint8Array {
  const headers = [44, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 1, 2, 3, 4, 6, 0, 1, 4, 0, 0, 0, 0];
  const at = vnetLength + 40;
  const out = Uint8Array.from([...raw.slice(0, at), ...headers, ...raw.slice(at)]);
  out[vnetLength + 6] = 0;
  new DataView(out.buffer).setUint16(vnetLength + 4, out.length - at);
  out.fill(0, 0, vnetLength);
  return out;
}

const INTERESTING = [
  0, 1, 2, 4, 5, 6, 8, 10, 17, 19, 20, 29, 30, 40, 43, 44, 58, 60, 0x45, 0x60, 0x7f, 0x80, 0xfe, 0xff,
];

/** @param ipAt where the IP header starts, to make its length agree with a truncation; -1 leaves the length alone */
function mutate(random: Prng, source: Uint8Array, ipAt: number): Uint8Array {
  const raw = source.slice();
  // Headers first: mutations of payload find nothing.
  const reach = Math.min(raw.length, 130);
  for (let n = 1 + random.nextBelow(5); n > 0; n -= 1) {
    const at = random.nextBelow(reach);
    const how = random.nextBelow(3);
    if (how === 0) raw[at] ^= 1 << random.nextBelow(8);
    else if (how === 1) raw[at] = INTERESTING[random.nextBelow(INTERESTING.length)];
    else raw[at] = random.nextUint32();
  }
  if (random.nextBelow(3) > 0) return raw;
  const cut = raw.slice(0, random.nextBelow(Math.min(raw.length, 160) + 1));
  // A packet whose length agrees gets past the first check, and its end then lies in any header.
  if (ipAt >= 0 && cut.length >= ipAt + 40 && random.nextBelow(4) > 0) {
    const view = new DataView(cut.buffer);
    if (cut[ipAt] >>> 4 === 4) view.setUint16(ipAt + 2, cut.length - ipAt);
    else view.setUint16(ipAt + 4, cut.length - ipAt - 40);
  }
  return cut;
}

/** What every reader of the decoder takes for granted. */
function expectInside(p: Packet, kind: number): void {
  const limit = p.start + p.length;
  const ordered = p.ipAt <= p.srcAt && p.dstAt <= p.payloadAt && p.payloadAt <= p.end && p.end <= limit;
  if (!ordered || p.payloadAt + p.payloadLength !== p.end) throw new Error(`kind ${kind} reaches outside the packet`);
  if (kind !== KIND_TCP) return;
  const options = p.tcpAt + 20;
  const sackEnd = p.sackAt + 8 * p.sackCount;
  if (p.tcpAt + p.tcpHeaderLength !== p.payloadAt || options > p.payloadAt) throw new Error('TCP header astray');
  if (p.tsAt >= 0 && (p.tsAt < options + 2 || p.tsAt + 8 > p.payloadAt)) throw new Error('timestamps astray');
  if (p.sackAt >= 0 && (p.sackAt < options + 2 || sackEnd > p.payloadAt)) throw new Error('SACK blocks astray');
}

/** Everything that the gateway might do with a packet that decoded as TCP; the bytes outside must survive. */
function exercise(p: Packet, random: Prng, out: Packet): void {
  const { start, length, bytes } = p;
  const right = verifyChecksums(p);
  setAck(p, random.nextUint32() | 0);
  setWindow(p, random.nextUint32() & 0xffff);
  setTsVal(p, random.nextUint32() | 0);
  setTsEcr(p, random.nextUint32() | 0);
  clampSackBelow(p, random.nextUint32() | 0);
  setFlags(p, random.nextUint32() & 0x1ff);
  if (verifyChecksums(p) !== right) throw new Error('a rewrite changed the verdict on the checksum');
  const first = (p.seq + random.nextBelow(400) - 50) | 0;
  const last = (first + random.nextBelow(400)) | 0;
  emitSegment(p, random.nextBelow(4), 1 + random.nextBelow(200), out.bytes, out.view, 0, 0);
  const vnetLength = random.nextBelow(2) === 0 ? 0 : 10;
  const cut = emitRange(p, first, last, random.nextBelow(200), out.bytes, out.view, 0, vnetLength);
  if (cut > 0) {
    if (out.parse(0, cut, vnetLength) !== KIND_TCP) throw new Error('a range of a packet is not a packet');
    if (!verifyChecksums(out)) throw new Error('a range of a packet has a wrong checksum');
  }
  if (random.nextBelow(2) === 0) completeChecksum(p);
  else trimToRange(p, first, last);
  if (p.start < start || p.start + p.length > start + length) throw new Error('a packet grew');
  const poison = start === 0 ? bytes[SIZE - 1] : bytes[0];
  const from = start === 0 ? length : 0;
  const to = start === 0 ? SIZE : start;
  for (let i = from; i < to; i += 1) if (bytes[i] !== poison) throw new Error(`byte ${i} outside was written`);
}

describe.each(seeds)('hostile packets, seed %i', (seed) => {
  it(`${RUNS} inputs decode without throwing and without looking outside`, () => {
    const twins = new Twins(seed);
    const { random } = twins;
    const starts = samples();
    const out = new Packet();
    out.attach(new ArrayBuffer(2 * SIZE));
    const error = new IcmpError();
    const udp = new UdpHeader();
    const kinds = [0, 0, 0, 0, 0];
    const reasons = new Array<number>(MALFORMED_REASONS.length).fill(0);
    for (let run = 0; run < RUNS; run += 1) {
      let raw: Uint8Array;
      let vnetLength: 0 | 10;
      if (run % 8 === 0) {
        raw = new Uint8Array(random.nextBelow(200));
        for (let i = 0; i < raw.length; i += 1) raw[i] = random.nextUint32();
        if (raw.length > 0 && random.nextBelow(4) > 0) raw[0] = random.nextBelow(2) === 0 ? 0x45 : 0x60;
        vnetLength = random.nextBelow(2) === 0 ? 0 : 10;
      } else {
        const start = starts[random.nextBelow(starts.length)];
        raw = mutate(random, start.raw, start.vnetLength);
        vnetLength = start.vnetLength;
      }
      const kind = twins.decode(raw, vnetLength);
      kinds[kind] += 1;
      const { low, high } = twins;
      if (kind === KIND_MALFORMED) reasons[low.reason] += 1;
      else expectInside(low, kind);
      if (run % 64 === 0 && describePacket(low) !== describePacket(high)) throw new Error('printed differently');
      if (kind === KIND_TCP) exercise(run % 2 === 0 ? low : high, random, out);
      if (kind === KIND_OTHER) {
        error.parse(high.view, high.payloadAt, high.end, high.family);
        udp.parse(high.view, high.payloadAt, high.end);
      }
    }
    // The inputs have to reach every outcome, else they prove little. Bounds are checked by the unit tests.
    expect(kinds.slice(1).every((count) => count > RUNS / 500)).toBe(true);
    expect(reasons.map((count, i) => (i < 2 || count > 0 ? '' : MALFORMED_REASONS[i])).join('')).toBe('');
  });

  it('ICMP errors agree in different surroundings', () => {
    const random = new Prng(seed);
    const low = { view: new DataView(new ArrayBuffer(SIZE)), error: new IcmpError() };
    const high = { view: new DataView(new ArrayBuffer(SIZE)), error: new IcmpError() };
    const starts = samples().map(({ raw, vnetLength }) => {
      const family: 4 | 6 = raw[vnetLength] >>> 4 === 4 ? 4 : 6;
      return { family, quote: raw.slice(vnetLength) };
    });
    let readable = 0;
    const runs = RUNS / 4;
    for (let run = 0; run < runs; run += 1) {
      const { family, quote } = starts[random.nextBelow(starts.length)];
      const type = family === 4 ? [3, 11, 12, 5][random.nextBelow(4)] : 1 + random.nextBelow(5);
      const message = mutate(random, Uint8Array.from([type, 4, 0, 0, 0, 0, 5, 0, ...quote]), -1);
      const at = SIZE - message.length;
      new Uint8Array(low.view.buffer).fill(0x5a).set(message, 0);
      new Uint8Array(high.view.buffer).fill(0xc3).set(message, at);
      const a = low.error.parse(low.view, 0, message.length, family);
      const b = high.error.parse(high.view, at, SIZE, family);
      if (a !== b) throw new Error('read in one place only');
      if (!a) continue;
      readable += 1;
      const { srcAt, dstAt } = low.error;
      if (srcAt < 8 || dstAt + (family === 4 ? 4 : 16) > message.length) throw new Error('addresses astray');
      high.error.srcAt -= at;
      high.error.dstAt -= at;
      for (const name of Object.keys(low.error) as (keyof IcmpError)[]) {
        if (low.error[name] !== high.error[name]) expect(high.error).toEqual(low.error);
      }
    }
    expect(readable).toBeGreaterThan(runs / 10);
  });
});
