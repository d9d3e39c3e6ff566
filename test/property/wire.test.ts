import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddressBytes, parseAddress } from '../../src/wire/address.ts';
import { sum16 } from '../../src/wire/checksum.ts';
import { emitTcp, emitUnreachable, loadAddress, TcpSpec, UnreachableSpec } from '../../src/wire/emit.ts';
import { emitRange, emitSegment, segmentCount, trimToRange } from '../../src/wire/gso.ts';
import { IcmpError } from '../../src/wire/icmp.ts';
import { KIND_OTHER, KIND_TCP, Packet } from '../../src/wire/packet.ts';
import {
  clampSackBelow,
  removeSackBelow,
  setAck,
  setFlags,
  setSeq,
  setTsEcr,
  setTsVal,
  setWindow,
  verifyChecksums,
} from '../../src/wire/rewrite.ts';
import { FIN, SYN } from '../../src/wire/tcp-flags.ts';
import { fieldsOf, pattern, slowSum, slowTcpResidue } from '../wire/workbench.ts';

const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const uint16 = fc.nat(0xffff);
const buffer = new ArrayBuffer(1 << 18);
const p = new Packet();
p.attach(buffer);
const q = new Packet();
q.attach(new ArrayBuffer(1 << 18));

/** Every kind of segment that the emitter can express; options within the 40 bytes. */
const specs: fc.Arbitrary<TcpSpec> = fc
  .record({
    vnetLength: fc.constantFrom(0 as const, 10 as const),
    family: fc.constantFrom(4 as const, 6 as const),
    addresses: fc.array(int32, { minLength: 8, maxLength: 8 }).map((words) => Int32Array.from(words)),
    srcPort: uint16,
    dstPort: uint16,
    seq: int32,
    ack: int32,
    flags: fc.nat(0x1ff),
    window: uint16,
    urgent: uint16,
    ttl: fc.nat(255),
    trafficClass: fc.nat(255),
    flowLabel: fc.nat(0xfffff),
    ipId: uint16,
    hasTs: fc.boolean(),
    tsVal: int32,
    tsEcr: int32,
    mss: fc.oneof(fc.constant(-1), uint16),
    windowScale: fc.oneof(fc.constant(-1), fc.nat(14)),
    sackPermitted: fc.boolean(),
    sack: fc.array(int32, { minLength: 6, maxLength: 6 }).map((edges) => Int32Array.from(edges)),
    sackCount: fc.nat(2),
    gso: fc.boolean(),
    gsoSize: fc.integer({ min: 1, max: 3000 }),
    payloadLength: fc.oneof(fc.nat(40), fc.nat(9000)),
    payloadFrom: fc.nat(5),
  })
  .map(({ gso, payloadLength, ...fields }) => {
    const spec = Object.assign(new TcpSpec(), fields);
    spec.srcAt = 0;
    spec.dstAt = 4;
    if (!gso || fields.vnetLength === 0) spec.gsoSize = 0;
    // SYN options and SACK blocks do not share a segment.
    if (spec.sackCount > 0) Object.assign(spec, { mss: -1, windowScale: -1, sackPermitted: false });
    spec.payload = pattern(payloadLength + spec.payloadFrom, payloadLength);
    spec.payloadTo = spec.payload.length;
    return spec;
  });

const offsets = fc.nat(70);

function build(spec: TcpSpec, at: number): number {
  const length = emitTcp(p.bytes, p.view, at, spec);
  expect(length).toBeGreaterThan(0);
  expect(p.parse(at, length, spec.vnetLength)).toBe(KIND_TCP);
  return length;
}

function payloadOf(packet: Packet): Uint8Array {
  return packet.bytes.slice(packet.payloadAt, packet.end);
}

describe('wire properties', () => {
  it('what is emitted decodes to what was specified', () => {
    fc.assert(
      fc.property(specs, offsets, (spec, at) => {
        const length = build(spec, at);
        expect(p.end).toBe(at + length);
        const words = new Int32Array(8);
        loadAddress(p.view, p.srcAt, p.family, words, 0);
        loadAddress(p.view, p.dstAt, p.family, words, 4);
        const count = spec.family === 4 ? 1 : 4;
        expect(words.slice(0, count)).toEqual(spec.addresses.slice(0, count));
        expect(words.slice(4, 4 + count)).toEqual(spec.addresses.slice(4, 4 + count));
        for (const name of [
          'family',
          'srcPort',
          'dstPort',
          'seq',
          'ack',
          'flags',
          'window',
          'urgent',
          'ttl',
        ] as const) {
          expect(p[name]).toBe(spec[name]);
        }
        for (const name of ['trafficClass', 'mss', 'windowScale', 'sackPermitted', 'sackCount'] as const) {
          expect(p[name]).toBe(spec[name]);
        }
        if (spec.family === 6) expect(p.flowLabel).toBe(spec.flowLabel);
        else expect(p.view.getUint16(p.ipAt + 4)).toBe(spec.ipId);
        expect(p.tsAt >= 0).toBe(spec.hasTs);
        if (spec.hasTs) expect([p.tsVal, p.tsEcr]).toEqual([spec.tsVal, spec.tsEcr]);
        for (let i = 0; i < 2 * spec.sackCount; i += 1) {
          expect(p.view.getInt32(p.sackAt + 4 * i)).toBe(spec.sack?.[i]);
        }
        expect(p.optionsMalformed).toBe(false);
        expect(payloadOf(p)).toEqual(spec.payload?.slice(spec.payloadFrom));
        expect(p.needsChecksum).toBe(spec.gsoSize > 0 && p.payloadLength > spec.gsoSize);
        expect(verifyChecksums(p)).toBe(true);
        if (!p.needsChecksum) expect(slowTcpResidue(p)).toBe(0xffff);
      }),
      { numRuns: 400 },
    );
  });

  it('any sequence of rewrites keeps the checksums right and the decoder in step', () => {
    const steps = fc.array(fc.tuple(fc.nat(7), int32), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(specs, offsets, steps, (spec, at, list) => {
        build(spec, at);
        for (const [step, value] of list) {
          if (step === 0) setSeq(p, value);
          else if (step === 1) setAck(p, value);
          else if (step === 2) setWindow(p, value & 0xffff);
          else if (step === 3) setTsVal(p, value);
          else if (step === 4) setTsEcr(p, value);
          else if (step === 5) setFlags(p, value & 0x1ff);
          else if (step === 6) removeSackBelow(p, value);
          else clampSackBelow(p, value);
          expect(verifyChecksums(p)).toBe(true);
        }
        if (!p.needsChecksum) expect(slowTcpResidue(p)).toBe(0xffff);
        const fields = fieldsOf(p);
        expect(p.parse(p.start, p.length, spec.vnetLength)).toBe(KIND_TCP);
        expect(fieldsOf(p)).toEqual(fields);
        expect(payloadOf(p)).toEqual(spec.payload?.slice(spec.payloadFrom));
      }),
      { numRuns: 400 },
    );
  });

  it('segments put together are the super-packet', () => {
    fc.assert(
      fc.property(specs, offsets, fc.integer({ min: 200, max: 3000 }), (spec, at, size) => {
        build(spec, at);
        const joined: Uint8Array[] = [];
        const count = segmentCount(p.payloadLength, size);
        for (let i = 0; i < count; i += 1) {
          const length = emitSegment(p, i, size, q.bytes, q.view, 13, spec.vnetLength);
          expect(q.parse(13, length, spec.vnetLength)).toBe(KIND_TCP);
          expect(slowTcpResidue(q)).toBe(0xffff);
          expect(verifyChecksums(q)).toBe(true);
          expect(q.payloadLength).toBeLessThanOrEqual(size);
          const syn = i > 0 && (spec.flags & SYN) !== 0 ? 1 : 0;
          expect(q.seq).toBe((spec.seq + i * size + syn) | 0);
          expect((q.flags & FIN) !== 0).toBe(i === count - 1 && (spec.flags & FIN) !== 0);
          expect((q.flags & SYN) !== 0).toBe(i === 0 && (spec.flags & SYN) !== 0);
          joined.push(payloadOf(q));
        }
        const whole = new Uint8Array(joined.reduce((sum, part) => sum + part.length, 0));
        let end = 0;
        for (const part of joined) {
          whole.set(part, end);
          end += part.length;
        }
        expect(whole).toEqual(spec.payload?.slice(spec.payloadFrom));
      }),
      { numRuns: 200 },
    );
  });

  it('a range cut out elsewhere and in place are the same bytes, and just that range', () => {
    fc.assert(
      fc.property(specs, offsets, fc.nat(9100), fc.nat(9100), (spec, at, a, b) => {
        build(spec, at);
        const first = (spec.seq + Math.min(a, b)) | 0;
        const last = (spec.seq + Math.max(a, b)) | 0;
        const segLength = p.segLength;
        const gsoSize = p.needsChecksum ? p.gsoSize : 0;
        const length = emitRange(p, first, last, gsoSize, q.bytes, q.view, 3, spec.vnetLength);
        const whole = Math.min(a, b) === 0 && Math.max(a, b) >= segLength;
        const trimmed = trimToRange(p, first, last);
        if (Math.min(a, b) >= segLength || a === b) {
          expect([length, trimmed]).toEqual([0, 0]);
          return;
        }
        expect(trimmed).toBe(length);
        expect(p.segLength).toBe(Math.min(Math.max(a, b), segLength) - Math.min(a, b));
        expect(p.seq).toBe(first);
        expect(verifyChecksums(p)).toBe(true);
        const moved = p.bytes.slice(p.start, p.start + length);
        if (!whole) expect(moved).toEqual(q.bytes.slice(3, 3 + length));
        const payload = spec.payload?.slice(spec.payloadFrom) ?? new Uint8Array();
        const syn = (spec.flags & SYN) !== 0 ? 1 : 0;
        const from = Math.max(Math.min(a, b) - syn, 0);
        expect(payloadOf(p)).toEqual(payload.slice(from, Math.max(Math.max(a, b) - syn, 0)));
      }),
      { numRuns: 400 },
    );
  });

  it('an unreachable message quotes what its reader needs', () => {
    fc.assert(
      fc.property(specs, offsets, fc.nat(255), (quoted, at, code) => {
        const spec = Object.assign(new UnreachableSpec(), {
          vnetLength: quoted.vnetLength,
          family: quoted.family,
          addresses: quoted.addresses,
          srcAt: 4,
          dstAt: 0,
          code,
          quoted,
        });
        const length = emitUnreachable(p.bytes, p.view, at, spec);
        expect(p.parse(at, length, spec.vnetLength)).toBe(KIND_OTHER);
        const error = new IcmpError();
        expect(error.parse(p.view, p.payloadAt, p.end, p.family)).toBe(true);
        expect([error.code, error.srcPort, error.dstPort, error.seq]).toEqual([
          code,
          quoted.srcPort,
          quoted.dstPort,
          quoted.seq,
        ]);
        const message = p.end - p.payloadAt;
        const pseudo = p.family === 4 ? 0 : slowSum([0, 58, 0, message], 0, 4, slowSum(p.bytes, p.srcAt, p.srcAt + 32));
        expect(slowSum(p.bytes, p.payloadAt, p.end, pseudo)).toBe(0xffff);
      }),
      { numRuns: 200 },
    );
  });

  it('a sum may be taken in parts that begin at even distances', () => {
    const bytes = pattern(5000);
    fc.assert(
      fc.property(fc.nat(2000), fc.nat(1000), fc.nat(1500), (from, half, rest) => {
        const middle = from + 2 * half;
        const to = Math.min(middle + rest, 5000);
        expect(sum16(bytes, middle, to, sum16(bytes, from, middle))).toBe(slowSum(bytes, from, to));
      }),
    );
  });

  it('addresses survive being written and read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(0xffff), (bytes, zeros) => {
        for (let i = 0; i < 16; i += 1) if (((zeros >> i) & 1) === 1) bytes[i] = 0;
        expect(parseAddress(formatAddressBytes(bytes))).toEqual(bytes);
        expect(parseAddress(formatAddressBytes(bytes.slice(0, 4)))).toEqual(bytes.slice(0, 4));
      }),
      { numRuns: 1000 },
    );
  });
});
