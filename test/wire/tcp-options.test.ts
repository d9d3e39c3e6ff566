import { describe, expect, it } from 'vitest';
import { KIND_TCP } from '../../src/wire/packet.ts';
import { Workbench } from './workbench.ts';

/** A TCP packet whose option list is exactly these bytes, padded with `padding` to whole words. */
function withOptions(options: readonly number[], padding = 0): Workbench {
  const bench = new Workbench(4096);
  bench.build();
  const raw = [...bench.raw()];
  const list = [...options];
  while (list.length % 4 !== 0) list.push(padding);
  const out = [...raw, ...list];
  out[3] += list.length;
  out[32] = (5 + list.length / 4) << 4;
  expect(bench.place(out)).toBe(KIND_TCP);
  return bench;
}

const TS = [8, 10, 0x80, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];

describe('TCP options', () => {
  it('reads a SYN as Linux lays it out', () => {
    const { p } = withOptions([2, 4, 0x05, 0xb4, 4, 2, ...TS, 1, 3, 3, 7]);
    expect(p.mss).toBe(1460);
    expect(p.sackPermitted).toBe(true);
    expect(p.windowScale).toBe(7);
    expect(p.tsVal).toBe(-0x7fff_ffff);
    expect(p.tsEcr).toBe(-2);
    expect(p.optionsMalformed).toBe(false);
  });

  it('finds timestamps aligned by two NOPs, and anywhere else', () => {
    for (const lead of [[1, 1], [], [1], [1, 1, 1], [4, 2, 1, 1]]) {
      const { p } = withOptions([...lead, ...TS]);
      expect(p.tsAt).toBe(p.tcpAt + 20 + lead.length + 2);
      expect([p.tsVal, p.tsEcr]).toEqual([-0x7fff_ffff, -2]);
    }
  });

  it('does not take NOP NOP TS of a wrong total for the aligned form', () => {
    const { p } = withOptions([1, 1, ...TS, 2, 4, 0x05, 0x78]);
    expect(p.mss).toBe(1400);
    expect(p.tsVal).toBe(-0x7fff_ffff);
  });

  it('locates SACK blocks', () => {
    for (let count = 1; count <= 4; count += 1) {
      const blocks = new Array<number>(8 * count).fill(9);
      const { p } = withOptions([1, 1, 5, 2 + 8 * count, ...blocks]);
      expect(p.sackCount).toBe(count);
      expect(p.sackAt).toBe(p.tcpAt + 24);
    }
  });

  it('takes an empty SACK option for none', () => {
    const { p } = withOptions([5, 2]);
    expect([p.sackAt, p.sackCount, p.optionsMalformed]).toEqual([-1, 0, false]);
  });

  it('caps the window scale at 14 (RFC 7323 2.3)', () => {
    expect(withOptions([3, 3, 14]).p.windowScale).toBe(14);
    expect(withOptions([3, 3, 15]).p.windowScale).toBe(14);
    expect(withOptions([3, 3, 255]).p.windowScale).toBe(14);
    expect(withOptions([3, 3, 0]).p.windowScale).toBe(0);
  });

  it('recognises what makes a flow untouchable', () => {
    expect(withOptions([19, 18, ...new Array<number>(16).fill(1)]).p.md5).toBe(true);
    expect(withOptions([29, 16, ...new Array<number>(14).fill(1)]).p.ao).toBe(true);
    expect(withOptions([30, 12, ...new Array<number>(10).fill(1)]).p.mptcp).toBe(true);
    const { p } = withOptions([1, 1, ...TS]);
    expect([p.md5, p.ao, p.mptcp, p.fastOpen]).toEqual([false, false, false, false]);
  });

  it('recognises them even when their length is wrong: such a flow is not for us either way', () => {
    for (const [kind, length] of [
      [19, 2],
      [29, 2],
      [30, 2],
    ]) {
      const { p } = withOptions([kind, length]);
      expect(p.md5 || p.ao || p.mptcp).toBe(true);
      expect(p.optionsMalformed).toBe(true);
    }
  });

  it('recognises Fast Open in both forms and no other experiment', () => {
    expect(withOptions([34, 2]).p.fastOpen).toBe(true);
    expect(withOptions([34, 10, 1, 2, 3, 4, 5, 6, 7, 8]).p.fastOpen).toBe(true);
    expect(withOptions([254, 4, 0xf9, 0x89]).p.fastOpen).toBe(true);
    expect(withOptions([254, 4, 0xf9, 0x88]).p.fastOpen).toBe(false);
    expect(withOptions([254, 2]).p.fastOpen).toBe(false);
  });

  it('reads the user timeout raw', () => {
    expect(withOptions([28, 4, 0x80, 0x05]).p.userTimeout).toBe(0x8005);
    expect(withOptions([28, 4, 0, 0]).p.userTimeout).toBe(0);
  });

  it('stops at the end of the list', () => {
    const { p } = withOptions([0, 2, 4, 5, 0xb4]);
    expect(p.mss).toBe(-1);
    expect(p.optionsMalformed).toBe(false);
  });

  it('steps over unknown options', () => {
    const { p } = withOptions([99, 5, 2, 4, 1, 3, 3, 9]);
    expect([p.mss, p.windowScale, p.optionsMalformed]).toEqual([-1, 9, false]);
  });

  it.each([
    ['length 0', [99, 0, 3, 3, 7]],
    ['length 1', [99, 1, 3, 3, 7]],
    ['beyond the header', [1, 8, 10, 0]],
    ['kind without a length', [1, 1, 1, 3]],
  ])('marks a list that ends wrongly: %s', (_name, options) => {
    const { p } = withOptions(options);
    expect(p.optionsMalformed).toBe(true);
    expect([p.windowScale, p.tsAt]).toEqual([-1, -1]);
  });

  it.each([
    ['MSS', [2, 3, 5]],
    ['window scale', [3, 4, 7, 7]],
    ['SACK permitted', [4, 3, 0]],
    ['SACK', [5, 9, 0, 0, 0, 0, 0, 0, 0]],
    ['timestamps', [8, 9, 0, 0, 0, 0, 0, 0, 0]],
    ['user timeout', [28, 3, 0]],
  ])('ignores %s of a wrong length and reads on', (_name, options) => {
    const { p } = withOptions([...options, 2, 4, 0x05, 0xb4]);
    expect(p.optionsMalformed).toBe(true);
    expect(p.mss).toBe(1460);
    expect([p.windowScale, p.sackPermitted, p.sackAt, p.tsAt, p.userTimeout]).toEqual([-1, false, -1, -1, -1]);
  });

  it('lets the last of repeated options count', () => {
    expect(withOptions([2, 4, 1, 0, 2, 4, 2, 0]).p.mss).toBe(512);
  });
});
