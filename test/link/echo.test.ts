import { describe, expect, it } from 'vitest';
import { type Micros, millis, NEVER, seconds } from '../../src/base/time.ts';
import { EchoProbe } from '../../src/link/echo.ts';

const A = Uint8Array.of(192, 0, 2, 1);
const B = Uint8Array.of(192, 0, 2, 2);

/** Runs a probe for `length` from `from`; answers what is asked after `rtt`, NEVER for not at all. */
function play(
  probe: EchoProbe,
  from: Micros,
  length: Micros,
  rttOf: (address: Uint8Array) => Micros,
): { asked: number; lost: { at: Micros; text: string } | null } {
  const due: { at: Micros; address: Uint8Array; askedAt: Micros }[] = [];
  let asked = 0;
  for (let now = from; now < from + length; now += millis(10)) {
    for (const reply of due.filter(({ at }) => at <= now)) {
      due.splice(due.indexOf(reply), 1);
      probe.onReply(reply.address, reply.askedAt, now);
    }
    for (const { address } of probe.run(true, now)) {
      asked++;
      const rtt = rttOf(address);
      if (rtt !== NEVER) due.push({ at: now + rtt, address, askedAt: now });
    }
    const text = probe.verdict(now);
    if (text !== null) return { asked, lost: { at: now, text } };
  }
  return { asked, lost: null };
}

describe('echo probe', () => {
  it('asks nobody without a target, and nothing while nobody needs it', () => {
    const probe = new EchoProbe(seconds(1));
    expect(probe.deadline).toBe(NEVER);
    probe.suspect(0);
    expect(probe.deadline).toBe(NEVER);
    probe.add(4, A, false, 0);
    expect(probe.run(false, 0)).toEqual([]);
    expect(probe.deadline).toBe(NEVER);
    probe.wake(5);
    expect(probe.deadline).toBe(5);
  });

  it('asks once per interval, targets in turn, whatever their number', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    probe.add(4, B, false, 0);
    expect(play(probe, 0, seconds(60), () => millis(40))).toEqual({ asked: 60, lost: null });
  });

  it('asks hardly ever while traffic proves the link', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    let asked = 0;
    for (let now = 0; now < seconds(300); now += millis(100)) {
      probe.onHeard(now);
      for (const { address } of probe.run(true, now)) {
        asked++;
        probe.onReply(address, now, now + millis(40));
      }
    }
    expect(asked).toBeLessThan(15);
  });

  it('notices within 5 s of the last answer, at one echo a second', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    play(probe, 0, seconds(20), () => millis(40));
    const { lost } = play(probe, seconds(20), seconds(20), () => NEVER);
    expect(lost!.at - seconds(20)).toBeLessThan(seconds(5));
    expect(lost!.text).toMatch(/^\d+ echoes unanswered in 2\.\d s$/);
  });

  it('takes no verdict from a target that never answered, or when one of two answers', () => {
    const mute = new EchoProbe(seconds(1));
    mute.add(4, A, true, 0);
    expect(play(mute, 0, seconds(60), () => NEVER).lost).toBeNull();
    const half = new EchoProbe(seconds(1));
    half.add(4, A, true, 0);
    half.add(4, B, true, 0);
    play(half, 0, seconds(10), () => millis(40));
    expect(play(half, seconds(10), seconds(60), (address) => (address === A ? NEVER : millis(40))).lost).toBeNull();
  });

  it('sits out a queue of 1.5 s that was not there before, and a longer one that grew', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    play(probe, 0, seconds(10), () => millis(40));
    expect(play(probe, seconds(10), seconds(60), () => seconds(1.5)).lost).toBeNull();
    expect(play(probe, seconds(70), seconds(60), () => seconds(3)).lost).toBeNull();
  });

  it('needs longer where round trips are longer', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    play(probe, 0, seconds(60), () => seconds(1.5));
    const { lost } = play(probe, seconds(60), seconds(60), () => NEVER);
    expect(lost!.at - seconds(60)).toBeGreaterThan(seconds(4));
  });

  it('backs off in an outage', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, false, 0);
    play(probe, 0, seconds(10), () => millis(40));
    probe.onVerdict(true, seconds(10));
    const counts = [10, 60, 300, 400].map((at, i, all) => {
      const from = i === 0 ? 0 : all[i - 1]!;
      return play(probe, seconds(10 + from), seconds(at - from), () => NEVER).asked;
    });
    expect(counts.map((count, i) => count / [10, 50, 240, 100][i]!)).toEqual([
      expect.closeTo(1.9, 0),
      expect.closeTo(1, 0),
      expect.closeTo(0.5, 1),
      expect.closeTo(0.2, 1),
    ]);
  });

  it('drops discovered targets that are no routers any more, never configured ones', () => {
    const probe = new EchoProbe(seconds(1));
    probe.add(4, A, true, 0);
    probe.add(4, B, false, 0);
    probe.retain([]);
    expect(probe.targets.map(({ address }) => address)).toEqual([A]);
    for (let i = 0; i < 99; i++) probe.add(4, Uint8Array.of(10, 0, 0, i), false, 0);
    expect(probe.targets.length).toBe(8);
  });
});
