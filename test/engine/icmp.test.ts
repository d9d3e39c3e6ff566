/** ICMP errors of routers beyond a link: what they may bring about, and what they may not. */
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/wire/address.ts';
import { Conversation, PLAIN, VARIANTS } from './conversation.ts';
import { icmpError, ROUTER, routeVia, sendError, standing, verdicts, watchedRig } from './detection-rig.ts';
import { WAN } from './rig.ts';

/** One connection with a segment in flight; nothing but ICMP can say that it is lost. */
function talking(variant = PLAIN): Conversation {
  const c = new Conversation(watchedRig({ silence: false, echo: null }), variant).open();
  c.data('near', 2);
  c.acknowledge('far');
  c.tick(50);
  c.fromNear({ payload: new Uint8Array(100) });
  c.tick(20);
  return c;
}

describe.each(VARIANTS)('$name', (variant) => {
  it('two errors without a word of the host are a verdict within a second of the second', () => {
    const c = talking(variant);
    sendError(c, { seq: c.near.nxt - 100 });
    c.tick(5_000);
    expect(verdicts(c.rig)).toEqual([]);
    sendError(c, { seq: c.near.nxt - 100 });
    expect(verdicts(c.rig)).toEqual([]);
    c.tick(1_000);
    expect(verdicts(c.rig)).toEqual([`host-lost ${Object.keys(standing(c.rig))[0]}`]);
    const text = Object.values(standing(c.rig))[0]![0]!;
    expect(text).toMatch(/(host unreachable|no route), says \S+ \(2 messages\)/);
    expect(c.rig.flow.phase).toBe('frozen');
  });

  it('the host is asked, and a packet of it is what brings it back', () => {
    const c = talking(variant);
    for (let i = 0; i < 2; i++) {
      sendError(c, { seq: c.near.nxt - 100 });
      c.tick(500);
    }
    c.tick(500);
    expect(c.rig.flow.phase).toBe('frozen');
    // More errors are no life.
    sendError(c, { seq: c.near.nxt - 100 });
    c.tick(500);
    expect(c.rig.flow.phase).toBe('frozen');
    c.rig.take();
    c.tick(100);
    expect(c.seen().some((seen) => seen.to === 'far')).toBe(true);
    c.acknowledge('far', c.near.nxt);
    c.tick(1);
    expect(c.rig.flow.phase).not.toBe('frozen');
    expect(standing(c.rig)).toEqual({});
  });
});

describe('has no effect', () => {
  const otherSide = (c: Conversation): string => (c.variant.lost === WAN ? 'lan0' : 'wan0');
  const forgeries: readonly (readonly [string, (c: Conversation) => Parameters<typeof icmpError>[1]])[] = [
    ['a sequence number beyond what was sent', (c) => ({ seq: c.near.nxt + 1 })],
    ['a sequence number long acknowledged', () => ({ seq: 1 })],
    ['the wrong interface', (c) => ({ seq: c.near.nxt, name: otherSide(c) })],
    ['a wrong checksum', (c) => ({ seq: c.near.nxt, bend: (bytes) => void bytes.fill(0x5a, 22, 24) })],
    ['the code for a port', (c) => ({ seq: c.near.nxt, code: 3 })],
    ['the code for a size', (c) => ({ seq: c.near.nxt, code: 4 })],
    ['the gateway itself as sender', (c) => ({ seq: c.near.nxt, sender: '198.18.0.1' })],
  ];

  it.each(forgeries)('%s', (_what, change) => {
    const c = talking();
    const address = parseAddress('198.18.0.1')!;
    c.rig.event({ kind: 'address', name: 'wan0', family: 4, address, prefixLength: 24, global: true, present: true });
    for (let i = 0; i < 5; i++) {
      sendError(c, change(c));
      c.tick(500);
    }
    expect(verdicts(c.rig)).toEqual([]);
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('one message alone, and a burst of them about one flight', () => {
    const c = talking();
    for (let i = 0; i < 10; i++) {
      sendError(c, { seq: c.near.nxt - 100 });
      c.tick(1);
    }
    c.tick(9_000);
    expect(verdicts(c.rig)).toEqual([]);
  });

  it('two messages, if the host was heard in between, or answers when asked', () => {
    const c = talking();
    sendError(c, { seq: c.near.nxt - 100 });
    c.tick(1_000);
    c.acknowledge('far', c.near.nxt);
    sendError(c);
    c.tick(1_000);
    c.rig.take();
    sendError(c);
    const asked = c.seen();
    expect(asked.map((seen) => seen.to)).toEqual(['far']);
    c.acknowledge('far');
    c.tick(2_000);
    expect(verdicts(c.rig)).toEqual([]);
  });

  it('errors about a connection that is only opening: a filter on a port is no loss', () => {
    const rig = watchedRig({ silence: false, echo: null });
    const c = new Conversation(rig);
    c.fromNear({ flags: 2 });
    for (let i = 0; i < 4; i++) {
      sendError(c, { seq: 0, code: 13 });
      c.tick(1_000);
    }
    expect(verdicts(rig)).toEqual([]);
  });

  it('anything cut short or damaged, and no byte of it throws', () => {
    const c = talking();
    const whole = icmpError(c, { seq: c.near.nxt - 100 });
    for (let round = 0; round < 3; round++) {
      for (let length = 0; length < whole.length; length++) {
        c.rig.event({ kind: 'icmp', name: 'wan0', bytes: whole.slice(0, length) });
      }
      for (let at = 20; at < whole.length; at++) {
        const bent = whole.slice();
        bent[at]! ^= 1 << (at % 8);
        c.rig.event({ kind: 'icmp', name: 'wan0', bytes: bent });
      }
      c.tick(300);
    }
    c.tick(2_000);
    expect(verdicts(c.rig)).toEqual([]);
  });
});

describe('the link', () => {
  it('is lost when two of its hosts cannot be reached and nothing else is heard', () => {
    const rig = watchedRig({ silence: false, echo: null });
    const variants = [PLAIN, { ...PLAIN, family: 6 as const }];
    const talks = variants.map((variant, i) => new Conversation(rig, variant, 40_000 + i, 2 + i).open());
    for (const c of talks) c.fromNear({ payload: new Uint8Array(100) });
    for (let i = 0; i < 2; i++) {
      for (const c of talks) sendError(c, { seq: c.near.nxt - 100 });
      rig.advance(300_000);
    }
    rig.advance(1_000_000);
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    expect(rig.flows().map(({ phase }) => phase)).toEqual(['frozen', 'frozen']);
    talks[0]!.acknowledge('far', talks[0]!.near.nxt);
    rig.advance(1_000);
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
  });

  it('is lost when its own router says so and no other host answers the question', () => {
    const rig = watchedRig({ silence: false, echo: null });
    routeVia(rig, ROUTER);
    const talks = [0, 1].map((i) =>
      new Conversation(rig, i === 0 ? PLAIN : { ...PLAIN, family: 6 }, 40_000 + i, 2 + i).open(),
    );
    const [c] = talks;
    rig.advance(30_000);
    c!.fromNear({ payload: new Uint8Array(100) });
    for (let i = 0; i < 2; i++) {
      sendError(c!, { seq: c!.near.nxt - 100, sender: ROUTER, code: 0 });
      rig.advance(300_000);
    }
    rig.advance(1_000_000);
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
  });

  it('is not lost while another host talks: the one is', () => {
    const rig = watchedRig({ silence: false, echo: null });
    routeVia(rig, ROUTER);
    const c = new Conversation(rig, PLAIN).open();
    const other = new Conversation(rig, { ...PLAIN, family: 6 }, 40_001).open();
    c.fromNear({ payload: new Uint8Array(100) });
    for (let i = 0; i < 3; i++) {
      sendError(c, { seq: c.near.nxt - 100, sender: ROUTER });
      other.data('far', 1);
      rig.advance(300_000);
    }
    rig.advance(1_000_000);
    expect(verdicts(rig)).toEqual(['host-lost 198.51.100.9']);
    expect(rig.flows().map(({ phase }) => phase)).toEqual(['frozen', 'flowing']);
  });

  it('is found behind address translation, too, by the far end and the sequence number', () => {
    const c = talking();
    const own = '203.0.113.5';
    const address = parseAddress(own)!;
    c.rig.event({ kind: 'address', name: 'wan0', family: 4, address, prefixLength: 24, global: true, present: true });
    const translated = Object.create(c, { nearAddress: { value: own } }) as Conversation;
    for (let i = 0; i < 2; i++) {
      sendError(translated, { seq: c.near.nxt - 100 });
      c.tick(600);
    }
    c.tick(1_000);
    expect(verdicts(c.rig)).toEqual(['host-lost 198.51.100.9']);
  });
});
