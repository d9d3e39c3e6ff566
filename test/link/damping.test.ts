import { describe, expect, it } from 'vitest';
import { type Micros, NEVER, seconds } from '../../src/base/time.ts';
import { DEFAULT_DAMPING, Penalty } from '../../src/link/damping.ts';
import { Subject } from '../../src/link/subject.ts';
import { DEFAULT_DETECTORS } from '../../src/policy/detectors.ts';

describe('penalty', () => {
  it('has the defaults that the configuration documents', () => {
    expect(DEFAULT_DAMPING).toEqual(DEFAULT_DETECTORS.damping);
  });

  it('halves with every half-life', () => {
    const penalty = new Penalty(DEFAULT_DAMPING);
    penalty.onLoss(0);
    expect(penalty.level(0)).toBe(1);
    expect(penalty.level(seconds(3))).toBeCloseTo(0.5);
    expect(penalty.level(seconds(30))).toBeCloseTo(2 ** -10);
  });

  it('of one loss, or of two far enough apart, holds nothing back', () => {
    const penalty = new Penalty(DEFAULT_DAMPING);
    penalty.onLoss(0);
    expect(penalty.reuseAt(1)).toBe(1);
    penalty.onLoss(seconds(3.1));
    expect(penalty.reuseAt(seconds(3.2))).toBe(seconds(3.2));
  });

  it('of two losses in a row holds the next return back until it has fallen to the lower level', () => {
    const penalty = new Penalty(DEFAULT_DAMPING);
    penalty.onLoss(0);
    penalty.onLoss(seconds(1));
    const at = penalty.reuseAt(seconds(1));
    expect(penalty.level(at)).toBeCloseTo(1);
    expect(at - seconds(1)).toBeGreaterThan(seconds(2));
    expect(at - seconds(1)).toBeLessThan(seconds(3));
    // Still held back a moment before, although the level is below the upper one by then (RFC 2439 4.2: two levels).
    expect(penalty.reuseAt(at - 1_000)).toBeGreaterThan(at - 1_000);
    expect(penalty.reuseAt(at)).toBe(at);
  });

  it('outlasts no outage of three seconds, however many come in a row', () => {
    const penalty = new Penalty(DEFAULT_DAMPING);
    for (let i = 0; i < 20; i++) {
      const back = seconds(3.06 * i + 3);
      penalty.onLoss(seconds(3.06 * i));
      expect(penalty.reuseAt(back)).toBe(back);
    }
  });

  it('never holds back for longer than is allowed, however often it blinked', () => {
    const penalty = new Penalty(DEFAULT_DAMPING);
    for (let i = 0; i < 1_000; i++) penalty.onLoss(seconds(i / 10));
    const at = penalty.reuseAt(seconds(100));
    expect(at - seconds(100)).toBeLessThanOrEqual(DEFAULT_DAMPING.longest);
    expect(at - seconds(100)).toBeGreaterThan(seconds(12));
  });

  it('that is switched off or cleared holds nothing back', () => {
    const off = new Penalty(null);
    const cleared = new Penalty(DEFAULT_DAMPING);
    for (const penalty of [off, cleared]) for (let i = 0; i < 9; i++) penalty.onLoss(i);
    cleared.clear();
    expect([off.reuseAt(10), cleared.reuseAt(10)]).toEqual([10, 10]);
  });
});

describe('subject', () => {
  /** Lost and back at these times (micros); what the verdict is after each. */
  function blink(subject: Subject, times: readonly Micros[]): boolean[] {
    return times.map((at, i) => {
      subject.say('carrier', i % 2 === 0 ? 'no carrier' : null, at);
      return subject.isLost;
    });
  }

  it('names every line of evidence, the most specific first, and is lost as long as one stands', () => {
    const subject = new Subject(null, 0);
    expect([subject.isLost, subject.reason, subject.detector]).toEqual([false, 'operational', null]);
    expect(subject.say('silence', 'silent', 1)).toBe(true);
    expect(subject.say('icmp', 'unreachable', 2)).toBe(false);
    expect(subject.standing()).toEqual(['unreachable', 'silent']);
    expect([subject.reason, subject.detector, subject.since]).toEqual(['unreachable', 'icmp', 1]);
    expect(subject.say('icmp', null, 3)).toBe(false);
    expect(subject.say('silence', null, 4)).toBe(true);
    expect([subject.isLost, subject.since]).toEqual([false, 4]);
  });

  it('that blinks is believed once; its second return waits, and says why', () => {
    const subject = new Subject(DEFAULT_DAMPING, 0);
    expect(blink(subject, [0, 500_000, 1_000_000, 1_500_000])).toEqual([true, false, true, true]);
    expect(subject.standing()).toEqual(['lost 2 times of late: its return is not believed yet']);
    expect(subject.onTimeout(subject.heldUntil - 1)).toBe(false);
    const until = subject.heldUntil;
    expect(subject.onTimeout(until)).toBe(true);
    expect([subject.isLost, subject.heldUntil, subject.since]).toEqual([false, NEVER, until]);
  });

  it('that blinks on while it is held back is held back for longer', () => {
    const subject = new Subject(DEFAULT_DAMPING, 0);
    blink(subject, [0, 500_000, 1_000_000, 1_500_000]);
    const first = subject.heldUntil;
    expect(blink(subject, [2_000_000, 2_500_000])).toEqual([true, true]);
    expect(subject.heldUntil).toBeGreaterThan(first + seconds(1));
  });

  it('is not punished for what a person orders', () => {
    const subject = new Subject(DEFAULT_DAMPING, 0);
    for (let i = 0; i < 10; i++) {
      expect(subject.say('command', 'frozen by command', 2 * i)).toBe(true);
      expect(subject.say('command', null, 2 * i + 1)).toBe(true);
    }
    expect(subject.isLost).toBe(false);
  });

  it('a person clears inferences and damping, never proof or a command', () => {
    const subject = new Subject(DEFAULT_DAMPING, 0);
    blink(subject, [0, 1, 2, 3]);
    for (const detector of ['neighbour', 'icmp', 'echo', 'silence', 'lease'] as const) subject.say(detector, 'x', 4);
    expect(subject.clearInferred(5)).toBe(true);
    expect(subject.isLost).toBe(false);
    subject.say('carrier', 'no carrier', 6);
    subject.say('command', 'frozen by command', 6);
    expect(subject.clearInferred(7)).toBe(false);
    expect(subject.standing()).toEqual(['no carrier', 'frozen by command']);
  });
});
