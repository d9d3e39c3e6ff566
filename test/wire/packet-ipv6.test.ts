import { describe, expect, it } from 'vitest';
import {
  KIND_FRAGMENT,
  KIND_MALFORMED,
  KIND_OTHER,
  KIND_TCP,
  MALFORMED_IPV6_EXTENSION,
  MALFORMED_TCP_TRUNCATED,
} from '../../src/wire/packet.ts';
import { EMPTY_EXTENSION, sample, withExtensions } from './samples.ts';
import { AT, Workbench } from './workbench.ts';

describe('IPv6 particulars', () => {
  it('walks hop-by-hop, destination, routing and atomic fragment headers', () => {
    const bench = new Workbench(4096);
    const longer = [0, 1, 1, 12, ...new Array<number>(12).fill(0)];
    const chain = withExtensions([
      [0, EMPTY_EXTENSION],
      [60, longer],
      [43, [0, 0, 4, 0, 0, 0, 0, 0]],
      [44, [0, 0, 0, 6, 1, 2, 3, 4]],
      [60, EMPTY_EXTENSION],
    ]);
    expect(bench.place(chain)).toBe(KIND_TCP);
    expect(bench.p.tcpAt).toBe(AT + 40 + 8 + 16 + 8 + 8 + 8);
    expect(bench.p.payloadLength).toBe(5);
    expect(bench.p.srcPort).toBe(40_000);
  });

  it('sees real fragments, first and later', () => {
    const bench = new Workbench(4096);
    expect(bench.place(withExtensions([[44, [0, 0, 0, 1, 1, 2, 3, 4]]]))).toBe(KIND_FRAGMENT);
    expect(bench.place(withExtensions([[44, [0, 0, 0, 8, 1, 2, 3, 4]]]))).toBe(KIND_FRAGMENT);
    expect(bench.p.protocol).toBe(6);
  });

  it('does not touch what is protected, unknown, or still on a source route', () => {
    const bench = new Workbench(4096);
    for (const next of [50, 51, 59, 4, 41, 135]) {
      expect(bench.place(withExtensions([], next))).toBe(KIND_OTHER);
      expect(bench.p.protocol).toBe(next);
    }
    expect(bench.place(withExtensions([[43, [0, 0, 4, 1, 0, 0, 0, 0]]]))).toBe(KIND_OTHER);
  });

  it('refuses chains that are endless, misplaced or cut off', () => {
    const bench = new Workbench(4096);
    const destination = [60, EMPTY_EXTENSION] as const;
    expect(bench.place(withExtensions(new Array(8).fill(destination)))).toBe(KIND_TCP);
    expect(bench.place(withExtensions(new Array(9).fill(destination)))).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_IPV6_EXTENSION);
    expect(bench.place(withExtensions([destination, [0, EMPTY_EXTENSION]]))).toBe(KIND_MALFORMED);
    expect(bench.place(withExtensions([[60, [0, 200, 1, 4, 0, 0, 0, 0]]]))).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_IPV6_EXTENSION);
    // One unit of eight bytes too long, whatever seems to follow.
    for (const next of [6, 17, 60]) {
      const units = (20 + 5 + 7) >> 3;
      const long = withExtensions([[60, [0, units + 1, 1, 4, 0, 0, 0, 0]]]);
      long[40] = next;
      expect(bench.place(long)).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBe(MALFORMED_IPV6_EXTENSION);
    }
    const cut = withExtensions([destination]).slice(0, 47);
    cut[5] = 7;
    expect(bench.place(cut)).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_IPV6_EXTENSION);
  });

  it('takes payload length 0 literally unless it is a super-packet', () => {
    const bench = new Workbench();
    const raw = sample(6);
    raw[4] = 0;
    raw[5] = 0;
    expect(bench.place(raw)).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_TCP_TRUNCATED);
    const vnet = [0, 4, 60, 0, 2, 0, 0, 0, 0, 0];
    expect(bench.place([...vnet, ...raw], 10)).toBe(KIND_TCP);
    expect(bench.p.payloadLength).toBe(5);
  });
});
