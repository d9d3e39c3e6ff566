import { describe, expect, it } from 'vitest';
import type { Packet } from '../../src/wire/packet.ts';
import {
  clampSackBelow,
  completeChecksum,
  removeSackBelow,
  setAck,
  setFlags,
  setSeq,
  setTsEcr,
  setTsVal,
  setWindow,
  verifyChecksums,
} from '../../src/wire/rewrite.ts';
import { ACK, AE, FIN, PSH, SYN } from '../../src/wire/tcp-flags.ts';
import { AT, fieldsOf, slowTcpResidue, Workbench } from './workbench.ts';

function bench(family: 4 | 6 = 4): Workbench {
  const made = new Workbench(1 << 17);
  made.spec.family = family;
  made.spec.hasTs = true;
  made.spec.tsVal = 100;
  made.spec.tsEcr = 200;
  made.payload(101);
  return made;
}

function sackBlocks(p: Packet): number[][] {
  const blocks: number[][] = [];
  for (let i = 0; i < p.sackCount; i += 1) {
    blocks.push([p.view.getInt32(p.sackAt + 8 * i), p.view.getInt32(p.sackAt + 8 * i + 4)]);
  }
  return blocks;
}

/** Decodes the same bytes again and expects the decoder to have been in step with them. */
function expectInStep(p: Packet): void {
  const before = fieldsOf(p);
  p.parse(p.start, p.length, p.vnetLength === 0 ? 0 : 10);
  expect(fieldsOf(p)).toEqual(before);
}

const CORNERS = [0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0xffff, 0x10000, 0x1234_5678];

describe.each([4, 6] as const)('setters, IPv%i', (family) => {
  it.each([
    ['setSeq', setSeq, 4],
    ['setAck', setAck, 8],
    ['setTsVal', setTsVal, 24],
    ['setTsEcr', setTsEcr, 28],
  ] as const)('%s changes its four bytes and keeps the checksum right', (_name, set, offset) => {
    for (const value of CORNERS) {
      const made = bench(family);
      const p = made.build();
      const before = made.raw();
      set(p, value);
      expect(p.view.getInt32(p.tcpAt + offset)).toBe(value);
      expect(slowTcpResidue(p)).toBe(0xffff);
      expect(verifyChecksums(p)).toBe(true);
      expectInStep(p);
      const after = made.raw();
      const tcp = p.tcpAt - AT;
      for (let i = 0; i < after.length; i += 1) {
        const touched = (i >= tcp + offset && i < tcp + offset + 4) || i === tcp + 16 || i === tcp + 17;
        if (!touched) expect(after[i]).toBe(before[i]);
      }
    }
  });

  it('setWindow and setFlags', () => {
    const p = bench(family).build();
    for (const window of [0, 1, 0x8000, 0xffff]) {
      setWindow(p, window);
      expect(p.window).toBe(window);
      expect(slowTcpResidue(p)).toBe(0xffff);
      expectInStep(p);
    }
    for (const flags of [0, SYN, ACK | AE, 0x1ff, ACK | FIN | PSH]) {
      setFlags(p, flags);
      expect(p.flags).toBe(flags);
      expect(slowTcpResidue(p)).toBe(0xffff);
      expectInStep(p);
    }
    expect(p.segLength).toBe(102);
    expect(p.tcpHeaderLength).toBe(32);
  });

  it('leaves a partial checksum alone, which then completes to a right one', () => {
    const made = bench(family);
    made.spec.vnetLength = 10;
    const p = made.build();
    // As the kernel hands over a plain packet of a local sender: pseudo-header sum in the field.
    makePartial(p);
    const field = p.view.getUint16(p.tcpAt + 16);
    expect(verifyChecksums(p)).toBe(true);
    setAck(p, 12345);
    setWindow(p, 0);
    setTsVal(p, -7);
    setFlags(p, ACK | PSH);
    expect(p.view.getUint16(p.tcpAt + 16)).toBe(field);
    expect(verifyChecksums(p)).toBe(true);
    expect(completeChecksum(p)).toBe(true);
    expect(p.needsChecksum).toBe(false);
    expect(slowTcpResidue(p)).toBe(0xffff);
    expect(verifyChecksums(p)).toBe(true);
    expectInStep(p);
    expect(made.raw().slice(0, 10)).toEqual(new Uint8Array(10));
  });
});

/** Turns a plain packet with a virtio-net header into one with a partial checksum. */
function makePartial(p: Packet): void {
  p.view.setUint16(p.tcpAt + 16, 0);
  // Over an empty checksum field, pseudo + header + payload = residue; the pseudo part alone is wanted.
  let pseudo = 6 + (p.end - p.tcpAt);
  for (let at = p.srcAt; at < p.srcAt + (p.family === 4 ? 8 : 32); at += 2) pseudo += p.view.getUint16(at);
  while (pseudo > 0xffff) pseudo = (pseudo & 0xffff) + (pseudo >>> 16);
  p.view.setUint16(p.tcpAt + 16, pseudo);
  p.view.setUint8(p.start, 1);
  p.view.setUint16(p.start + 6, p.tcpAt - p.ipAt, true);
  p.view.setUint16(p.start + 8, 16, true);
  p.parse(p.start, p.length, 10);
}

describe('checksums', () => {
  it('a damaged packet stays exactly as damaged', () => {
    const made = bench();
    const p = made.build();
    p.bytes[p.payloadAt + 50] ^= 0x10;
    expect(verifyChecksums(p)).toBe(false);
    const residue = slowTcpResidue(p);
    setSeq(p, 99);
    setTsEcr(p, 0x0bad_cafe);
    setWindow(p, 7);
    expect(slowTcpResidue(p)).toBe(residue);
    expect(verifyChecksums(p)).toBe(false);
  });

  it('verification notices any single flipped bit', () => {
    for (const family of [4, 6] as const) {
      const made = bench(family);
      made.payload(3);
      const p = made.build();
      expect(verifyChecksums(p)).toBe(true);
      // Not in the checksummed parts of IPv6: its first eight bytes (the length enters through the pseudo-header).
      const from = family === 4 ? p.ipAt + 8 : p.srcAt;
      for (let at = from; at < p.end; at += 1) {
        for (let bit = 0; bit < 8; bit += 1) {
          p.bytes[at] ^= 1 << bit;
          if (verifyChecksums(p)) expect({ family, at: at - p.ipAt, bit }).toBe('noticed');
          p.bytes[at] ^= 1 << bit;
        }
      }
      expect(verifyChecksums(p)).toBe(true);
    }
  });

  it('a super-packet keeps its partial checksum', () => {
    const made = bench(6);
    made.spec.vnetLength = 10;
    made.spec.gsoSize = 1000;
    made.payload(5000);
    const p = made.build();
    const before = made.raw();
    expect(verifyChecksums(p)).toBe(true);
    expect(completeChecksum(p)).toBe(false);
    expect(made.raw()).toEqual(before);
    p.bytes[p.tcpAt + 17] ^= 1;
    expect(verifyChecksums(p)).toBe(false);
  });

  it('follows timestamps at an odd offset', () => {
    const made = new Workbench(4096);
    made.payload(7);
    made.build();
    const raw = [...made.raw()];
    const options = [1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    const out = [...raw.slice(0, 40), ...options, ...raw.slice(40)];
    out[3] += options.length;
    out[32] = 8 << 4;
    made.place(out);
    const { p } = made;
    expect((p.tsAt - p.tcpAt) & 1).toBe(1);
    const residue = slowTcpResidue(p);
    for (const value of CORNERS) {
      setTsVal(p, value);
      setTsEcr(p, ~value);
      expect(slowTcpResidue(p)).toBe(residue);
      expect(p.view.getInt32(p.tsAt)).toBe(value);
      expectInStep(p);
    }
  });

  it('timestamps that are not there are not written', () => {
    const made = bench();
    made.spec.hasTs = false;
    const p = made.build();
    const before = made.raw();
    setTsVal(p, 1);
    setTsEcr(p, 2);
    expect(made.raw()).toEqual(before);
  });
});

describe('SACK blocks', () => {
  const blocks = Int32Array.from([5000, 6000, 1000, 2000, 3000, 4000]);

  function withSack(): Workbench {
    const made = bench();
    made.spec.sack = blocks;
    made.spec.sackCount = 3;
    return made;
  }

  it.each([
    [999, 3, 3],
    [1999, 3, 3],
    [2000, 2, 2],
    [3500, 2, 2],
    [4000, 1, 1],
    [5999, 1, 1],
    [6000, 0, 0],
    [7000, 0, 0],
  ])('below %i: %i remain', (seq, kept) => {
    for (const clamp of [false, true]) {
      const made = withSack();
      const p = made.build();
      const expected = [
        [5000, 6000],
        [1000, 2000],
        [3000, 4000],
      ]
        .filter(([, right]) => right > seq)
        .map(([left, right]) => [clamp ? Math.max(left, seq) : left, right]);
      const optionAt = p.sackAt - 2;
      (clamp ? clampSackBelow : removeSackBelow)(p, seq);
      expect(p.sackCount).toBe(kept);
      expect(sackBlocks(p)).toEqual(expected);
      expect(slowTcpResidue(p)).toBe(0xffff);
      const free = optionAt + (kept === 0 ? 0 : 2 + 8 * kept);
      for (let at = free; at < p.payloadAt; at += 1) expect(p.bytes[at]).toBe(1);
      expectInStep(p);
    }
  });

  it('compares on the circle', () => {
    const made = bench();
    made.spec.sack = Int32Array.from([0x7fff_fff0, -0x7fff_fff0, 0x7fff_ff00, 0x7fff_ff80]);
    made.spec.sackCount = 2;
    const p = made.build();
    removeSackBelow(p, 0x7fff_ffff);
    expect(sackBlocks(p)).toEqual([[0x7fff_fff0, -0x7fff_fff0]]);
    clampSackBelow(p, -0x8000_0000);
    expect(sackBlocks(p)).toEqual([[-0x8000_0000, -0x7fff_fff0]]);
    expect(slowTcpResidue(p)).toBe(0xffff);
  });

  it('writes nothing when nothing is to be dropped, or no option is there', () => {
    const made = withSack();
    const p = made.build();
    let before = made.raw();
    removeSackBelow(p, 500);
    clampSackBelow(p, 1000);
    expect(made.raw()).toEqual(before);
    made.spec.sackCount = 0;
    made.build();
    before = made.raw();
    removeSackBelow(p, 7000);
    expect(made.raw()).toEqual(before);
  });

  it('follows an option at an odd offset', () => {
    const made = new Workbench(4096);
    made.build();
    const raw = [...made.raw()];
    const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    const list = [1, 5, 18, ...word(1000), ...word(2000), ...word(0x0123_4567), ...word(0x0123_5678), 0];
    const out = [...raw, ...list];
    out[3] += list.length;
    out[32] = (5 + list.length / 4) << 4;
    made.place(out);
    const { p } = made;
    const residue = slowTcpResidue(p);
    removeSackBelow(p, 2000);
    expect(sackBlocks(p)).toEqual([[0x0123_4567, 0x0123_5678]]);
    expect(slowTcpResidue(p)).toBe(residue);
    clampSackBelow(p, 0x0123_5000);
    expect(slowTcpResidue(p)).toBe(residue);
    removeSackBelow(p, 0x0123_5678);
    expect(p.sackAt).toBe(-1);
    expect(slowTcpResidue(p)).toBe(residue);
    expectInStep(p);
  });
});
