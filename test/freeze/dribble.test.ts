import { describe, expect, it } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { Custody, CustodyBudget } from '../../src/freeze/custody.ts';
import { beginDribble, dribble, endDribble } from '../../src/freeze/dribble.ts';
import { Frozen } from '../../src/freeze/frozen.ts';

const SEGMENT = 1_000;
const SRTT = 40_000;

function frozenWith(bytes: number, base: number): Frozen {
  const custody = new Custody(new CustodyBudget(1e7, 1e7), base);
  custody.extend(bytes);
  const frozen = new Frozen(custody, bytes);
  frozen.shown = base;
  return frozen;
}

/** A sender as Linux has it: srtt from each ACK's sample, loss probe two srtt after the last ACK (RFC 8985 7.2). */
class Sender {
  srtt = SRTT;
  lastAckAt: number;
  readonly #sentAt: number;

  constructor(lossAt: number) {
    this.#sentAt = lossAt - SRTT;
    this.lastAckAt = lossAt;
  }

  get probeAt(): number {
    return this.lastAckAt + 2 * this.srtt;
  }

  onAck(now: number): void {
    this.srtt += (now - this.#sentAt - this.srtt) / 8;
    this.lastAckAt = now;
  }
}

describe.each([1_000, -20_000, 0x7fff_ffff - 15_000])('dribble from %i', (base) => {
  it('never waits until the sender would send a loss probe, and keeps custody unshown for a minute at least', () => {
    const frozen = frozenWith(60 * SEGMENT, base);
    const lossAt = 5_000_000;
    const sender = new Sender(lossAt);
    beginDribble(frozen, base, SEGMENT, SRTT, lossAt);
    expect((frozen.shown - base) | 0).toBeGreaterThan(0);
    let count = 0;
    let last = false;
    while (!last) {
      const at = frozen.dribbleAt;
      expect(at).toBeLessThan(sender.probeAt);
      const before = frozen.shown;
      last = dribble(frozen, SEGMENT, at);
      expect((frozen.shown - before) | 0).toBeLessThanOrEqual(SEGMENT);
      sender.onAck(at);
      count++;
    }
    expect(count).toBeLessThanOrEqual(48);
    expect(sender.lastAckAt - lossAt).toBeGreaterThan(60_000_000);
    expect([frozen.shown, frozen.dribbleAt]).toEqual([frozen.custody.end, NEVER]);
  });

  it('shows everything at once where there is nothing to keep', () => {
    for (const [bytes, segment, srtt] of [
      [3 * SEGMENT, SEGMENT, SRTT],
      [60 * SEGMENT, SEGMENT, 0],
      [60 * SEGMENT, 0, SRTT],
    ] as const) {
      const frozen = frozenWith(bytes, base);
      beginDribble(frozen, base, segment, srtt, 1_000);
      expect([frozen.shown, frozen.dribbleAt]).toEqual([frozen.custody.end, NEVER]);
    }
  });

  it('ends on demand', () => {
    const frozen = frozenWith(60 * SEGMENT, base);
    beginDribble(frozen, base, SEGMENT, SRTT, 1_000);
    expect(frozen.dribbleAt).toBeLessThan(NEVER);
    endDribble(frozen);
    expect([frozen.shown, frozen.dribbleAt]).toEqual([frozen.custody.end, NEVER]);
  });
});
