/** Walks every cell of the phase table with the real engine: what is done with the segment, and what is said because of it. */
import { describe, expect, it } from 'vitest';
import { CONSUME, DROP, FORWARD } from '../../src/engine/engine.ts';
import { PHASE_NAMES, type Phase } from '../../src/flow/phase.ts';
import * as table from '../../src/freeze/phases.ts';
import { ACK, FIN, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT, type Segment, stream } from './conversation.ts';
import { type Outcome, Rig } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, seq, toFar, toNear, window } from './seen.ts';

type Kind = 'syn' | 'data' | 'probe' | 'ack' | 'rst';
type Side = 'any' | 'near' | 'far';

/** MPTCP's option kind over the first option of a SYN: such a connection is left alone. */
const asMptcp = (bytes: Uint8Array): void => {
  bytes[40] = 30;
};

/** Two segments are acknowledged; then three are in flight when the link goes. CE is 5001. */
const CE = 1 + 5 * SEGMENT;

function frozen(): Conversation {
  const c = new Conversation(new Rig()).open();
  c.data('near', 2);
  c.acknowledge('far');
  c.data('far', 1);
  c.acknowledge('near');
  c.data('near', 3);
  c.lose();
  c.tick(3_000);
  return c;
}

function handback(): Conversation {
  const c = frozen();
  c.restore();
  c.tick(20);
  // One segment has arrived: the near endpoint's window opens by as much, when the pace allows.
  c.acknowledge('far', 1 + 3 * SEGMENT);
  c.tick(150);
  return c;
}

function closing(): Conversation {
  const c = new Conversation(new Rig()).open();
  c.fromNear({ flags: FIN | ACK });
  c.fromFar({ flags: FIN | ACK });
  c.fromNear();
  return c;
}

/** A flow in the phase, with or without a loss. */
const inPhase: Readonly<Record<string, (lost: boolean) => Conversation>> = {
  opening: (lost) => {
    const c = new Conversation(new Rig());
    c.fromNear({ flags: SYN });
    if (lost) c.lose();
    return c;
  },
  flowing: () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.data('far', 1);
    return c;
  },
  frozen,
  handback,
  closing: (lost) => {
    const c = closing();
    if (lost) c.lose();
    return c;
  },
  bypass: (lost) => {
    const c = new Conversation(new Rig());
    c.fromNear({ flags: SYN, bend: asMptcp });
    if (lost) c.lose();
    return c;
  },
};

/** A typical segment of the kind, as that side would send it in that phase. */
function typical(c: Conversation, phase: string, side: Side, kind: Kind): Segment {
  const from = side === 'far' ? 'far' : 'near';
  const { nxt } = c[from];
  // During handback the far peer has not caught up yet.
  const behind: Segment = phase === 'handback' && from === 'far' ? { ack: 1 + 3 * SEGMENT } : {};
  switch (kind) {
    case 'syn':
      if (phase === 'opening' || phase === 'bypass') {
        return { flags: from === 'far' ? SYN | ACK : SYN, seq: 0, ...(from === 'far' && { ack: 1 }) };
      }
      return { flags: SYN, seq: nxt + 50 };
    case 'data':
      return { ...behind, payload: stream(nxt, 100) };
    case 'probe':
      return { ...behind, seq: nxt - 1 };
    case 'ack':
      return behind;
    case 'rst':
      return { flags: RST };
  }
}

/** Cells that no flow is ever in, with the reason; what is checked instead is that it is so. */
function unreachable(phase: string, side: Side): string | null {
  if ((phase === 'frozen' || phase === 'handback') && side === 'any') return 'a held flow has a near and a far side';
  if (phase === 'flowing' && side !== 'any') return 'a flow is frozen in the same turn in which its link is lost';
  return null;
}

/** Whether the action was carried out on a segment of `side`. */
function check(action: number, c: Conversation, phase: string, side: Side, kind: Kind, outcome: Outcome): void {
  const { rig } = c;
  switch (action) {
    case table.ACT_BYPASS:
    case table.ACT_FORWARD:
      expect(outcome).toMatchObject({ disposition: FORWARD, unchanged: true });
      expect(c.seen()).toEqual([]);
      return;
    case table.ACT_ABSORB:
      expect(outcome.disposition).toBe(DROP);
      expect(c.seen()).toEqual([]);
      return;
    case table.ACT_PARK:
      expect(outcome.disposition).toBe(CONSUME);
      expect(c.seen()).toEqual([]);
      c.restore();
      expectPackets(c.seen(), [toFar, flags('S'), seq(0)]);
      return;
    case table.ACT_NEXT:
      expect(outcome.disposition).toBe(CONSUME);
      expect(c.seen()).toEqual([]);
      return;
    case table.ACT_TAKE:
      expect(outcome.disposition).toBe(CONSUME);
      expect(rig.flow.custodyBytes).toBe(3 * SEGMENT + 100);
      expectPackets(c.seen(), [toNear, flags('.'), ack(CE + 100), window(0), seq(1 + SEGMENT)]);
      return;
    case table.ACT_ANSWER:
      expect(outcome.disposition).toBe(CONSUME);
      if (phase === 'frozen') expectPackets(c.seen(), [toNear, flags('.'), ack(CE), window(0)]);
      else expectPackets(c.seen(), [toNear, flags('.'), ack(CE), window(1_000 >> 7)]);
      return;
    case table.ACT_HOLD_RESET:
      expect(outcome.disposition).toBe(CONSUME);
      expect(c.seen()).toEqual([]);
      c.restore();
      c.tick(50);
      expect(c.seen().filter((seen) => (seen.flags & RST) !== 0)).toEqual([]);
      c.acknowledge('far', CE);
      expectPacket(c.seen().at(-1), toFar, flags('R.'), seq(CE));
      expect(rig.flow).toMatchObject({ phase: 'closing', custodyBytes: 0 });
      return;
    case table.ACT_LATE:
      expect(outcome.disposition).toBe(FORWARD);
      expectPacket(c.decode(outcome), toNear, ack(CE), window(0));
      expect(c.seen()).toEqual([]);
      expect(rig.flow.phase).toBe('frozen');
      return;
    case table.ACT_END:
      expect(outcome).toMatchObject({ disposition: FORWARD, unchanged: true });
      expect(rig.flow).toMatchObject({ phase: 'closing', custodyBytes: 0 });
      expect(rig.counter('undeliverableBytes')).toBe(phase === 'frozen' ? 3 * SEGMENT : 2 * SEGMENT);
      expect(rig.events.at(-1)).toMatchObject({ name: 'flow-reset' });
      return;
    case table.ACT_CLOCK:
      if (kind === 'ack') {
        expect(outcome.disposition).toBe(CONSUME);
        return;
      }
      expectPacket(c.decode(outcome), toNear, ack(CE), window(1_000 >> 7));
      return;
    case table.ACT_FRESH:
      expect(outcome).toMatchObject({ disposition: FORWARD, unchanged: true });
      return;
    default:
      expect.fail(`no check for action ${action}, ${side}`);
  }
}

const SIDES: readonly Side[] = ['any', 'near', 'far'];
const KINDS: readonly Kind[] = ['syn', 'data', 'probe', 'ack', 'rst'];

describe('phase table', () => {
  PHASE_NAMES.forEach((phase, number) => {
    describe(phase, () => {
      SIDES.forEach((side, sideNumber) => {
        const row = table.PHASE_TABLE[number as Phase][sideNumber]!;
        KINDS.forEach((kind, kindNumber) => {
          const { action, reason } = row[kind]!;
          it(`${side} ${kind}: ${reason}`, () => {
            expect(table.actionFor(number, sideNumber, kindNumber)).toBe(action);
            const c = inPhase[phase]!(side !== 'any');
            expect(c.rig.flow.phase).toBe(phase);
            c.rig.take();
            const why = unreachable(phase, side);
            if (why !== null && phase === 'flowing') {
              c.lose();
              expect(c.rig.flow.phase, why).toBe('frozen');
              return;
            }
            const outcome = c.send(side === 'far' ? 'far' : 'near', typical(c, phase, side, kind));
            if (why !== null) {
              expect(outcome.unchanged && phase === 'frozen', why).toBe(false);
              return;
            }
            // The ports of a connection that is over, or was left alone, are used again: a new one begins (RFC 9293 3.6.1).
            const isReuse = kind === 'syn' && side === 'near' && (phase === 'closing' || phase === 'bypass');
            if (isReuse) expect([outcome.disposition, c.rig.flow.phase]).toEqual([CONSUME, 'opening']);
            else check(action, c, phase, side, kind, outcome);
          });
        });
      });
    });
  });

  it('gives every cell a reason of its own words', () => {
    for (const rows of Object.values(table.PHASE_TABLE)) {
      for (const row of rows) for (const kind of KINDS) expect(row[kind]!.reason.length).toBeGreaterThan(20);
    }
  });
});

describe('what the cells do not say', () => {
  it('handback: a retransmission of what is in custody is answered, not forwarded', () => {
    const c = handback();
    c.rig.take();
    const outcome = c.fromNear({ seq: 1 + 4 * SEGMENT, payload: stream(1 + 4 * SEGMENT, SEGMENT) });
    expect(outcome.disposition).toBe(CONSUME);
    expectPackets(c.seen(), [toNear, ack(CE), window(1_000 >> 7)]);
  });

  it('frozen: an inexact reset of the far peer ends nothing and does not pass (RFC 5961 3.2)', () => {
    const c = frozen();
    const outcome = c.fromFar({ flags: RST, seq: c.far.nxt + 1 });
    expect(outcome.disposition).toBe(DROP);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 3 * SEGMENT });
    expect(c.rig.counter('outOfWindow')).toBe(1);
  });

  it('frozen: a reset from the near endpoint outside what it may send is ignored', () => {
    for (const away of [-5_000, 1_000]) {
      const c = frozen();
      c.rig.take();
      c.fromNear({ flags: RST, seq: CE + away });
      c.restore();
      c.tick(30);
      c.acknowledge('far', CE);
      expect(c.seen().some((seen) => (seen.flags & RST) !== 0)).toBe(false);
      expect(c.rig.flow.phase).toBe('flowing');
    }
  });

  it('flowing: an exact reset ends the flow, one that is merely in the window does not', () => {
    const c = new Conversation(new Rig()).open();
    c.fromFar({ flags: RST, seq: c.far.nxt + 7 });
    expect(c.rig.flow.phase).toBe('flowing');
    expect(c.fromFar({ flags: RST }).unchanged).toBe(true);
    expect(c.rig.flow.phase).toBe('closing');
  });
});
