/** Write-ahead: no ACK beyond what the journal holds; what a failing journal means; what a new process takes up. */
import { describe, expect, it } from 'vitest';
import type { JournalBatch } from '../../src/freeze/journal.ts';
import { readFrames, sealFrames } from '../../src/journal/frames.ts';
import { Conversation, stream } from './conversation.ts';
import { Rig, WAN } from './rig.ts';
import { ack, content, expectPacket, toFar, toNear, window } from './seen.ts';

function recordsOf(...batches: (JournalBatch | null)[]): Uint8Array[] {
  return batches.flatMap((batch) => {
    const bytes = new Uint8Array(batch!.buffer, 0, batch!.length);
    sealFrames(bytes);
    return [...readFrames(bytes).records];
  });
}

/** A near sender with 3000 bytes in flight when the link goes. */
function frozen(): { c: Conversation; batch: JournalBatch | null } {
  const c = new Conversation(new Rig({ journal: true }));
  c.open();
  c.data('near', 3);
  c.lose();
  return { c, batch: c.rig.engine.pollJournal(c.rig.now) };
}

const acksToNear = (c: Conversation): number[] =>
  c
    .seen()
    .filter(({ to }) => to === 'near')
    .map((seen) => seen.ack);

describe('write-ahead', () => {
  it('says nothing before the journal holds it, and all of it then', () => {
    const { c, batch } = frozen();
    expect(batch).toMatchObject({ urgent: true, fresh: false });
    c.tick(50);
    expect(acksToNear(c)).toEqual([]);
    c.rig.engine.handleJournalSync(batch!.number, c.rig.now);
    c.rig.timeout();
    expectPacket(c.seen().at(-1), toNear, ack(3_001), window(0));
    expect(c.rig.engine.pollJournal(c.rig.now)).toBeNull();
  });

  it('a retransmission meanwhile is not answered, and a second batch holds only what is new', () => {
    const { c, batch } = frozen();
    c.fromNear({ seq: 1, payload: stream(1, 1_000) });
    c.data('near', 1, 500);
    expect(acksToNear(c)).toEqual([]);
    const second = c.rig.engine.pollJournal(c.rig.now);
    expect(second!.length).toBeLessThan(batch!.length - 2_000);
    c.rig.engine.handleJournalSync(second!.number, c.rig.now);
    c.rig.timeout();
    expectPacket(c.seen().at(-1), toNear, ack(3_501), window(0));
  });

  it('without a journal nothing waits', () => {
    const c = new Conversation(new Rig());
    c.open();
    c.data('near', 1);
    c.lose();
    expectPacket(c.seen().at(-1), toNear, ack(1_001), window(0));
    expect(c.rig.engine.pollJournal(c.rig.now)).toBeNull();
  });

  it('the file begins anew when nothing is held any more', () => {
    const { c, batch } = frozen();
    c.rig.engine.handleJournalSync(batch!.number, c.rig.now);
    c.restore();
    c.tick(100);
    c.fromFar({ ack: 3_001 });
    expect(c.rig.flows()[0]!.phase).toBe('flowing');
    // A process that dies now may have taken the window update with it.
    expect(c.rig.engine.pollJournal(c.rig.now)).toBeNull();
    c.tick(3_100);
    expect(c.rig.engine.pollJournal(c.rig.now)).toMatchObject({ fresh: true, length: 0 });
  });
});

describe('a journal that cannot be written', () => {
  it('gives back what was not acknowledged, and takes nothing more', () => {
    const { c } = frozen();
    c.rig.engine.handleJournalState('ENOSPC', c.rig.now);
    c.rig.timeout();
    expect(c.rig.events.at(-1)).toMatchObject({ name: 'journal-failed', figures: { flows: 1, bytes: 3_000 } });
    expect(c.rig.flows()[0]).toMatchObject({ phase: 'frozen', custodyBytes: 0 });
    c.tick(50);
    expect(acksToNear(c)).toEqual([]);
    c.fromNear({ seq: 1, payload: stream(1, 1_000) });
    expect(c.rig.flows()[0]!.custodyBytes).toBe(0);
  });

  it('keeps what is durable', () => {
    const { c, batch } = frozen();
    c.rig.engine.handleJournalSync(batch!.number, c.rig.now);
    c.rig.engine.handleJournalState('EIO', c.rig.now);
    expect(c.rig.flows()[0]!.custodyBytes).toBe(3_000);
    c.rig.engine.handleJournalState(null, c.rig.now);
    const again = c.rig.engine.pollJournal(c.rig.now);
    expect(again).toMatchObject({ fresh: true });
    expect(again!.length).toBeGreaterThan(3_000);
  });
});

describe('the next process', () => {
  /** An engine that knows nothing but the journal; the conversation goes on with it. */
  function restarted(isLinkBack: boolean): Conversation {
    const { c, batch } = frozen();
    const rig = new Rig({ journal: true });
    if (!isLinkBack) rig.link(WAN, false);
    expect(rig.engine.recall(recordsOf(batch), rig.now)).toEqual({ flows: 1, bytes: 3_000, dropped: 0 });
    rig.timeout();
    const next = new Conversation(rig);
    Object.assign(next.near, { nxt: c.near.nxt, ts: c.near.ts, said: c.near.said });
    Object.assign(next.far, { nxt: c.far.nxt, ts: c.far.ts, said: c.far.said });
    return next;
  }

  it('answers the very next probe', () => {
    const c = restarted(false);
    expect(c.rig.flows()).toMatchObject([{ phase: 'frozen', custodyBytes: 3_000 }]);
    c.seen();
    c.fromNear({ seq: 3_000 });
    expectPacket(c.seen().at(-1), toNear, ack(3_001), window(0));
  });

  it('asks the far peer first, and delivers when it answers in sequence', () => {
    const c = restarted(true);
    expect(c.seen().filter(({ to, payload }) => to === 'far' && payload.length > 0)).toEqual([]);
    c.fromFar({ ack: 1 });
    c.tick(100);
    const data = c.seen().filter(({ to, payload }) => to === 'far' && payload.length > 0);
    expectPacket(data[0], toFar, content(stream(1, data[0]!.payload.length)));
  });

  it('replays nothing into another connection with the same ports', () => {
    const c = restarted(true);
    for (let i = 0; i < 5; i++) {
      c.fromFar({ ack: 0x4000_0000 + i, seq: 0x5000_0000 });
      c.tick(500);
    }
    expect(c.seen().filter(({ to, payload }) => to === 'far' && payload.length > 0)).toEqual([]);
    expect(c.fromNear({ seq: 0x4000_0000, ack: 0x5000_0000 }).unchanged).toBe(true);
    expect(c.rig.flows().every(({ custodyBytes }) => custodyBytes === 0)).toBe(true);
  });

  it('records that contradict each other are dropped', () => {
    const { batch } = frozen();
    const rig = new Rig({ journal: true });
    const records = recordsOf(batch).map((record) => record.slice(0, -1));
    expect(rig.engine.recall(records, rig.now)).toEqual({ flows: 0, bytes: 0, dropped: 1 });
    expect(rig.flows()).toEqual([]);
  });
});
