import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { emitTcp, emitUnreachable, UnreachableSpec } from '../../src/wire/emit.ts';
import { IcmpError } from '../../src/wire/icmp.ts';
import { clampSackBelow, setAck, setFlags, setTsEcr, setWindow, verifyChecksums } from '../../src/wire/rewrite.ts';
import { AT, Workbench } from './workbench.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const ROUNDS = 100_000;

/**
 * Bytes that `body` allocates per call, after it has been compiled. Below the size of the young generation nothing is
 * collected in between, and one object per call would show as at least 16 bytes.
 */
function bytesPerCall(body: (i: number) => void): number {
  for (let i = 0; i < 2 * ROUNDS; i += 1) body(i);
  let least = Number.POSITIVE_INFINITY;
  // The least of several: the compiler and the test runner allocate at times of their own.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < ROUNDS; i += 1) body(i);
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / ROUNDS);
  }
  return least;
}

describe('the hot path allocates nothing', () => {
  it('the gauge notices one small object per call', () => {
    const kept: { i: number }[] = [];
    kept.length = 4;
    const slot = (i: number): void => {
      kept[i & 3] = { i };
    };
    expect(bytesPerCall(slot)).toBeGreaterThan(12);
  });

  it('100 000 parses', () => {
    const plain = new Workbench(4096);
    plain.spec.hasTs = true;
    plain.spec.sack = Int32Array.from([1, 2, 3, 4]);
    plain.spec.sackCount = 2;
    plain.build();
    const large = new Workbench();
    Object.assign(large.spec, { family: 6, vnetLength: 10, gsoSize: 1000 });
    large.payload(5000);
    large.build();
    const { length } = plain.p;
    const largeLength = large.p.length;
    let kinds = 0;
    const used = bytesPerCall(() => {
      kinds += plain.p.parse(AT, length, 0) + large.p.parse(AT, largeLength, 10) + plain.p.parse(AT, 30, 0);
    });
    expect(kinds).toBeGreaterThan(0);
    expect(used).toBeLessThan(1);
  });

  it('100 000 rewrites, emissions and verifications', () => {
    const bench = new Workbench(8192);
    const { spec, p } = bench;
    spec.hasTs = true;
    spec.payload = new Uint8Array(8);
    spec.payloadTo = 8;
    spec.sack = Int32Array.from([1, 2, 3, 4]);
    spec.sackCount = 2;
    bench.build();
    const unreachable = new UnreachableSpec();
    unreachable.quoted = spec;
    const error = new IcmpError();
    let good = 0;
    const used = bytesPerCall((i) => {
      const length = emitTcp(p.bytes, p.view, AT, spec);
      p.parse(AT, length, 0);
      setAck(p, Math.imul(i, 40_503));
      setWindow(p, i & 0xffff);
      setTsEcr(p, -i);
      setFlags(p, i & 0x1ff);
      clampSackBelow(p, 2);
      if (verifyChecksums(p)) good += 1;
      const icmpLength = emitUnreachable(p.bytes, p.view, AT, unreachable);
      p.parse(AT, icmpLength, 0);
      if (error.parse(p.view, p.payloadAt, p.end, p.family)) good += 1;
    });
    expect(good).toBe(2 * 7 * ROUNDS);
    expect(used).toBeLessThan(1);
  });
});
