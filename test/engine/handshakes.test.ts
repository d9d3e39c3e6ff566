/** Window scales and the like survive the process: what the table of handshakes holds, and whom it is given to. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readFrames, sealFrames } from '../../src/journal/frames.ts';
import { ACK, FIN, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS, type Variant } from './conversation.ts';
import { Rig } from './rig.ts';

/** What is written of `c` now, as the next process reads it. */
function written(c: Conversation, isLast = false): readonly Uint8Array[] {
  const batch = c.rig.engine.pollHandshakes(isLast);
  if (batch === null) return [];
  const bytes = new Uint8Array(batch.buffer, 0, batch.length);
  sealFrames(bytes);
  return readFrames(bytes).records;
}

function opened(variant: Variant = PLAIN, rig = new Rig({ journal: true })): Conversation {
  const c = new Conversation(rig, variant).open();
  c.data('near', 2);
  c.acknowledge('far');
  c.tick(1_100);
  return c;
}

/** The conversation goes on with another process, which knows these records; `passed` bytes went by meanwhile. */
function restarted(c: Conversation, records: readonly Uint8Array[], passed = 0, variant = c.variant): Conversation {
  const rig = new Rig({ journal: true });
  rig.now = c.rig.now + 500_000;
  rig.engine.remember(records, rig.now);
  const next = new Conversation(rig, variant);
  Object.assign(next.near, { nxt: c.near.nxt + passed, ts: c.near.ts, said: c.near.said });
  Object.assign(next.far, { nxt: c.far.nxt, ts: c.far.ts, said: c.far.said });
  return next;
}

/** Cut and restored with 6 segments in flight, of which the far peer acknowledges one: the window that the near endpoint sees then. */
function windowInHandback(c: Conversation): number {
  c.data('near', 6);
  c.lose();
  const batch = c.rig.engine.pollJournal(c.rig.now);
  c.rig.engine.handleJournalSync(batch!.number, c.rig.now);
  c.tick(2_000);
  c.restore();
  c.tick(30);
  c.rig.take();
  c.fromFar({ ack: c.near.nxt - 5 * SEGMENT });
  c.tick(30);
  return Math.max(0, ...c.seen().flatMap(({ to, window }) => (to === 'near' ? [window] : [])));
}

describe.each(VARIANTS)('$name', (variant) => {
  it.each(['near', 'far'] as const)('a connection goes on as if it had been seen from the start, %s first', (first) => {
    const c = opened(variant);
    const next = restarted(c, written(c));
    next.send(first);
    next.send(first === 'near' ? 'far' : 'near');
    const before = c.rig.flow;
    expect(next.rig.flow).toMatchObject({
      phase: 'flowing',
      originator: before.originator,
      responder: before.responder,
    });
    expect(windowInHandback(next)).toBeGreaterThan(0);
  });

  it('without the table its windows stay shut until everything is delivered', () => {
    const c = opened(variant);
    const next = restarted(c, []);
    next.fromNear();
    next.fromFar();
    expect(windowInHandback(next)).toBe(0);
  });
});

describe('who is recognised', () => {
  const known = (c: Conversation): boolean => {
    c.fromNear();
    c.fromFar();
    return windowInHandback(c) > 0;
  };

  it('one that has moved on by as much as may have passed, and no other', () => {
    const c = opened();
    const records = written(c);
    const shifted = (by: number): Conversation =>
      restarted(c, records, 0, { ...PLAIN, nearIsn: (PLAIN.nearIsn + by) | 0 });
    expect(known(shifted(2 ** 28))).toBe(true);
    expect(known(shifted(-(2 ** 20)))).toBe(true);
    expect(known(shifted(2 ** 29 + 2 ** 20))).toBe(false);
    expect(known(shifted(-(2 ** 25)))).toBe(false);
  });

  it('not one without the timestamps that it had', () => {
    const c = opened();
    expect(known(restarted(c, written(c), 0, { ...PLAIN, timestamps: false }))).toBe(false);
  });

  it('not the next connection with the same ports', () => {
    const c = opened();
    const next = restarted(c, written(c), 0, { ...PLAIN, nearIsn: 5, farIsn: 6 });
    Object.assign(next.near, { nxt: 0 });
    Object.assign(next.far, { nxt: 0 });
    next.open();
    // Its own handshake counts: what was remembered is gone.
    next.tick(1_100);
    expect(written(next, true)).toHaveLength(1);
  });

  it('after one more restart, too, heard of meanwhile or not', () => {
    const c = opened();
    const records = written(c);
    const unheard = restarted(c, records);
    expect(known(restarted(c, written(unheard, true)))).toBe(true);
    const heard = restarted(c, records);
    heard.fromNear();
    heard.tick(1_100);
    expect(known(restarted(heard, written(heard)))).toBe(true);
  });
});

describe('what is written', () => {
  it('nothing without a journal, and nothing of handshakes that were not seen', () => {
    expect(written(opened(PLAIN, new Rig()), true)).toEqual([]);
    const c = new Conversation(new Rig({ journal: true }));
    c.near.nxt = 500;
    c.far.nxt = 900;
    c.fromNear();
    c.fromFar();
    expect(written(c, true)).toEqual([]);
  });

  it('one batch for all handshakes of a second, and then silence', () => {
    const rig = new Rig({ journal: true });
    const all = [1, 2, 3].map((i) => new Conversation(rig, PLAIN, 40_000 + i).open());
    expect(rig.engine.pollHandshakes()).toBeNull();
    all[0]!.tick(1_100);
    expect(written(all[0]!)).toHaveLength(3);
    all[0]!.tick(60_000);
    expect(rig.engine.pollHandshakes()).toBeNull();
  });

  it('nothing of a connection that another one has followed within the second', () => {
    const c = new Conversation(new Rig({ journal: true })).open();
    c.fromNear({ flags: FIN | ACK });
    c.fromFar({ flags: FIN | ACK });
    c.fromNear();
    c.near.nxt = 0;
    c.fromNear({ flags: SYN });
    c.tick(1_100);
    expect(c.rig.flow.phase).toBe('opening');
    expect(written(c)).toHaveLength(0);
  });

  it('once more when a connection has moved on by 64 MB', () => {
    const c = opened();
    expect(written(c)).toHaveLength(1);
    c.tick(40_000);
    expect(written(c)).toHaveLength(0);
    for (const start = c.near.nxt; c.near.nxt < start + 2 ** 26 + 2 ** 17; ) {
      c.fromFar({ window: 65_535 });
      c.fromNear({ seq: c.near.nxt + 8_000_000, payload: stream(1, SEGMENT) });
    }
    c.tick(40_000);
    expect(written(c)).toHaveLength(1);
  });

  it('everything anew after a failure, a minute later', () => {
    const c = opened();
    written(c);
    c.rig.engine.handleHandshakesLost(c.rig.now);
    c.tick(50_000);
    expect(c.rig.engine.pollHandshakes()).toBeNull();
    c.tick(11_000);
    expect(c.rig.engine.pollHandshakes()).toMatchObject({ fresh: true });
  });

  it('no more than the table of flows holds; records of any content are survived', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 0, maxLength: 120 })), (garbage) => {
        const rig = new Rig({ journal: true });
        rig.engine.remember(garbage, rig.now);
        rig.engine.remember(
          garbage.map((bytes) => Uint8Array.of(3, ...bytes)),
          rig.now,
        );
      }),
    );
    const c = opened();
    const [record] = written(c);
    const many = Array.from({ length: 200 }, (_none, port) => {
      const copy = record!.slice();
      copy[1 + 32 + 2] = port;
      return copy;
    });
    const rig = new Rig({ journal: true, maxFlows: 64 });
    expect(rig.engine.remember(many, c.rig.now)).toBe(64);
    // Older than any tracked connection may be.
    expect(new Rig({ journal: true }).engine.remember(many, c.rig.now + 6 * 86_400 * 1e6)).toBe(0);
  });
});
