/** A freeze that is announced ahead of the loss (theory of operation 5, last paragraph). */
import { describe, expect, it } from 'vitest';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS, WINDOW } from './conversation.ts';
import { Rig, WAN } from './rig.ts';
import { ack, content, expectPacket, expectPackets, flags, seq, toFar, toNear, window } from './seen.ts';

const LEAD = 200_000;

function announced(variant = PLAIN, segments = 2): Conversation {
  const c = new Conversation(new Rig(), variant).open();
  c.data('near', segments);
  c.fromFar({ ack: 1, payload: stream(1, SEGMENT) });
  c.rig.take();
  const name = variant.lost === WAN ? 'wan0' : 'lan0';
  const reply = c.rig.command({ kind: 'freeze', selector: { kind: 'link', name }, leadMicros: LEAD });
  expect(reply).toMatchObject({ kind: 'done', flows: 1 });
  return c;
}

describe.each(VARIANTS)('$name', (variant) => {
  it('both ends are told a window of zero at once, and nothing is held back of what still passes', () => {
    const c = announced(variant);
    const said = c.seen().sort((a, b) => a.to.localeCompare(b.to));
    expectPackets(
      said,
      [toFar, flags('.'), seq(1), ack(1), window(0)],
      [toNear, flags('.'), seq(1), ack(1), window(0)],
    );
    const data = c.decode(c.fromNear({ payload: stream(c.near.nxt, 100) }));
    expectPacket(data, toFar, content(stream(1 + 2 * SEGMENT, 100)), window(0));
    expectPacket(c.decode(c.fromFar({ payload: stream(c.far.nxt, 50) })), toNear, window(0), ack(c.near.nxt));
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('when it comes nothing needs custody; afterwards both ends get their windows back', () => {
    const c = announced(variant);
    c.acknowledge('far');
    c.acknowledge('near');
    c.tick(LEAD / 1_000 + 1);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 0 });
    c.lose();
    c.tick(30_000);
    c.rig.take();
    c.restore();
    expect(c.rig.command({ kind: 'resume', selector: { kind: 'all' } }).kind).toBe('done');
    c.tick(20);
    const said = c.seen().filter((seen) => seen.isTcp);
    expectPacket(
      said.find((seen) => seen.to === 'near'),
      ack(c.near.nxt),
      seq(c.far.nxt),
      window(WINDOW),
    );
    expectPacket(
      said.find((seen) => seen.to === 'far'),
      ack(c.far.nxt),
      seq(c.near.nxt),
      window(WINDOW),
    );
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('what is still in flight when the link goes is custody as ever', () => {
    const c = announced(variant);
    c.tick(LEAD / 1_000 + 1);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 2 * SEGMENT });
    expectPacket(c.seen().at(-1), toNear, ack(1 + 2 * SEGMENT), window(0));
  });
});

describe('a plan', () => {
  it('that is taken back gives both ends their windows', () => {
    const c = announced();
    c.tick(50);
    c.rig.take();
    c.rig.command({ kind: 'resume', selector: { kind: 'link', name: 'wan0' } });
    const said = c.seen();
    expect(said.map((seen) => [seen.to, seen.window])).toEqual(
      expect.arrayContaining([
        ['near', WINDOW],
        ['far', WINDOW],
      ]),
    );
    c.tick(1_000);
    expect(c.rig.flow.phase).toBe('flowing');
    expect(c.fromFar().unchanged).toBe(true);
  });

  it('that the loss overtakes is a loss', () => {
    const c = announced();
    c.tick(20);
    c.lose();
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 2 * SEGMENT });
    c.tick(1_000);
    c.restore();
    expect(c.rig.flow.phase).toBe('frozen');
    c.rig.command({ kind: 'resume', selector: { kind: 'link', name: 'wan0' } });
    c.tick(30);
    c.acknowledge('far');
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('keeps some acknowledgements of a busy sender back, and shows them all in the end', () => {
    const c = new Conversation(new Rig()).open();
    for (let i = 0; i < 60; i++) {
      c.fromNear({ payload: stream(c.near.nxt, SEGMENT) });
      if (i >= 20) c.acknowledge('far', c.near.nxt - 20 * SEGMENT);
      c.tick(1);
    }
    c.rig.command({ kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros: LEAD });
    c.rig.take();
    for (let i = 19; i >= 0; i--) {
      c.tick(1);
      const outcome = c.acknowledge('far', c.near.nxt - i * SEGMENT);
      if (outcome.forwarded !== null) expectPacket(c.decode(outcome), toNear, window(0));
    }
    const shown = c.seen().at(-1)?.ack ?? 0;
    expect(shown).toBeLessThan(c.near.nxt);
    c.tick(LEAD / 1_000);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 0 });
    c.tick(300_000);
    const all = c.seen();
    for (const seen of all) expectPacket(seen, toNear, window(0));
    expect(all.at(-1)!.ack).toBe(c.near.nxt);
    all.reduce((before, seen) => {
      expect(seen.ack).toBeGreaterThanOrEqual(before);
      return seen.ack;
    }, 0);
  });

  it.each([61e6, 3_600e6])('of %d µs is refused: connections would be shut while the link works', (leadMicros) => {
    const rig = new Rig();
    const reply = rig.command({ kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros });
    expect(reply).toMatchObject({ kind: 'refused', code: 'LEAD_TOO_LONG' });
  });
});
