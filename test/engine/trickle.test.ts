/** Trickle: frozen senders with a user timeout are kept alive by small windows (theory of operation 7). */
import { describe, expect, it } from 'vitest';
import { DEFAULT_RULE } from '../../src/policy/policy.ts';
import { ACK, FIN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, SHIFT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, type Seen, toFar, toNear, window } from './seen.ts';

const EVERY = 4e6;
/** Largest multiple of the window unit below one segment. */
const PIECE = Math.floor((SEGMENT - 1) / 2 ** SHIFT) * 2 ** SHIFT;

const RST_WITHOUT_ACK = 0x04;

function frozen(trickle: 'off' | 'auto' | number, variant = PLAIN): Conversation {
  const c = new Conversation(new Rig({ policy: [{ ...DEFAULT_RULE, trickle }] }), variant).open();
  c.data('near', 2);
  c.lose();
  c.tick(100);
  c.rig.take();
  return c;
}

/** A zero-window probe without data, as Linux sends it. */
const probe = (c: Conversation): void => void c.fromNear({ seq: c.near.nxt - 1 });

/** RTO of a sender on the LAN (TCP_RTO_MIN). */
const RTO = 200;

/**
 * Probes like a Linux sender until one is answered by an open window, at most so many times: each after twice the interval before it
 * (RFC 9293 3.8.6.1), counted from the last ACK that came (tcp_ack_probe).
 * @returns milliseconds from the first probe's timer on, and the interval to the next one
 */
function probes(c: Conversation, most = 12): { opened: Seen | undefined; passed: number; next: number } {
  let passed = 0;
  let interval = RTO;
  for (let count = 0; count < most; count++) {
    c.tick(interval);
    passed += interval;
    interval *= 2;
    probe(c);
    const opened = c.seen().find((seen) => seen.window > 0);
    if (opened !== undefined) return { opened, passed, next: interval };
  }
  return { opened: undefined, passed, next: interval };
}

describe.each(VARIANTS)('trickle ($name)', (variant) => {
  it('opens by less than a segment in the answer to a probe, takes what the next one brings, shuts again', () => {
    const c = frozen(EVERY, variant);
    const end = 1 + 2 * SEGMENT;
    const { opened, next } = probes(c);
    expectPacket(opened, toNear, flags('.'), ack(end), window(PIECE >> SHIFT));
    c.tick(next);
    c.fromNear({ payload: stream(end, PIECE) });
    expectPackets(c.seen(), [toNear, ack(end + PIECE), window(0)]);
    expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT + PIECE);
    expect(c.rig.counter('trickles')).toBe(1);
    expect(c.rig.counter('trickledBytes')).toBe(PIECE);
    // What it took is delivered like the rest.
    c.restore();
    c.tick(500);
    const sent = c.seen().filter((seen) => seen.to === 'far' && seen.payload.length > 0);
    expect(sent.map((seen) => seen.seq + seen.payload.length).reduce((a, b) => Math.max(a, b))).toBe(end + PIECE);
  });
});

describe('in time', () => {
  it.each([0.8, 1.2, 4, 8])(
    'a piece is taken within %f s of the one before, and not after a third of that',
    (every) => {
      const c = frozen(every * 1e6);
      for (let piece = 0; piece < 6; piece++) {
        const { passed, next } = probes(c);
        c.tick(next);
        expect(passed + next).toBeLessThanOrEqual(every * 1_000);
        expect(passed + next).toBeGreaterThan((every * 1_000) / 3);
        c.fromNear({ payload: stream(1 + 2 * SEGMENT + piece * PIECE, PIECE) });
      }
      expect(c.rig.counter('trickledBytes')).toBe(6 * PIECE);
    },
  );

  it('nothing is said unasked: it would put the next probe off', () => {
    const c = frozen(EVERY);
    const { next } = probes(c);
    c.tick(next - 1);
    expect(c.seen()).toEqual([]);
  });

  it('at the first probe where that comes late', () => {
    const c = frozen(EVERY);
    c.tick(3_000);
    c.seen();
    probe(c);
    expectPackets(c.seen(), [toNear, window(PIECE >> SHIFT)]);
  });

  it('a dribble ends after a quarter of the interval: it would lengthen the time to the first probe', () => {
    const c = new Conversation(new Rig({ policy: [{ ...DEFAULT_RULE, trickle: EVERY }] })).open();
    c.data('near', 2);
    c.tick(40);
    c.acknowledge('far');
    c.data('near', 40);
    c.lose();
    c.tick(900);
    const end = c.near.nxt;
    expect(c.seen().filter((seen) => seen.ack === end)).toEqual([]);
    c.tick(600);
    expect(c.seen().at(-1)!.ack).toBe(end);
  });
});

describe('it stays shut', () => {
  it('for a sender that has nothing to send', () => {
    const c = frozen(EVERY);
    c.tick(50_000);
    expect(c.seen().filter((seen) => seen.window > 0)).toEqual([]);
  });

  it('after a FIN, after a reset, where it is off, and where nobody knows of a limit', () => {
    for (const [trickle, last] of [
      [EVERY, { flags: FIN | ACK }],
      [EVERY, { flags: RST_WITHOUT_ACK }],
      ['off', {}],
      ['auto', {}],
    ] as const) {
      const c = frozen(trickle);
      probe(c);
      c.fromNear(last);
      expect(probes(c).opened).toBeUndefined();
    }
  });

  it('once a FIN has come while it was open', () => {
    const c = frozen(EVERY);
    expect(probes(c).opened).toBeDefined();
    c.fromNear({ flags: FIN | ACK });
    expect(probes(c).opened).toBeUndefined();
  });

  it('beyond its budget', () => {
    const rig = new Rig({ policy: [{ ...DEFAULT_RULE, trickle: EVERY }], custodyBytesPerFlow: 2_100 });
    const c = new Conversation(rig).open();
    c.data('near', 2);
    c.lose();
    c.tick(100);
    c.rig.take();
    expect(probes(c).opened).toBeUndefined();
  });
});

describe('an offer', () => {
  it('is repeated to every probe until it is taken: an answer may be lost', () => {
    const c = frozen(EVERY);
    probes(c);
    for (let again = 0; again < 3; again++) {
      probe(c);
      expectPackets(c.seen(), [toNear, ack(1 + 2 * SEGMENT), window(PIECE >> SHIFT)]);
    }
    expect(c.rig.counter('trickles')).toBe(1);
  });
});

describe('a death of a user timeout', () => {
  /** A Linux socket that has timed out is gone without a word; the next refresh is answered by its kernel (no ACK bit). */
  function dead(rig: Rig, port: number, after: number): Conversation {
    const c = new Conversation(rig, PLAIN, port).open();
    c.data('near', 2);
    c.lose();
    c.tick(after);
    probe(c);
    c.tick(60_000);
    c.fromNear({ flags: RST_WITHOUT_ACK, seq: 1 + 2 * SEGMENT });
    return c;
  }

  it('is counted and named, with how long the connection was seen alive', () => {
    const rig = new Rig();
    dead(rig, 40_001, 9_000);
    expect(rig.counter('nearTimeouts')).toBe(1);
    expect(rig.counter('nearResets')).toBe(0);
    const event = rig.events.find(({ name }) => name === 'flow-timed-out')!;
    expect(event.message).toBe('the near endpoint gave up between 9.0 and 69.0 s after the freeze (user timeout?)');
    expect(event.figures).toMatchObject({ leastMicros: 9e6, durationMicros: 69e6 });
  });

  it('makes the next connection of that host to that port trickle', () => {
    const rig = new Rig();
    const first = dead(rig, 40_001, 9_000);
    first.restore();
    first.tick(500);
    rig.take();
    const next = new Conversation(rig, PLAIN, 40_002).open();
    const other = new Conversation(rig, PLAIN, 40_003, 3).open();
    for (const c of [next, other]) c.data('near', 1);
    next.lose();
    const flows = new Map(rig.flows().map((flow) => [flow.originator.split(':')[1], flow]));
    expect(flows.get('40002')).toMatchObject({ phase: 'frozen', trickling: true });
    expect(flows.get('40003')).toMatchObject({ phase: 'frozen', trickling: false });
    const status = rig.command({ kind: 'status' });
    expect(status.kind === 'status' && status.resources.suspects).toBe(1);
  });

  it('is told apart from an application that resets its connection', () => {
    const c = frozen('auto');
    c.fromNear({ flags: RST_WITHOUT_ACK | ACK });
    expect(c.rig.counter('nearTimeouts')).toBe(0);
    expect(c.rig.counter('nearResets')).toBe(1);
    expect(c.rig.events.some(({ name }) => name === 'flow-near-reset')).toBe(true);
    c.rig.take();
    c.restore();
    c.tick(20);
    c.acknowledge('far', 1 + 2 * SEGMENT);
    expectPacket(c.seen().at(-1), toFar, flags('R.'));
  });
});
