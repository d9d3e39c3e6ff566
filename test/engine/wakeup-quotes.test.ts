/** The far peer may not have heard the last acknowledgements: what it is told, and what is quoted to it (freeze/wakeup.ts). */
import { describe, expect, it } from 'vitest';
import { Conversation, PLAIN, SEGMENT, stream } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, flags, type Seen, seq, toFar, unreachable } from './seen.ts';

const icmp = (all: readonly Seen[]): Seen[] => all.filter((seen) => seen.icmp !== null);

describe('a last acknowledgement that may not have arrived', () => {
  const LINE = 36;
  const OLD = 1;
  const NEW = OLD + LINE;
  const numbers = (all: readonly Seen[]): number[] =>
    Array.from({ length: 80 }, (_, i) => i).filter((una) => {
      const one = icmp(all).find((seen) => unreachable(una, PLAIN.family)(seen) === null);
      return one !== undefined;
    });

  /** Two typed lines are on their way when the link goes: one was acknowledged, with an ACK that may be lost, the other is lost. */
  function lines({ nearSends = 0, size = LINE } = {}): Conversation {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.tick(10);
    c.acknowledge('far');
    c.data('far', 1, size);
    c.acknowledge('near');
    c.data('near', nearSends);
    c.lose();
    c.tick(10_000);
    c.rig.take();
    c.restore();
    return c;
  }
  const toTheFar = (c: Conversation): Seen[] => c.seen().filter((seen) => seen.to === 'far');

  it('is quoted as it is and as it was before; nothing acknowledges more than that', () => {
    const c = lines();
    c.tick(60);
    const all = toTheFar(c);
    expectPacket(all[0], toFar, flags('.'), seq(SEGMENT), ack(OLD));
    expect(numbers(all)).toEqual([OLD, NEW]);
    expect(icmp(all)).toHaveLength(2 * 12);
    // Four of each at once: fresh data of the near endpoint, which acknowledges everything, is on its way.
    expect(icmp(all).filter((seen) => seen.at === all[0]!.at)).toHaveLength(2 * 4);
    expect(all.filter((seen) => seen.isTcp && seen.ack !== OLD)).toEqual([]);
  });

  it('the far peer has merged both and sends them again: there is nothing more to do', () => {
    const c = lines();
    c.tick(41);
    c.rig.take();
    expect(c.fromFar({ seq: OLD, payload: stream(OLD, 2 * LINE) }).forwarded).not.toBeNull();
    c.tick(10_000);
    expect(toTheFar(c)).toEqual([]);
    expect(c.rig.counter('wakeupsAnswered')).toBe(1);
  });

  it('is told once a path that works has carried the quotes', () => {
    const c = lines();
    c.tick(1_000);
    expect(toTheFar(c).filter((seen) => seen.isTcp && seen.ack !== OLD)).toEqual([]);
    // Its answer to the question, two more lines in flight.
    c.fromFar({ seq: NEW + LINE });
    c.tick(60);
    const all = toTheFar(c);
    const at = all.findIndex((seen) => seen.isTcp && seen.ack === NEW);
    expect(at).toBeGreaterThan(24);
    expect(numbers(all.slice(0, at))).toEqual([OLD, NEW]);
    expect(numbers(all.slice(at))).toEqual([NEW]);
  });

  it('what is delivered from custody says no more either', () => {
    const c = lines({ nearSends: 3 });
    c.tick(60);
    const data = toTheFar(c).filter((seen) => seen.payload.length > 0);
    expect(data.length).toBeGreaterThan(0);
    for (const seen of data) expectPacket(seen, ack(OLD));
  });

  it('is told at once where segments are whole: nothing has been merged', () => {
    const c = lines({ size: 1_420 });
    c.rig.settle();
    expectPacket(toTheFar(c)[0], flags('.'), ack(OLD + 1_420));
  });

  it('an answer that nothing is in flight ends it', () => {
    const c = lines();
    c.tick(41);
    c.fromFar({ seq: NEW });
    c.rig.take();
    c.tick(10_000);
    expect(icmp(c.seen())).toEqual([]);
  });
});
