/** Explicit congestion notification in segments that the gateway makes (theory of operation 6.3; RFC 3168, accurate ECN). */
import { describe, expect, it } from 'vitest';
import { ACK, AE, CWR, ECE, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT, stream } from './conversation.ts';
import { Rig } from './rig.ts';
import { type Seen, toFar, toNear } from './seen.ts';

const ACE = AE | CWR | ECE;

/** The handshake with the given ECN bits; then both ends speak with some of their own, and the link goes with data in flight. */
function held(syn: number, synAck: number, near: number, far: number): Conversation {
  const c = new Conversation(new Rig());
  c.fromNear({ flags: SYN | syn });
  c.tick(10);
  c.fromFar({ flags: SYN | ACK | synAck });
  c.tick(10);
  c.fromNear({ flags: ACK | near });
  c.data('near', 2);
  c.data('far', 1);
  c.fromNear({ flags: ACK | near });
  c.fromFar({ flags: ACK | far });
  c.fromNear({ flags: ACK | near, payload: stream(c.near.nxt, SEGMENT) });
  c.rig.take();
  c.lose();
  c.tick(2_000);
  return c;
}

const bits = (all: readonly Seen[], to: typeof toNear): number[] => [
  ...new Set(all.filter((seen) => seen.isTcp && to(seen) === null).map((seen) => seen.flags & ACE)),
];

describe('ECN', () => {
  it('accurate: the counter that each end sent last is repeated in its name', () => {
    const c = held(ACE, CWR, CWR | ECE, AE);
    expect(bits(c.seen(), toNear)).toEqual([AE]);
    c.restore();
    c.tick(50);
    expect(bits(c.seen(), toFar)).toEqual([CWR | ECE]);
  });

  it('classic: an echo is not repeated, which would halve the window again, nor is CWR', () => {
    const c = held(ECE | CWR, ECE, CWR, ECE);
    expect(bits(c.seen(), toNear)).toEqual([0]);
    c.restore();
    c.tick(50);
    expect(bits(c.seen(), toFar)).toEqual([0]);
  });

  it('not agreed on: stray bits are not repeated', () => {
    const c = held(ACE, 0, ECE, ECE);
    expect(bits(c.seen(), toNear)).toEqual([0]);
  });
});
