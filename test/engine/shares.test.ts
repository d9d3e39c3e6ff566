/** Resources that are short: who gives way, and who never does. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_RULE, type PolicyRule } from '../../src/policy/policy.ts';
import { SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT } from './conversation.ts';
import { Rig } from './rig.ts';

const rule = (fields: Partial<PolicyRule>): PolicyRule => ({ ...DEFAULT_RULE, ...fields });

describe('custody that is short', () => {
  const byPort = (port: number, fields: Partial<PolicyRule>): PolicyRule =>
    rule({ match: { port: [{ from: port, to: port }] }, ...fields });
  const policy = [
    byPort(40_001, { class: 'temporary' }),
    byPort(40_002, { class: 'suspension', keep: 20e6 }),
    byPort(40_003, { class: 'critical' }),
  ];
  /** Two flows of a host wait with a segment each; after `waited` a critical one is frozen with `segments` in flight. */
  function pressed(waited: number, segments: number): string[] {
    // One host may have half of it.
    const rig = new Rig({ policy, custodyBytesTotal: 8 * SEGMENT, custodyBytesPerFlow: 8 * SEGMENT });
    const [temporary, suspended, critical] = [40_001, 40_002, 40_003].map((port) =>
      new Conversation(rig, PLAIN, port).open(),
    ) as [Conversation, Conversation, Conversation];
    for (const c of [temporary, suspended]) {
      c.data('near', 1);
      rig.command({ kind: 'freeze', selector: { kind: 'flow', id: c.id } });
    }
    rig.advance(waited);
    critical.data('near', segments);
    rig.command({ kind: 'freeze', selector: { kind: 'flow', id: critical.id } });
    const isHeld = rig.flows().some((flow) => flow.custodyBytes === segments * SEGMENT && flow.class === 'critical');
    const ended = rig.events.filter(({ name }) => name === 'flow-given-up').map(({ flow }) => flow);
    return [isHeld ? 'held' : 'denied', ...ended.map((id) => (id === temporary.id ? 'temporary' : 'suspended'))];
  }

  it('is made at the cost of temporary connections, then of suspended ones beyond their time', () => {
    expect(pressed(5e6, 2)).toEqual(['held']);
    expect(pressed(5e6, 3)).toEqual(['held', 'temporary']);
    // The suspended one is kept for 20 s; giving up the temporary one alone would not be enough, so it stays as well.
    expect(pressed(5e6, 4)).toEqual(['denied']);
    expect(pressed(25e6, 4)).toEqual(['held', 'temporary', 'suspended']);
  });

  it('never at the cost of critical ones, nor by temporary ones', () => {
    const rig = new Rig({ policy, custodyBytesTotal: 8 * SEGMENT, custodyBytesPerFlow: 8 * SEGMENT });
    const critical = new Conversation(rig, PLAIN, 40_003).open();
    const suspended = new Conversation(rig, PLAIN, 40_002).open();
    const temporary = new Conversation(rig, PLAIN, 40_001).open();
    critical.data('near', 3);
    temporary.data('near', 1);
    suspended.data('near', 2);
    critical.lose();
    const state = Object.fromEntries(rig.flows().map((f) => [f.originator.split(':')[1], f.custodyBytes]));
    // In the order of the table: 3 of 4, then 2 do not fit, and nothing worth less is there yet; then 1 does not fit either.
    expect(state['40003']).toBe(3 * SEGMENT);
    expect(rig.counter('flowsGivenUp')).toBe(0);
  });

  it('a flow worth more takes the place of one worth less, the largest first', () => {
    const rig = new Rig({ policy, custodyBytesTotal: 8 * SEGMENT, custodyBytesPerFlow: 8 * SEGMENT });
    const small = new Conversation(rig, PLAIN, 40_001).open();
    const large = new Conversation(rig, { ...PLAIN, nearIsn: 5 }, 40_004).open();
    const critical = new Conversation(rig, PLAIN, 40_003).open();
    small.data('near', 1);
    large.data('near', 3);
    critical.data('near', 3);
    small.lose();
    const byPortOf = new Map(rig.flows().map((f) => [f.originator.split(':')[1], f]));
    expect(byPortOf.get('40003')!.custodyBytes).toBe(3 * SEGMENT);
    expect(byPortOf.get('40001')!.custodyBytes).toBe(SEGMENT);
    expect(byPortOf.get('40004')!.custodyBytes).toBe(0);
    const given = rig.events.filter(({ name }) => name === 'flow-given-up');
    expect(given.map(({ message }) => message)).toEqual([
      'given up: room for a critical connection of the same host, 3000 bytes undelivered',
    ]);
  });

  it('of one host takes nothing from another', () => {
    const rig = new Rig({ policy, custodyBytesTotal: 12 * SEGMENT, custodyBytesPerFlow: 12 * SEGMENT });
    const victim = new Conversation(rig, PLAIN, 40_001, 7).open();
    const greedy = new Conversation(rig, PLAIN, 40_003, 8).open();
    victim.data('near', 3);
    greedy.data('near', 9);
    victim.lose();
    const byHost = new Map(rig.flows().map((f) => [f.originator.split(':')[0], f]));
    expect(byHost.get('10.1.0.7')).toMatchObject({ phase: 'frozen', custodyBytes: 3 * SEGMENT });
    expect(byHost.get('10.1.0.8')!.custodyBytes).toBe(0);
    expect(rig.counter('flowsGivenUp')).toBe(0);
    expect(rig.counter('custodyRefused')).toBe(1);
  });
});

describe('flows of a host', () => {
  it('are bounded by its share: as many as the others leave free', () => {
    const rig = new Rig({ maxFlows: 32, flowsPerHost: null });
    for (let i = 0; i < 40; i++) new Conversation(rig, PLAIN, 20_000 + i, 5).open();
    expect(rig.flows()).toHaveLength(16);
    // Others still find room, and take none away.
    for (let i = 0; i < 10; i++) new Conversation(rig, PLAIN, 30_000 + i, 6).open();
    for (let i = 0; i < 3; i++) new Conversation(rig, PLAIN, 30_000 + i, 7).open();
    const of = (host: number): number => rig.flows().filter((f) => f.originator.startsWith(`10.1.0.${host}:`)).length;
    expect([of(5), of(6), of(7)]).toEqual([16, 8, 3]);
    expect(rig.counter('hostFlowsRefused')).toBe(3 * (24 + 2));
    const status = rig.command({ kind: 'status' });
    expect(status.kind === 'status' && status.resources).toMatchObject({
      flows: 27,
      maxFlows: 32,
      hosts: 3,
      busiestHostFlows: 16,
      flowsPerHost: 5,
    });
  });

  it('a limit of the configuration; half-open ones of the same host give way, established ones and other hosts do not', () => {
    const rig = new Rig({ maxFlows: 64, flowsPerHost: 8 });
    const established = Array.from({ length: 4 }, (_, i) => new Conversation(rig, PLAIN, 20_000 + i, 5).open());
    const other = new Conversation(rig, PLAIN, 20_000, 6).open();
    for (let i = 0; i < 200; i++) {
      new Conversation(rig, PLAIN, 30_000 + i, 5).fromNear({ flags: SYN });
      rig.advance(20_000);
    }
    const late = new Conversation(rig, PLAIN, 40_000, 5).open();
    expect(rig.flows()).toHaveLength(9);
    for (const c of [...established, other, late]) c.data('near', 1);
    other.lose();
    expect(rig.flows().filter((flow) => flow.phase === 'frozen')).toHaveLength(6);
    expect(rig.custodyBytes).toBe(6 * SEGMENT);
  });
});

describe('parked SYNs', () => {
  it('are bounded in total and by host; their places are free again when the link is back', () => {
    const rig = new Rig({ parkedSyns: 8 });
    const first = new Conversation(rig, PLAIN, 20_000, 5);
    first.lose();
    for (let i = 0; i < 20; i++) new Conversation(rig, PLAIN, 20_000 + i, 5).fromNear({ flags: SYN });
    const parked = (): number => {
      const status = rig.command({ kind: 'status' });
      return status.kind === 'status' ? status.resources.parkedSyns : -1;
    };
    expect(parked()).toBe(4);
    for (let i = 0; i < 20; i++) new Conversation(rig, PLAIN, 20_000 + i, 6).fromNear({ flags: SYN });
    expect(parked()).toBe(6);
    expect(rig.counter('synsParked')).toBe(6);
    // A repeated SYN takes no further place.
    new Conversation(rig, PLAIN, 20_000, 5).fromNear({ flags: SYN });
    expect(parked()).toBe(6);
    first.restore();
    expect(parked()).toBe(0);
    const sent = rig.take().filter(({ bytes }) => (bytes[33]! & SYN) !== 0);
    expect(sent).toHaveLength(6);
  });

  it('of senders that gave up are forgotten', () => {
    const rig = new Rig();
    const c = new Conversation(rig);
    c.lose();
    c.fromNear({ flags: SYN });
    expect(rig.flows()).toHaveLength(1);
    rig.advance(200e6);
    expect(rig.flows()).toHaveLength(0);
    const status = rig.command({ kind: 'status' });
    expect(status.kind === 'status' && status.resources).toMatchObject({ parkedSyns: 0, hosts: 0, halfOpen: 0 });
  });
});
