/** What rules of the configuration do to connections: terms, limits, giving up, and another configuration while they run. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_RULE, type PolicyRule } from '../../src/policy/policy.ts';
import { SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { LAN, Rig, type RigOptions, WAN } from './rig.ts';
import { ack, expectPacket, expectPackets, flags, seq, toFar, toNear, unreachable, window } from './seen.ts';

const rule = (fields: Partial<PolicyRule>): PolicyRule => ({ ...DEFAULT_RULE, ...fields });

function told(policy: readonly PolicyRule[], options: RigOptions = {}, variant = PLAIN): Conversation {
  return new Conversation(new Rig({ policy, ...options }), variant).open();
}

const PORTS = [
  { name: 'lan0', role: 'lan' },
  { name: 'wan0', role: 'wan', maxOutage: 30e6 },
] as const;

describe('the first rule that matches', () => {
  const matches: readonly (readonly [string, PolicyRule['match'], boolean])[] = [
    ['everything', {}, true],
    ['a prefix of the host', { prefix: ['10.1.0.0/16'] }, true],
    ['a prefix of the far peer', { prefix: ['192.0.2.0/24', '198.51.100.9/32'] }, true],
    ['another prefix', { prefix: ['10.2.0.0/16'] }, false],
    ['a prefix of the other family', { prefix: ['::/0'] }, false],
    ['the responder’s port', { port: [{ from: 443, to: 443 }] }, true],
    ['the originator’s port', { port: [{ from: 39_000, to: 41_000 }] }, true],
    ['another port', { port: [{ from: 1, to: 442 }] }, false],
    ['an interface', { interface: ['wan0'] }, true],
    ['an interface that it does not pass', { interface: ['wan1'] }, false],
    ['prefix and port', { prefix: ['10.1.0.0/16'], port: [{ from: 443, to: 443 }] }, true],
    ['prefix, but not port', { prefix: ['10.1.0.0/16'], port: [{ from: 22, to: 22 }] }, false],
  ];
  it.each(matches)('%s', (_, match, isMatch) => {
    const c = told([rule({ match, class: 'critical', priority: 'interactive' }), rule({ class: 'suspension' })]);
    expect(c.rig.flow).toMatchObject(
      isMatch ? { class: 'critical', priority: 'interactive', rule: 0 } : { class: 'suspension', rule: 1 },
    );
  });

  it('none: the defaults', () => {
    const c = told([rule({ match: { port: [{ from: 1, to: 1 }] } })]);
    expect(c.rig.flow).toMatchObject({
      class: 'temporary',
      priority: 'normal',
      rule: null,
      limit: null,
      limitBy: null,
    });
  });

  it('IPv6 by prefix', () => {
    const c = told([rule({ match: { prefix: ['2001:db8::/32'] }, class: 'critical' })], {}, VARIANTS[1]!);
    expect(c.rig.flow.class).toBe('critical');
  });

  it('freeze: false leaves the connection alone, also while the link is lost', () => {
    const c = told([rule({ freeze: false })]);
    expect(c.rig.flow).toMatchObject({ phase: 'bypass', bypassReason: 'policy' });
    c.lose();
    expect(c.fromNear({ payload: stream(1, 100) }).unchanged).toBe(true);
    c.restore();
    expect(c.seen()).toEqual([]);
  });

  it('custody: false closes a window only while nothing is in flight', () => {
    const idle = told([rule({ custody: false })]);
    idle.lose();
    expectPackets(idle.seen(), [toNear, flags('.'), window(0)]);
    // A sender that ignores it is told that its segments do not arrive, and the window is not kept shut in words.
    idle.fromNear({ payload: stream(1, SEGMENT) });
    expectPackets(idle.seen(), [toNear, unreachable(1, 4)]);
    const busy = told([rule({ custody: false })]);
    busy.data('near', 3);
    busy.lose();
    expect(busy.seen()).toEqual([]);
    expect(busy.rig.flow.custodyBytes).toBe(0);
  });

  it('wakeup: false sends no ICMP', () => {
    const c = told([rule({ wakeup: false })]);
    c.data('far', 3);
    c.acknowledge('near', 1);
    c.lose();
    c.tick(5_000);
    c.restore();
    c.tick(5_000);
    expect(c.rig.counter('wakeups')).toBe(0);
  });

  it('parkSyn: false keeps no SYN', () => {
    const c = new Conversation(new Rig({ policy: [rule({ parkSyn: false })] }));
    c.lose();
    c.fromNear({ flags: SYN });
    c.restore();
    c.tick(100);
    expect(c.seen()).toEqual([]);
    expect(c.rig.counter('synsRefused')).toBe(1);
  });
});

describe('the limit', () => {
  /** RFC 5482 option over the timestamps option of a segment (12 bytes: NOP NOP kind 8 ...). */
  const userTimeout =
    (raw: number) =>
    (bytes: Uint8Array): void => {
      const at = bytes.length - 12;
      bytes.set([28, 4, raw >> 8, raw & 255, 1, 1, 1, 1, 1, 1, 1, 1], at);
      const sum = at - 20 + 16;
      bytes.set([0, 0], sum);
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      let total = 6 + (bytes.length - 20);
      for (let i = 12; i < bytes.length; i += 2) total += view.getUint16(i);
      while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
      view.setUint16(sum, ~total & 0xffff);
    };

  it('is the smallest of rule, endpoints and link, and is named', () => {
    const c = told([rule({ maxOutage: 60e6, trickle: 'off' })], { ports: PORTS });
    expect(c.rig.flow).toMatchObject({ limit: 30e6, limitBy: 'link', deadline: null });
    c.fromFar({ bend: userTimeout(20) });
    expect(c.rig.flow).toMatchObject({ limit: 20e6, limitBy: 'responder' });
    c.fromNear({ bend: userTimeout(10) });
    expect(c.rig.flow).toMatchObject({ limit: 10e6, limitBy: 'originator' });
    // Minutes; and 0 is reserved: nothing is known then.
    c.fromNear({ bend: userTimeout(0x8001) });
    expect(c.rig.flow).toMatchObject({ limit: 20e6, limitBy: 'responder' });
    c.fromFar({ bend: userTimeout(0) });
    expect(c.rig.flow).toMatchObject({ limit: 30e6, limitBy: 'link' });
    c.lose();
    expect(c.rig.flow).toMatchObject({ limit: 30e6, limitBy: 'link', deadline: c.rig.now + 30e6 });
  });

  it('of the near endpoint does not bind where a trickle carries it', () => {
    const c = told([rule({ maxOutage: 60e6 })]);
    c.fromNear({ bend: userTimeout(10) });
    c.lose();
    expect(c.rig.flow).toMatchObject({ limit: 60e6, limitBy: 'rule', trickling: true });
  });

  it('over: RST to the near endpoint, the far one is told at link-up, an event with the reason', () => {
    const c = told([rule({ maxOutage: 10e6 })]);
    c.data('near', 3);
    c.lose();
    c.tick(9_900);
    expect(c.rig.flow.phase).toBe('frozen');
    c.rig.take();
    c.tick(200);
    expectPackets(c.seen(), [toNear, flags('R.'), seq(1)]);
    const event = c.rig.events.find(({ name }) => name === 'flow-given-up')!;
    expect(event.message).toBe('given up: limit of 10 s by the rule, 3000 bytes undelivered');
    expect(event.figures).toMatchObject({ bytes: 3 * SEGMENT, durationMicros: 10e6 });
    expect(c.rig.counter('flowsGivenUp')).toBe(1);
    expect(c.rig.counter('undeliverableBytes')).toBe(3 * SEGMENT);
    expect(c.rig.custodyBytes).toBe(0);
    // Nobody is answered any more, and it is over once only.
    c.fromNear({ seq: 3 * SEGMENT });
    c.tick(120_000);
    expect(c.seen()).toEqual([]);
    c.restore();
    expectPackets(c.seen(), [toFar, flags('R.'), seq(1), ack(1)]);
    expect(c.rig.flow.phase).toBe('closing');
    expect(c.rig.counter('wakeups')).toBe(0);
  });

  it('over, silently: the near endpoint is told nothing', () => {
    const c = told([rule({ maxOutage: 10e6, giveUp: 'silent' })]);
    c.data('near', 3);
    c.lose();
    c.tick(9_900);
    c.rig.take();
    c.tick(60_000);
    c.fromNear({ seq: 3 * SEGMENT });
    expect(c.seen()).toEqual([]);
    c.restore();
    expectPackets(c.seen(), [toFar, flags('R.')]);
  });

  it('counts anew with every loss', () => {
    const c = told([rule({ maxOutage: 10e6 })]);
    for (let i = 0; i < 3; i++) {
      c.lose();
      c.tick(8_000);
      c.restore();
      c.tick(2_000);
    }
    expect(c.rig.flow.phase).toBe('flowing');
    expect(c.rig.counter('flowsGivenUp')).toBe(0);
  });

  it('of a delivery that is under way does not exist', () => {
    const c = told([rule({ maxOutage: 10e6 })]);
    c.data('near', 3);
    c.lose();
    c.tick(5_000);
    c.restore();
    c.tick(60_000);
    expect(c.rig.flow.phase).toBe('handback');
    c.acknowledge('far');
    expect(c.rig.flow.phase).toBe('flowing');
  });
});

describe('abort by class', () => {
  it('ends those connections only', () => {
    const rig = new Rig({ policy: [rule({ match: { port: [{ from: 40_001, to: 40_001 }] }, class: 'suspension' })] });
    const a = new Conversation(rig, PLAIN, 40_001).open();
    new Conversation(rig, PLAIN, 40_002).open();
    a.lose();
    rig.take();
    const reply = rig.command({ kind: 'abort', selector: { kind: 'all' }, className: 'suspension' });
    expect(reply).toMatchObject({ kind: 'done', flows: 1 });
    expectPackets(a.seen(), [toNear, flags('R.'), seq(1)]);
    rig.link(WAN, true);
    const after = rig.take();
    expect(after.length).toBeGreaterThan(0);
    expect(rig.flows().map(({ phase }) => phase)).toEqual(['closing', 'flowing']);
    // A flow that was ended already is not ended again.
    expect(rig.command({ kind: 'abort', selector: { kind: 'all' }, className: 'suspension' })).toMatchObject({
      flows: 0,
    });
  });
});

describe('another configuration', () => {
  const settings = {
    policy: [rule({ class: 'critical', maxOutage: 5e6 })],
    maxOutages: { wan0: 3e6 },
    custodyBytesPerFlow: 1_500,
    custodyBytesTotal: 4 << 20,
    flowsPerHost: 64,
    parkedSyns: 1,
  };

  it('applies to new connections at once, to others from their next loss on, to held ones not', () => {
    const rig = new Rig({ policy: [rule({ maxOutage: 60e6 })] });
    const before = new Conversation(rig, PLAIN, 40_001).open();
    before.lose();
    expect(rig.command({ kind: 'configure', settings })).toMatchObject({ kind: 'done' });
    expect(rig.flow).toMatchObject({ class: 'temporary', limit: 60e6, limitBy: 'rule', phase: 'frozen' });
    before.restore();
    before.tick(500);
    const after = new Conversation(rig, PLAIN, 40_002).open();
    expect(rig.flows().map((flow) => flow.class)).toEqual(['temporary', 'critical']);
    after.data('near', 2);
    before.lose();
    expect(rig.flows().map((flow) => [flow.class, flow.limit, flow.limitBy])).toEqual([
      ['critical', 3e6, 'link'],
      ['critical', 3e6, 'link'],
    ]);
    expect(rig.events.some(({ name }) => name === 'rules-replaced')).toBe(true);
    // 2000 bytes in flight do not fit into 1500.
    expect(rig.counter('custodyRefused')).toBe(1);
  });
});

describe('handback', () => {
  it('serves interactive connections before bulk, whatever their order', () => {
    const policy = [
      rule({ match: { port: [{ from: 40_001, to: 40_001 }] }, priority: 'bulk' }),
      rule({ match: { port: [{ from: 40_002, to: 40_002 }] }, priority: 'interactive' }),
    ];
    const rig = new Rig({ policy });
    const bulk = new Conversation(rig, PLAIN, 40_001).open();
    const typed = new Conversation(rig, PLAIN, 40_002).open();
    bulk.data('near', 8);
    typed.data('near', 8);
    bulk.lose();
    rig.advance(1e6);
    rig.take();
    bulk.restore();
    rig.advance(200_000);
    const order = rig
      .take()
      .filter(({ bytes }) => bytes.length > SEGMENT)
      .map(({ bytes }) => new DataView(bytes.buffer).getUint16(20));
    expect(order.length).toBeGreaterThan(10);
    expect(order.slice(0, 8)).toEqual(new Array(8).fill(40_002));
  });
});

describe('LAN side lost', () => {
  it('the limit of the LAN link counts', () => {
    const ports = [
      { name: 'lan0', role: 'lan', maxOutage: 7e6 },
      { name: 'wan0', role: 'wan' },
    ] as const;
    const c = told([], { ports }, VARIANTS[2]!);
    expect(c.variant.lost).toBe(LAN);
    c.lose();
    expect(c.rig.flow).toMatchObject({ limit: 7e6, limitBy: 'link' });
    c.tick(7_100);
    expectPacket(c.seen().at(-1), toNear, flags('R.'));
  });
});
