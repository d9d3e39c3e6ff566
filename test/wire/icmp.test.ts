import { describe, expect, it } from 'vitest';
import { IcmpError } from '../../src/wire/icmp.ts';
import { Workbench } from './workbench.ts';

/** An ICMP message around the first `quoted` bytes of a TCP packet, between two poisoned bytes. */
function message(family: 4 | 6, type: number, code: number, quoted: number, rest = [0, 0, 0, 0]): DataView {
  const bench = new Workbench(4096);
  bench.spec.family = family;
  bench.payload(100);
  bench.build();
  return wrap(type, code, rest, [...bench.raw()].slice(0, quoted));
}

function wrap(type: number, code: number, rest: readonly number[], quote: readonly number[]): DataView {
  return new DataView(Uint8Array.from([type, code, 0, 0, ...rest, ...quote]).buffer);
}

const parse = (error: IcmpError, view: DataView, family: 4 | 6): boolean =>
  error.parse(view, 0, view.byteLength, family);

describe.each([4, 6] as const)('errors over IPv%i', (family) => {
  const ip = family === 4 ? 20 : 40;
  const error = new IcmpError();

  it('accepts error types only', () => {
    const errors = family === 4 ? [3, 11, 12] : [1, 2, 3, 4];
    for (let type = 0; type < 256; type += 1) {
      expect(parse(error, message(family, type, 0, 200), family)).toBe(errors.includes(type));
    }
  });

  it('reads as much as was quoted, down to the ports', () => {
    const type = family === 4 ? 3 : 1;
    for (let quoted = 0; quoted <= ip + 60; quoted += 1) {
      const readable = parse(error, message(family, type, 1, quoted), family);
      expect(readable).toBe(quoted >= ip + 4);
      if (!readable) continue;
      expect([error.srcPort, error.dstPort, error.protocol, error.code]).toEqual([40_000, 80, 6, 1]);
      expect(error.hasSeq).toBe(quoted >= ip + 8);
      expect(error.seq).toBe(quoted >= ip + 8 ? 0x7fff_fff0 : 0);
      expect(error.srcAt).toBe(8 + (family === 4 ? 12 : 8));
      expect(error.dstAt).toBe(8 + (family === 4 ? 16 : 24));
    }
  });

  it('forgets the message before', () => {
    expect(parse(error, message(family, family === 4 ? 3 : 2, 4, 60, [0, 0, 5, 0]), family)).toBe(true);
    expect(error.mtu).toBe(1280);
    const bare = wrap(family === 4 ? 11 : 3, 0, [0, 0, 5, 0], [...headerOf(family, 47)]);
    expect(parse(error, bare, family)).toBe(true);
    expect([error.mtu, error.srcPort, error.dstPort, error.seq, error.hasSeq]).toEqual([0, 0, 0, 0, false]);
    expect(error.protocol).toBe(47);
  });

  it('refuses a quote of the other family and ranges outside the view', () => {
    const view = message(family === 4 ? 6 : 4, family === 4 ? 3 : 1, 0, 100);
    expect(parse(error, view, family)).toBe(false);
    const good = message(family, family === 4 ? 3 : 1, 0, 100);
    expect(error.parse(good, 0, good.byteLength + 1, family)).toBe(false);
    expect(error.parse(good, -1, good.byteLength, family)).toBe(false);
    expect(error.parse(good, good.byteLength, 0, family)).toBe(false);
  });

  it('reads the ports of a quoted UDP packet', () => {
    const view = wrap(family === 4 ? 3 : 1, 3, [0, 0, 0, 0], [...headerOf(family, 17), 0, 53, 1, 0]);
    expect(parse(error, view, family)).toBe(true);
    expect([error.srcPort, error.dstPort, error.hasSeq]).toEqual([53, 256, false]);
  });
});

/** A bare IP header with the given upper-layer protocol. */
function headerOf(family: 4 | 6, protocol: number): Uint8Array {
  const header = new Uint8Array(family === 4 ? 20 : 40);
  header[0] = family === 4 ? 0x45 : 0x60;
  header[family === 4 ? 9 : 6] = protocol;
  return header;
}

describe('particulars', () => {
  const error = new IcmpError();

  it('reads the MTU only where it is one', () => {
    expect(parse(error, message(4, 3, 4, 60, [9, 9, 0x05, 0x78]), 4)).toBe(true);
    expect(error.mtu).toBe(1400);
    expect(parse(error, message(4, 3, 1, 60, [9, 9, 0x05, 0x78]), 4)).toBe(true);
    expect(error.mtu).toBe(0);
    expect(parse(error, message(6, 2, 0, 60, [0xff, 0, 0x05, 0x78]), 6)).toBe(true);
    expect(error.mtu).toBe(0xff00_0578);
  });

  it('refuses quotes of later fragments and reads first ones', () => {
    const quote = [...headerOf(4, 6), 0, 80, 0, 81, 1, 2, 3, 4];
    quote[6] = 0x20;
    expect(parse(error, wrap(3, 0, [0, 0, 0, 0], quote), 4)).toBe(true);
    quote[7] = 1;
    expect(parse(error, wrap(3, 0, [0, 0, 0, 0], quote), 4)).toBe(false);
    const v6 = [...headerOf(6, 44), 6, 0, 0, 1, 0, 0, 0, 9, 0, 80, 0, 81, 1, 2, 3, 4];
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], v6), 6)).toBe(true);
    expect([error.srcPort, error.seq]).toEqual([80, 0x0102_0304]);
    v6[43] = 8;
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], v6), 6)).toBe(false);
  });

  it('walks quoted extension headers, but not for ever', () => {
    const extension = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];
    const ports = [0, 80, 0, 81, 1, 2, 3, 4];
    const chain = [...headerOf(6, 0), ...extension(43), ...extension(60), ...extension(6), ...ports];
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], chain), 6)).toBe(true);
    expect([error.srcPort, error.protocol]).toEqual([80, 6]);
    const endless = [...headerOf(6, 60), ...new Array(9).fill(extension(60)).flat(), ...ports];
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], endless), 6)).toBe(false);
    const beyond = [...headerOf(6, 60), 6, 9, 0, 0, 0, 0, 0, 0, ...ports];
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], beyond), 6)).toBe(false);
  });

  it('refuses a quote whose headers end behind it, whatever protocol it names', () => {
    const v4 = [...headerOf(4, 47)];
    v4[0] = 0x46;
    expect(parse(error, wrap(3, 0, [0, 0, 0, 0], v4), 4)).toBe(false);
    expect(parse(error, wrap(3, 0, [0, 0, 0, 0], [...v4, 0, 0, 0, 0]), 4)).toBe(true);
    const v6 = [...headerOf(6, 60), 47, 1, 1, 4, 0, 0, 0, 0];
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], v6), 6)).toBe(false);
    expect(parse(error, wrap(1, 0, [0, 0, 0, 0], [...v6, ...new Array<number>(8).fill(0)]), 6)).toBe(true);
  });

  it('reads quoted IPv4 options and refuses an absurd header length', () => {
    const quote = [...headerOf(4, 6), 1, 1, 1, 0, 0, 80, 0, 81];
    quote[0] = 0x46;
    expect(parse(error, wrap(3, 0, [0, 0, 0, 0], quote), 4)).toBe(true);
    expect(error.srcPort).toBe(80);
    for (const first of [0x44, 0x40, 0x4f, 0x65]) {
      quote[0] = first;
      expect(parse(error, wrap(3, 0, [0, 0, 0, 0], quote), 4)).toBe(false);
    }
  });
});
