import { describe, expect, it } from 'vitest';
import { emitRange, emitSegment, segmentCount, trimToRange } from '../../src/wire/gso.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { verifyChecksums } from '../../src/wire/rewrite.ts';
import { ACK, CWR, FIN, PSH, SYN, URG } from '../../src/wire/tcp-flags.ts';
import { AT, pattern, slowTcpResidue, Workbench } from './workbench.ts';

const SEQ = 0x7fff_fff0;

function superPacket(family: 4 | 6, payload: number, flags: number = ACK | PSH, gsoSize = 1000): Workbench {
  const bench = new Workbench();
  Object.assign(bench.spec, { family, flags, gsoSize, vnetLength: 10, hasTs: true, tsVal: 5, tsEcr: 6 });
  bench.payload(payload);
  bench.build();
  return bench;
}

function output(): { bytes: Uint8Array; view: DataView; q: Packet } {
  const buffer = new ArrayBuffer(1 << 17);
  const q = new Packet();
  q.attach(buffer);
  q.bytes.fill(0xa5);
  return { bytes: q.bytes, view: q.view, q };
}

function payloadOf(p: Packet): Uint8Array {
  return p.bytes.slice(p.payloadAt, p.end);
}

describe('segmentCount', () => {
  it.each([
    [0, 1],
    [1, 1],
    [1000, 1],
    [1001, 2],
    [2000, 2],
    [2001, 3],
  ])('%i bytes by 1000: %i', (payload, count) => {
    expect(segmentCount(payload, 1000)).toBe(count);
  });
});

describe.each([4, 6] as const)('splitting, IPv%i', (family) => {
  it.each([0, 10] as const)('yields what the kernel would send (virtio-net header of %i)', (vnetLength) => {
    const { p } = superPacket(family, 4321, ACK | PSH | FIN | CWR);
    const { bytes, view, q } = output();
    const joined: number[] = [];
    const count = segmentCount(p.payloadLength, p.gsoSize);
    expect(count).toBe(5);
    for (let i = 0; i < count; i += 1) {
      const length = emitSegment(p, i, p.gsoSize, bytes, view, 77, vnetLength);
      expect(q.parse(77, length, vnetLength)).toBe(KIND_TCP);
      expect(q.end).toBe(77 + length);
      expect(q.seq).toBe((SEQ + 1000 * i) | 0);
      expect(q.flags).toBe(ACK | (i === 0 ? CWR : 0) | (i === 4 ? PSH | FIN : 0));
      expect([q.tsVal, q.tsEcr, q.ack, q.window]).toEqual([5, 6, -5, 502]);
      expect([q.needsChecksum, q.gsoType]).toEqual([false, 0]);
      if (family === 4) expect(view.getUint16(q.ipAt + 4)).toBe((0xfffe + i) & 0xffff);
      expect(slowTcpResidue(q)).toBe(0xffff);
      expect(verifyChecksums(q)).toBe(true);
      joined.push(...payloadOf(q));
    }
    expect(Uint8Array.from(joined)).toEqual(pattern(4321));
    expect(emitSegment(p, count, p.gsoSize, bytes, view, 77, vnetLength)).toBe(0);
    expect(emitSegment(p, -1, p.gsoSize, bytes, view, 77, vnetLength)).toBe(0);
    expect(emitSegment(p, 0, 0, bytes, view, 77, vnetLength)).toBe(0);
  });

  it('leaves the super-packet untouched', () => {
    const bench = superPacket(family, 3000);
    const before = bench.raw();
    const { bytes, view } = output();
    for (let i = 0; i < 3; i += 1) emitSegment(bench.p, i, 1000, bytes, view, 0, 10);
    emitRange(bench.p, SEQ + 10, SEQ + 2500, 1000, bytes, view, 0, 10);
    expect(bench.raw()).toEqual(before);
  });

  it('refuses, without writing, when the output is too small', () => {
    const { p } = superPacket(family, 3000);
    const small = new Uint8Array(1000).fill(0xa5);
    expect(emitSegment(p, 0, 1000, small, new DataView(small.buffer), 0, 0)).toBe(0);
    expect(small.every((byte) => byte === 0xa5)).toBe(true);
  });
});

describe.each([4, 6] as const)('ranges, IPv%i', (family) => {
  const cases: readonly (readonly [string, number, number, number])[] = [
    ['all', 0, 3000, 3000],
    ['more than all', -10, 5000, 3000],
    ['a front cut inside a segment', 1234, 3000, 1766],
    ['a back cut', 0, 1001, 1001],
    ['both', 999, 1000, 1],
    ['less than a segment left', 2500, 3000, 500],
  ];

  it.each(cases)('%s, written elsewhere and trimmed in place alike', (_name, first, last, size) => {
    const bench = superPacket(family, 3000);
    const { p } = bench;
    const { bytes, view, q } = output();
    const from = Math.max(first, 0);
    const length = emitRange(p, (SEQ + first) | 0, (SEQ + last) | 0, 1000, bytes, view, 33, 10);
    expect(q.parse(33, length, 10)).toBe(KIND_TCP);
    expect(trimToRange(p, (SEQ + first) | 0, (SEQ + last) | 0)).toBe(p.length);
    for (const packet of [p, q]) {
      expect(packet.seq).toBe((SEQ + from) | 0);
      expect(packet.payloadLength).toBe(size);
      expect(payloadOf(packet)).toEqual(pattern(3000).slice(from, from + size));
      expect(packet.needsChecksum).toBe(size > 1000);
      expect(packet.gsoType !== 0).toBe(size > 1000);
      expect((packet.flags & PSH) !== 0).toBe(last >= 3000);
      expect(verifyChecksums(packet)).toBe(true);
    }
    expect(bench.raw()).toEqual(bytes.slice(33, 33 + length));
    expect(bench.poisonIntact(AT, AT + 10 + 60 + 3000 + 12)).toBe(true);
  });

  it('says 0 and changes nothing where nothing lies in the range', () => {
    const bench = superPacket(family, 3000);
    const before = bench.raw();
    const { bytes, view } = output();
    for (const [first, last] of [
      [3000, 4000],
      [-100, 0],
      [50, 50],
      [60, 50],
    ]) {
      expect(emitRange(bench.p, (SEQ + first) | 0, (SEQ + last) | 0, 0, bytes, view, 0, 10)).toBe(0);
      expect(trimToRange(bench.p, (SEQ + first) | 0, (SEQ + last) | 0)).toBe(0);
    }
    expect(bench.raw()).toEqual(before);
    expect(bytes.every((byte) => byte === 0xa5)).toBe(true);
  });

  it('makes one plain packet of a super-packet when asked to', () => {
    const { p } = superPacket(family, 3000);
    const { bytes, view, q } = output();
    expect(q.parse(0, emitRange(p, SEQ, (SEQ + 2999) | 0, 0, bytes, view, 0, 0), 0)).toBe(KIND_TCP);
    expect([q.payloadLength, q.needsChecksum, q.vnetLength]).toEqual([2999, false, 0]);
    expect(slowTcpResidue(q)).toBe(0xffff);
    expect(emitRange(p, SEQ, (SEQ + 2999) | 0, 1000, bytes, view, 0, 0)).toBe(0);
  });
});

describe('control bits in ranges', () => {
  it('keeps SYN and FIN exactly where the range includes their numbers', () => {
    const { bytes, view, q } = output();
    for (let first = 0; first < 12; first += 1) {
      for (let last = first + 1; last <= 12; last += 1) {
        for (const inPlace of [false, true]) {
          const bench = new Workbench(4096);
          bench.spec.flags = SYN | FIN | ACK;
          bench.payload(10);
          const p = bench.build();
          const range = [(SEQ + first) | 0, (SEQ + last) | 0] as const;
          if (inPlace) expect(trimToRange(p, ...range)).toBe(p.length);
          else q.parse(0, emitRange(p, ...range, 0, bytes, view, 0, 0), 0);
          const packet = inPlace ? p : q;
          expect(packet.seq).toBe(range[0]);
          expect(packet.segLength).toBe(last - first);
          expect((packet.flags & SYN) !== 0).toBe(first === 0);
          expect((packet.flags & FIN) !== 0).toBe(last === 12);
          const from = Math.max(first - 1, 0);
          expect(payloadOf(packet)).toEqual(pattern(10).slice(from, Math.min(Math.max(last - 1, 0), 10)));
          expect(verifyChecksums(packet)).toBe(true);
        }
      }
    }
  });

  it('moves the urgent pointer along and drops URG when it is passed', () => {
    const bench = new Workbench();
    bench.spec.flags = ACK | URG;
    bench.spec.urgent = 50;
    bench.payload(100);
    const { bytes, view, q } = output();
    for (const [cut, urgent, flag] of [
      [20, 30, URG],
      [50, 0, URG],
      [51, 0, 0],
    ]) {
      const p = bench.build();
      q.parse(0, emitRange(p, (SEQ + cut) | 0, (SEQ + 100) | 0, 0, bytes, view, 0, 0), 0);
      expect([q.urgent, q.flags & URG]).toEqual([urgent, flag]);
    }
  });

  it('a range that covers everything changes nothing, not even a wrong checksum or trailing bytes', () => {
    const bench = new Workbench(4096);
    bench.payload(10);
    bench.build();
    const raw = [...bench.raw(), 0, 0, 0];
    raw[raw.length - 5] ^= 1;
    bench.place(raw);
    expect(trimToRange(bench.p, SEQ, (SEQ + 10) | 0)).toBe(raw.length);
    expect([...bench.raw()]).toEqual(raw);
    expect(verifyChecksums(bench.p)).toBe(false);
  });

  it('an empty segment has no range', () => {
    const bench = new Workbench(4096);
    const p = bench.build();
    expect(trimToRange(p, SEQ, (SEQ + 1) | 0)).toBe(0);
  });
});
