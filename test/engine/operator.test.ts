/** Commands and what they answer (interface: freeze, resume, abort, status, flows). */
import { describe, expect, it } from 'vitest';
import type { Selector } from '../../src/engine/commands.ts';
import { RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, endpointText, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig, WAN } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, seq, toFar, toNear, window } from './seen.ts';

const six = VARIANTS[1]!;

describe('freeze and resume', () => {
  const selectors: readonly (readonly [string, Selector, Selector])[] = [
    ['link', { kind: 'link', name: 'wan0' }, { kind: 'link', name: 'wan0' }],
    ['host', { kind: 'host', address: '198.51.100.9' }, { kind: 'host', address: '198.51.100.9' }],
    ['prefix', { kind: 'prefix', prefix: '198.51.100.0/24' }, { kind: 'prefix', prefix: '198.51.100.0/24' }],
    [
      'prefix with host bits',
      { kind: 'prefix', prefix: '198.51.100.77/24' },
      { kind: 'prefix', prefix: '198.51.100.0/24' },
    ],
  ];
  it.each(selectors)('by %s', (_, selector, release) => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    expect(c.rig.command({ kind: 'freeze', selector })).toMatchObject({ kind: 'done', flows: 1 });
    c.rig.settle();
    expectPackets(c.seen(), [toNear, ack(1 + SEGMENT), window(0)]);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', near: 'originator', custodyBytes: SEGMENT });
    // Nothing that the link reports releases it.
    c.rig.link(WAN, false);
    c.rig.link(WAN, true);
    expect(c.rig.flow.phase).toBe('frozen');
    expect(c.rig.command({ kind: 'resume', selector: release })).toMatchObject({ kind: 'done', flows: 0 });
    c.tick(20);
    c.acknowledge('far');
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('by flow: that one only, held on the LAN side', () => {
    const rig = new Rig();
    const a = new Conversation(rig, PLAIN, 40_001).open();
    const b = new Conversation(rig, PLAIN, 40_002).open();
    rig.command({ kind: 'freeze', selector: { kind: 'flow', id: a.id } });
    expect(rig.flows().map((flow) => [flow.id, flow.phase])).toEqual([
      [a.id, 'frozen'],
      [b.id, 'flowing'],
    ]);
    expectPackets(a.seen(), [toNear, window(0)]);
    rig.command({ kind: 'resume', selector: { kind: 'flow', id: a.id } });
    expectPacket(a.seen()[0], toNear, window(500));
  });

  it('all: every link; a host of one family leaves the other alone', () => {
    const rig = new Rig();
    const four = new Conversation(rig, PLAIN, 40_001).open();
    const other = new Conversation(rig, six, 40_002).open();
    rig.command({ kind: 'freeze', selector: { kind: 'host', address: '2001:DB8::9' } });
    expect(rig.flows().map((flow) => flow.phase)).toEqual(['flowing', 'frozen']);
    expect(rig.command({ kind: 'resume', selector: { kind: 'host', address: '2001:db8:0::9' } }).kind).toBe('done');
    rig.command({ kind: 'freeze', selector: { kind: 'all' } });
    expect(rig.flows().map((flow) => flow.phase)).toEqual(['frozen', 'frozen']);
    rig.command({ kind: 'resume', selector: { kind: 'all' } });
    expect(rig.flows().map((flow) => flow.phase)).toEqual(['flowing', 'flowing']);
    expect([four.id, other.id]).toEqual(['0.1', '1.1']);
  });

  it('for a time: released by itself, links and scopes', () => {
    const c = new Conversation(new Rig()).open();
    for (const selector of [
      { kind: 'link', name: 'wan0' },
      { kind: 'prefix', prefix: '0.0.0.0/0' },
    ] as const) {
      c.rig.command({ kind: 'freeze', selector, forMicros: 5e6 });
      c.rig.advance(4.9e6);
      expect(c.rig.flow.phase).toBe('frozen');
      c.rig.advance(0.2e6);
      expect(c.rig.flow.phase).toBe('flowing');
    }
  });

  it('a link that is lost besides stays lost after resume, and the answer says so', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    const selector = { kind: 'link', name: 'wan0' } as const;
    c.rig.command({ kind: 'freeze', selector });
    const reply = c.rig.command({ kind: 'resume', selector });
    expect(reply).toMatchObject({ kind: 'done', message: 'released, but still lost: wan0 (no carrier)' });
    expect(c.rig.flow.phase).toBe('frozen');
  });

  it('a connection that opens inside a frozen scope is held from its SYN on', () => {
    const c = new Conversation(new Rig());
    c.rig.command({ kind: 'freeze', selector: { kind: 'host', address: c.farAddress } });
    expect(c.fromNear({ flags: SYN }).forwarded).toBeNull();
    c.tick(1_000);
    c.fromNear({ flags: SYN, seq: 0, ts: 12_000 });
    c.rig.command({ kind: 'resume', selector: { kind: 'host', address: c.farAddress } });
    // One SYN, the newest.
    expectPackets(c.seen(), [toFar, flags('S'), seq(0), (seen) => (seen.tsVal === 12_000 ? null : 'an old SYN')]);
  });

  const refusals: readonly (readonly [string, Selector, string])[] = [
    ['a link that is not there', { kind: 'link', name: 'eth9' }, 'UNKNOWN_LINK'],
    ['what is no address', { kind: 'host', address: '10.1.2' }, 'BAD_ADDRESS'],
    ['what is no prefix', { kind: 'prefix', prefix: '10.0.0.0/33' }, 'BAD_ADDRESS'],
    ['a flow that is gone', { kind: 'flow', id: '0.2' }, 'UNKNOWN_FLOW'],
  ];
  it.each(refusals)('refuses %s, in words', (_, selector, code) => {
    const c = new Conversation(new Rig()).open();
    for (const kind of ['freeze', 'abort'] as const) {
      const reply = c.rig.command({ kind, selector });
      expect(reply).toMatchObject({ kind: 'refused', code });
      if (reply.kind === 'refused') expect(reply.remedy.length).toBeGreaterThan(5);
    }
    expect(c.rig.command({ kind: 'resume', selector }).kind).toBe('refused');
    expect(c.rig.flow.phase).toBe('flowing');
  });
});

describe('abort', () => {
  it('resets both ends, each with a number it accepts', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.acknowledge('far', 1 + SEGMENT);
    expect(c.rig.command({ kind: 'abort', selector: { kind: 'flow', id: c.id } })).toMatchObject({
      kind: 'done',
      flows: 1,
    });
    const all = c.seen();
    expectPacket(
      all.find((seen) => seen.to === 'far'),
      flags('R.'),
      seq(1 + SEGMENT),
    );
    expectPacket(
      all.find((seen) => seen.to === 'near'),
      flags('R.'),
      seq(1),
      ack(1 + SEGMENT),
    );
    expect(all).toHaveLength(2);
    expect(c.rig.flow.phase).toBe('closing');
  });

  it('while frozen: the near end now, the far end when it is back, and the lost bytes are counted', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.lose();
    c.rig.take();
    c.rig.command({ kind: 'abort', selector: { kind: 'host', address: c.nearAddress } });
    expectPackets(c.seen(), [toNear, flags('R.'), seq(1)]);
    expect(c.rig.custodyBytes).toBe(0);
    expect(c.rig.counter('undeliverableBytes')).toBe(2 * SEGMENT);
    c.tick(120_000);
    c.rig.take();
    c.restore();
    expectPacket(c.seen()[0], toFar, flags('R.'), seq(1));
    expect(c.rig.flow.phase).toBe('closing');
  });

  it('of a handback stops the replay', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.lose();
    c.restore();
    c.rig.settle();
    c.rig.command({ kind: 'abort', selector: { kind: 'all' } });
    c.rig.take();
    c.tick(30_000);
    expect(c.seen()).toEqual([]);
    expect(c.rig.custodyBytes).toBe(0);
  });

  it('of a half-open connection tells the side that waits (RFC 9293 3.10.7.3)', () => {
    const c = new Conversation(new Rig());
    c.fromNear({ flags: SYN });
    c.rig.command({ kind: 'abort', selector: { kind: 'all' } });
    const told = c.seen().find((seen) => seen.to === 'near');
    expectPacket(told, flags('R.'), ack(1));
  });

  it('leaves other connections alone', () => {
    const rig = new Rig();
    new Conversation(rig, PLAIN, 40_001).open();
    new Conversation(rig, six, 40_002).open();
    rig.command({ kind: 'abort', selector: { kind: 'prefix', prefix: 'fd01::/16' } });
    expect(rig.flows().map((flow) => flow.phase)).toEqual(['flowing', 'closing']);
  });
});

describe('snapshots', () => {
  it('count flows by phase, and tell links with their evidence', () => {
    const rig = new Rig();
    new Conversation(rig, PLAIN, 40_001).open().data('near', 1);
    new Conversation(rig, PLAIN, 40_002).fromNear({ flags: SYN });
    new Conversation(rig, PLAIN, 40_003).open().fromFar({ flags: RST });
    rig.link(WAN, false);
    const reply = rig.command({ kind: 'status' });
    expect(reply).toMatchObject({
      kind: 'status',
      flows: { total: 3, opening: 1, flowing: 0, frozen: 1, handback: 0, closing: 1, bypass: 0 },
      custodyBytes: SEGMENT,
      links: [
        { name: 'lan0', state: 'up', reason: 'operational', evidence: [] },
        { name: 'wan0', state: 'lost', since: rig.now, reason: 'no carrier', evidence: ['no carrier'] },
      ],
    });
    const frozen = rig.command({ kind: 'flows', frozenOnly: true });
    expect(frozen.kind === 'flows' && frozen.flows.map((flow) => flow.phase)).toEqual(['frozen']);
  });

  it.each(VARIANTS.slice(0, 4))('name the endpoints ($name)', (variant) => {
    const c = new Conversation(new Rig(), variant).open();
    const near = endpointText(c.nearAddress, 40_000);
    const far = endpointText(c.farAddress, 443);
    const [originator, responder] = variant.opener === 'near' ? [near, far] : [far, near];
    expect(c.rig.flow).toMatchObject({ originator, responder, family: variant.family, near: null, frozenSince: null });
    c.lose();
    const { now } = c.rig;
    const nearRole = variant.opener === 'near' ? 'originator' : 'responder';
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', near: nearRole, frozenSince: now });
  });
});

describe('events', () => {
  it('tell the story of an outage in order', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.lose();
    c.tick(1_000);
    c.restore();
    c.tick(20);
    c.acknowledge('far');
    expect(c.rig.events.map((event) => event.name)).toEqual([
      'link-lost',
      'flow-frozen',
      'flows-frozen',
      'link-restored',
      'flow-thawed',
      'flows-thawed',
      'flow-handed-back',
      'handback-complete',
    ]);
    expect(c.rig.events[2]!.figures).toEqual({ flows: 1, bytes: 2 * SEGMENT });
    expect(c.rig.events[4]!.figures).toMatchObject({ bytes: 2 * SEGMENT, outageMicros: 1_000_000 });
  });

  it('more flows than one batch are all settled, over several turns', () => {
    const rig = new Rig({ maxFlows: 4_096 });
    const flows = Array.from({ length: 3_000 }, (_, i) => new Conversation(rig, PLAIN, 10_000 + i).open());
    rig.take();
    rig.link(WAN, false);
    const first = rig.take().length;
    expect(first).toBeLessThan(3_000);
    rig.advance(0);
    expect(first + rig.take().length).toBe(3_000);
    expect(rig.flows().every((flow) => flow.phase === 'frozen')).toBe(true);
    expect(flows[2_999]!.fromNear({ payload: stream(1, 10) }).forwarded).toBeNull();
    rig.link(WAN, true);
    rig.advance(0);
    expect(rig.flows().some((flow) => flow.phase === 'frozen')).toBe(false);
  });
});

describe('timers', () => {
  it('called early, twice or late say nothing more than once', () => {
    const run = (disturb: boolean): string[] => {
      const c = new Conversation(new Rig()).open();
      c.data('near', 30);
      c.data('far', 2);
      const story = [() => c.lose(), () => c.restore(), () => c.acknowledge('far', 10 * SEGMENT + 1), () => c.lose()];
      for (const step of story) {
        step();
        for (let i = 0; i < 400; i++) {
          c.tick(1);
          if (disturb) for (let n = 0; n < 3; n++) c.rig.timeout();
        }
      }
      // Identification fields aside, everything is in the text; its time is part of it.
      return c.seen().map((seen) => `${seen.at} ${seen.text}`);
    };
    expect(run(true)).toEqual(run(false));
    expect(run(false).length).toBeGreaterThan(50);
  });
});
