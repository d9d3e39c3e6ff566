import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Custody, CustodyBudget } from '../../src/freeze/custody.ts';

function fill(custody: Custody, bytes: readonly number[]): void {
  const target = custody.extend(bytes.length);
  target.bytes.set(bytes, target.at);
}

function held(custody: Custody): number[] {
  const from = custody.offsetOf(custody.base);
  return [...custody.bytes.subarray(from, from + custody.length)];
}

describe('custody', () => {
  it('is a queue of bytes, whatever is appended and acknowledged', () => {
    // Mostly a little is released and more appended, so that the memory grows with its start moved.
    const step = fc.record({ add: fc.nat(3_000), share: fc.constantFrom(0, 0.1, 0.4, 0.9, 1), salt: fc.nat(255) });
    const schedule = fc.array(step, { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(schedule, fc.integer({ min: -2_000, max: 5 }), fc.boolean(), (steps, base, fin) => {
        const budget = new CustodyBudget(1e6, 1e6);
        const custody = new Custody(budget, base);
        let twin: number[] = [];
        let at = base;
        steps.forEach(({ add, share, salt }, i) => {
          const bytes = Array.from({ length: add }, (_, n) => (n * 7 + salt) & 0xff);
          fill(custody, bytes);
          twin.push(...bytes);
          custody.fin = fin && i === steps.length - 1;
          expect(custody.end).toBe((at + twin.length + (custody.fin ? 1 : 0)) | 0);
          const covered = Math.floor(twin.length * share);
          custody.release((at + covered) | 0);
          twin = twin.slice(covered);
          at = (at + covered) | 0;
          expect([custody.base, custody.length, custody.dataEnd]).toEqual([at, twin.length, (at + twin.length) | 0]);
          expect(Buffer.compare(Buffer.from(held(custody)), Buffer.from(twin))).toBe(0);
          expect(budget.used).toBe(twin.length);
        });
        expect(custody.discard()).toBe(twin.length);
        expect([budget.used, custody.isEmpty]).toEqual([0, true]);
      }),
      { numRuns: 100 },
    );
  });

  it('its FIN takes one sequence number and is released by the ACK behind it only', () => {
    const custody = new Custody(new CustodyBudget(10, 10), -2);
    fill(custody, [1, 2, 3]);
    custody.fin = true;
    expect([custody.dataEnd, custody.end]).toEqual([1, 2]);
    custody.release(1);
    expect([custody.isEmpty, custody.fin, custody.base]).toEqual([false, true, 1]);
    custody.release(2);
    expect([custody.isEmpty, custody.fin, custody.base, custody.end]).toEqual([true, false, 2, 2]);
  });

  it('an old or repeated acknowledgement releases nothing', () => {
    const custody = new Custody(new CustodyBudget(10, 10), 100);
    fill(custody, [1, 2, 3]);
    for (const ack of [100, 99, 100 - 2 ** 30]) custody.release(ack | 0);
    expect(held(custody)).toEqual([1, 2, 3]);
  });

  it('shares a total, and neither limit is passed', () => {
    const budget = new CustodyBudget(100, 150);
    const a = new Custody(budget, 0);
    const b = new Custody(budget, 0);
    expect(a.room).toBe(100);
    a.extend(90);
    expect([a.room, b.room]).toEqual([10, 60]);
    b.extend(60);
    expect([a.room, b.room]).toEqual([0, 0]);
    a.release(50);
    expect([a.room, b.room]).toEqual([50, 40]);
    expect(new CustodyBudget(0, 100).room(0, null)).toBe(0);
    expect(new CustodyBudget(10, 100).room(20, null)).toBe(0);
    // What an earlier process acknowledged is taken back whatever the shares say, within the limits.
    const again = new CustodyBudget(60, 100);
    again.used = 70;
    expect([again.canHold(20, 30), again.canHold(20, 31), again.canHold(31, 30)]).toEqual([true, false, false]);
  });
});
