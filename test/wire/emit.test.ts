import { describe, expect, it } from 'vitest';
import { copyBytes, emitTcp, emitUnreachable, loadAddress, TcpSpec, UnreachableSpec } from '../../src/wire/emit.ts';
import { IcmpError, icmpChecksumIsRight } from '../../src/wire/icmp.ts';
import { icmpv6ChecksumIsRight } from '../../src/wire/icmpv6.ts';
import { KIND_OTHER } from '../../src/wire/packet.ts';
import { verifyChecksums } from '../../src/wire/rewrite.ts';
import { ACK, CWR, SYN } from '../../src/wire/tcp-flags.ts';
import { AT, pattern, slowSum, slowTcpResidue, Workbench } from './workbench.ts';

describe.each([4, 6] as const)('TCP over IPv%i', (family) => {
  it('writes exactly the packet and nothing around it', () => {
    for (const vnetLength of [0, 10] as const) {
      const bench = new Workbench();
      bench.spec.family = family;
      bench.spec.vnetLength = vnetLength;
      bench.payload(333);
      const p = bench.build();
      expect(p.length).toBe(vnetLength + (family === 4 ? 20 : 40) + 20 + 333);
      expect(bench.poisonIntact(AT, AT + p.length)).toBe(true);
      expect(bench.raw().slice(0, vnetLength)).toEqual(new Uint8Array(vnetLength));
      expect(p.bytes.slice(p.payloadAt, p.end)).toEqual(pattern(333));
      expect(slowTcpResidue(p)).toBe(0xffff);
      if (family === 4) expect(slowSum(p.bytes, p.ipAt, p.ipAt + 20)).toBe(0xffff);
    }
  });

  it('lays out every option so that the decoder reads it back', () => {
    const bench = new Workbench();
    const { spec } = bench;
    spec.family = family;
    Object.assign(spec, { flags: SYN, mss: 1440, windowScale: 9, sackPermitted: true, userTimeout: 0x8001 });
    Object.assign(spec, { hasTs: true, tsVal: -3, tsEcr: 4 });
    const p = bench.build();
    expect([p.mss, p.windowScale, p.sackPermitted, p.userTimeout]).toEqual([1440, 9, true, 0x8001]);
    expect([p.tsVal, p.tsEcr, p.tcpHeaderLength]).toEqual([-3, 4, 48]);
    expect(p.optionsMalformed).toBe(false);
    expect(verifyChecksums(p)).toBe(true);
  });

  it('carries four SACK blocks alone, or three beside timestamps, and no more', () => {
    const bench = new Workbench();
    const { spec, p } = bench;
    spec.family = family;
    spec.sack = Int32Array.from([1, 2, 3, 4, 5, 6, -8, -7]);
    spec.sackCount = 4;
    bench.build();
    expect(p.sackCount).toBe(4);
    expect(p.view.getInt32(p.sackAt + 24)).toBe(-8);
    spec.hasTs = true;
    expect(emitTcp(p.bytes, p.view, AT, spec)).toBe(0);
    spec.sackCount = 3;
    bench.build();
    expect(p.sackCount).toBe(3);
  });

  it('emits a payload above the segment size as a super-packet, and one of just that size as plain', () => {
    const bench = new Workbench();
    const { spec } = bench;
    spec.family = family;
    spec.vnetLength = 10;
    spec.gsoSize = 1000;
    spec.flags = ACK | CWR;
    bench.payload(1000);
    expect(bench.build().needsChecksum).toBe(false);
    bench.payload(1001);
    const p = bench.build();
    expect([p.needsChecksum, p.gsoType, p.gsoSize]).toEqual([true, (family === 4 ? 1 : 4) | 0x80, 1000]);
    expect(p.view.getUint16(AT + 2, true)).toBe(p.payloadAt - p.ipAt);
    expect(verifyChecksums(p)).toBe(true);
    spec.vnetLength = 0;
    expect(emitTcp(p.bytes, p.view, AT, spec)).toBe(0);
  });

  it('refuses, without writing, what does not fit', () => {
    const bench = new Workbench(4096);
    const { spec, p } = bench;
    spec.family = family;
    bench.payload(10);
    const total = (family === 4 ? 20 : 40) + 30;
    p.bytes.fill(0xa5);
    expect(emitTcp(p.bytes, p.view, 4096 - total + 1, spec)).toBe(0);
    expect(bench.poisonIntact(0, 0)).toBe(true);
    expect(emitTcp(p.bytes, p.view, 4096 - total, spec)).toBe(total);
    const large = new Workbench();
    large.spec.family = family;
    large.payload(65_536 - 20 - (family === 4 ? 20 : 0));
    expect(emitTcp(large.p.bytes, large.p.view, AT, large.spec)).toBe(0);
    large.spec.payloadTo -= 1;
    expect(emitTcp(large.p.bytes, large.p.view, AT, large.spec)).toBeGreaterThan(65_534);
    large.spec.payloadFrom = large.spec.payloadTo + 1;
    expect(emitTcp(large.p.bytes, large.p.view, AT, large.spec)).toBe(0);
  });

  it('takes a slice of the payload', () => {
    const bench = new Workbench();
    bench.spec.family = family;
    bench.payload(500);
    bench.spec.payloadFrom = 123;
    bench.spec.payloadTo = 456;
    const p = bench.build();
    expect(p.bytes.slice(p.payloadAt, p.end)).toEqual(pattern(500).slice(123, 456));
  });
});

describe('destination unreachable', () => {
  function message(family: 4 | 6, vnetLength: 0 | 10): { bench: Workbench; spec: UnreachableSpec; length: number } {
    const bench = new Workbench();
    const spec = new UnreachableSpec();
    const { quoted } = spec;
    Object.assign(quoted, bench.spec);
    quoted.family = family;
    quoted.hasTs = true;
    quoted.payload = pattern(1000);
    quoted.payloadTo = 1000;
    Object.assign(spec, { family, vnetLength, addresses: quoted.addresses, srcAt: 4, dstAt: 0, ttl: 63, ipId: 5 });
    bench.p.bytes.fill(0xa5);
    const length = emitUnreachable(bench.p.bytes, bench.p.view, AT, spec);
    return { bench, spec, length };
  }

  it.each([
    [4, 0],
    [4, 10],
    [6, 0],
    [6, 10],
  ] as const)('IPv%i with %i bytes before it: decodes to what was quoted', (family, vnetLength) => {
    const { bench, spec, length } = message(family, vnetLength);
    const { p } = bench;
    const ip = family === 4 ? 20 : 40;
    expect(length).toBe(vnetLength + ip + 8 + ip + 20);
    expect(bench.poisonIntact(AT, AT + length)).toBe(true);
    expect(p.parse(AT, length, vnetLength)).toBe(KIND_OTHER);
    expect(p.protocol).toBe(family === 4 ? 1 : 58);
    expect(p.ttl).toBe(63);
    expect(p.end).toBe(AT + length);
    if (family === 4) {
      expect(slowSum(p.bytes, p.ipAt, p.ipAt + 20)).toBe(0xffff);
      expect(slowSum(p.bytes, p.payloadAt, p.end)).toBe(0xffff);
      expect(icmpChecksumIsRight(p.bytes, p.payloadAt, p.end)).toBe(true);
    } else {
      const pseudo = slowSum([0, 58, 0, 68], 0, 4, slowSum(p.bytes, p.srcAt, p.srcAt + 32));
      expect(slowSum(p.bytes, p.payloadAt, p.end, pseudo)).toBe(0xffff);
      expect(icmpv6ChecksumIsRight(p.bytes, p.srcAt, p.payloadAt, p.end)).toBe(true);
    }
    const error = new IcmpError();
    expect(error.parse(p.view, p.payloadAt, p.end, family)).toBe(true);
    expect([error.type, error.code, error.protocol]).toEqual([family === 4 ? 3 : 1, 0, 6]);
    expect([error.srcPort, error.dstPort, error.seq, error.hasSeq]).toEqual([40_000, 80, 0x7fff_fff0, true]);
    const words = new Int32Array(8);
    const count = family === 4 ? 1 : 4;
    loadAddress(p.view, error.srcAt, family, words, 0);
    loadAddress(p.view, error.dstAt, family, words, 4);
    expect(words.slice(0, count)).toEqual(spec.addresses.slice(0, count));
    expect(words.slice(4, 4 + count)).toEqual(spec.addresses.slice(4, 4 + count));
    loadAddress(p.view, p.dstAt, family, words, 0);
    expect(words.slice(0, count)).toEqual(spec.addresses.slice(0, count));
  });

  it('quotes a header that states the segment it stands for, with right checksums', () => {
    for (const family of [4, 6] as const) {
      const { bench, spec } = message(family, 0);
      const { p } = bench;
      const ip = family === 4 ? 20 : 40;
      const quote = p.bytes.slice(AT + ip + 8, AT + ip + 8 + ip + 20);
      const stated = family === 4 ? (quote[2] << 8) | quote[3] : ((quote[4] << 8) | quote[5]) + 40;
      expect(stated).toBe(ip + 20 + 1000);
      if (family === 4) expect(slowSum(quote, 0, 20)).toBe(0xffff);
      // Quote and payload together are the quoted packet.
      const whole = new Workbench();
      whole.place([...quote, ...(spec.quoted.payload ?? [])]);
      expect(verifyChecksums(whole.p)).toBe(true);
      expect(slowTcpResidue(whole.p)).toBe(0xffff);
    }
  });

  it('refuses, without writing, what does not fit or mixes families', () => {
    const { bench, spec } = message(4, 0);
    const { p } = bench;
    p.bytes.fill(0xa5);
    expect(emitUnreachable(p.bytes, p.view, p.bytes.length - 67, spec)).toBe(0);
    spec.quoted.family = 6;
    expect(emitUnreachable(p.bytes, p.view, AT, spec)).toBe(0);
    expect(bench.poisonIntact(0, 0)).toBe(true);
  });
});

describe('copyBytes', () => {
  it('copies within one buffer in either direction and between buffers, short and long', () => {
    for (const length of [0, 1, 127, 128, 1000]) {
      for (const shift of [-7, 7]) {
        const bytes = pattern(2000);
        const expected = [...bytes];
        for (let i = 0; i < length; i += 1) expected[100 + shift + i] = pattern(2000)[100 + i];
        const other = new Uint8Array(bytes.buffer, 0, 2000);
        copyBytes(bytes, 100 + shift, shift < 0 ? bytes : other, 100, 100 + length);
        expect([...bytes]).toEqual(expected);
      }
      const target = new Uint8Array(2000);
      copyBytes(target, 5, pattern(2000), 100, 100 + length);
      expect(target.slice(5, 5 + length)).toEqual(pattern(2000).slice(100, 100 + length));
      expect(target.slice(5 + length).every((byte) => byte === 0)).toBe(true);
    }
  });

  it('starts from a specification that says an empty ACK', () => {
    const spec = new TcpSpec();
    expect([spec.flags, spec.payload, spec.sackCount, spec.hasTs]).toEqual([ACK, null, 0, false]);
  });
});
