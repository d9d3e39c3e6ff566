import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { type Micros, millis, NEVER, seconds } from '../../src/base/time.ts';
import { Silence } from '../../src/link/silence.ts';

const RTT = millis(40);

/** A conversation of `count` answers every `every`, each bringing forth the next question. Returns the time of the last answer. */
function talk(silence: Silence, count: number, every: Micros, from: Micros = seconds(1)): Micros {
  for (let i = 0; i < count; i++) {
    silence.onHeard(from + i * every);
    if (i < count - 1) silence.onAsked(false, RTT, from + i * every);
  }
  return from + (count - 1) * every;
}

/** First time in (from, to] at which the verdict is reached, polled as a shell would. */
function verdictAt(silence: Silence, from: Micros, to: Micros, asks: readonly Micros[]): Micros | null {
  const open = [...asks];
  for (let now = from; now <= to; now += millis(1)) {
    while (open.length > 0 && open[0]! <= now) silence.onAsked(true, RTT, open.shift()!);
    if (silence.check(now)) return now;
  }
  return null;
}

describe('silence of a link', () => {
  it('has no deadline while nothing is asked, and none once all is answered', () => {
    const silence = new Silence();
    expect(silence.checkAt).toBe(NEVER);
    const end = talk(silence, 10, millis(10));
    expect(silence.checkAt).toBeLessThan(NEVER);
    expect(silence.check(end + seconds(1))).toBe(false);
    expect(silence.checkAt).toBe(NEVER);
  });

  it('is noticed under bulk traffic after two unanswered repeats, not before 600 ms', () => {
    const silence = new Silence();
    const heard = talk(silence, 3_000, millis(2));
    const asks = [millis(5), millis(100), millis(300)].map((after) => heard + after);
    const at = verdictAt(silence, heard, heard + seconds(2), asks);
    expect(at).not.toBeNull();
    expect(at! - heard).toBeGreaterThanOrEqual(millis(600));
    expect(at! - heard).toBeLessThan(millis(700));
    expect(silence.unanswered).toBeGreaterThanOrEqual(silence.needed);
  });

  it('is no verdict without a repeat: the other side may have nothing to say', () => {
    const silence = new Silence();
    const heard = talk(silence, 3_000, millis(2));
    expect(verdictAt(silence, heard, heard + seconds(5), [])).toBeNull();
  });

  it('is broken by a single sign of life', () => {
    const silence = new Silence();
    const heard = talk(silence, 3_000, millis(2));
    const asks = [100, 300, 550].map((after) => heard + millis(after));
    expect(verdictAt(silence, heard, heard + millis(590), asks)).toBeNull();
    silence.onHeard(heard + millis(591));
    expect(verdictAt(silence, heard + millis(592), heard + millis(1_100), [])).toBeNull();
  });

  it('has to be longer where round trips are longer', () => {
    const silence = new Silence();
    talk(silence, 1_000, millis(2));
    silence.onAsked(false, seconds(1.5), seconds(4));
    expect(silence.threshold).toBe(seconds(4.5));
    const fresh = new Silence();
    expect(fresh.threshold).toBe(seconds(3));
  });

  it('needs more unanswered questions where more is lost', () => {
    const clean = new Silence();
    talk(clean, 3_000, millis(2));
    const lossy = new Silence();
    const prng = new Prng(4);
    for (let i = 0; i < 3_000; i++) {
      lossy.onAsked(prng.nextFloat() < 0.1, RTT, seconds(1) + i * millis(2));
      lossy.onHeard(seconds(1) + i * millis(2) + 1);
    }
    // (2 * 0.01)^5 and (2 * 0.1)^11 are the first powers below 1e-7.
    expect(clean.needed).toBe(5);
    expect(lossy.needed).toBeGreaterThanOrEqual(9);
    expect(lossy.needed).toBeLessThanOrEqual(13);
  });

  it('is forgotten on reset', () => {
    const silence = new Silence();
    const heard = talk(silence, 3_000, millis(2));
    verdictAt(silence, heard, heard + millis(550), [heard + millis(100), heard + millis(300)]);
    silence.reset(heard + millis(560));
    expect(silence.checkAt).toBe(NEVER);
    expect(verdictAt(silence, heard + millis(560), heard + seconds(4), [])).toBeNull();
  });
});
