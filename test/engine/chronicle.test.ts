/** What is told of flows: every transition, at a bounded rate; one line for a link, however many flows it takes along. */
import { describe, expect, it } from 'vitest';
import { eventKind } from '../../src/base/event-table.ts';
import { readFamily, readHistogram } from '../../src/base/figures.ts';
import { millis, seconds } from '../../src/base/time.ts';
import type { EngineEvent } from '../../src/engine/commands.ts';
import { RST } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT } from './conversation.ts';
import { Rig, WAN } from './rig.ts';

const FLOWS = 10_000;

function isLogged(event: EngineEvent): boolean {
  return eventKind(event.name).severity !== 'debug';
}

function named(events: readonly EngineEvent[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { name } of events) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe('a link with 10 000 flows', () => {
  it('is two lines in the log when it is lost, two when it is back, and a bounded number of events', () => {
    const rig = new Rig({ maxFlows: 16_384, outboxBytes: 4 << 20 });
    for (let i = 0; i < FLOWS; i++) new Conversation(rig, PLAIN, 1_024 + (i % 5_000), 2 + Math.floor(i / 5_000)).open();
    expect(rig.flows()).toHaveLength(FLOWS);
    rig.events.length = 0;
    rig.link(WAN, false);
    rig.advance(millis(1));
    expect(rig.events.filter(isLogged).map(({ name, figures }) => ({ name, flows: figures?.flows }))).toEqual([
      { name: 'link-lost', flows: undefined },
      { name: 'flows-frozen', flows: FLOWS },
    ]);
    expect(named(rig.events)['flow-frozen']).toBe(200);
    const leftOut = rig.events.find(({ name }) => name === 'flow-events-left-out');
    expect(leftOut?.figures).toEqual({ events: FLOWS - 200 });
    rig.events.length = 0;
    rig.link(WAN, true);
    rig.advance(millis(1));
    expect(rig.events.filter(isLogged).map(({ name, figures }) => ({ name, flows: figures?.flows }))).toEqual([
      { name: 'link-restored', flows: undefined },
      { name: 'flows-thawed', flows: FLOWS },
    ]);
    expect(rig.events.length).toBeLessThan(210);
    rig.events.length = 0;
    rig.command({ kind: 'abort', selector: { kind: 'all' } });
    expect(named(rig.events.filter(isLogged))).toEqual({ 'flows-aborted': 1 });
    expect(rig.events.length).toBeLessThan(210);
  });
});

describe('figures', () => {
  it('count freezes and thaws by cause, and how long things took', () => {
    const rig = new Rig();
    const c = new Conversation(rig).open();
    c.data('near', 2);
    c.lose();
    c.tick(2_000);
    c.restore();
    c.tick(20);
    c.acknowledge('far');
    expect(readFamily(rig.counters, 'freezes')).toMatchObject({ carrier: 1, command: 0, other: 0 });
    expect(readFamily(rig.counters, 'thaws')).toMatchObject({ carrier: 1 });
    const freeze = readHistogram(rig.counters, 'freezeDuration');
    expect([freeze.count, freeze.sumMicros]).toEqual([1, seconds(2)]);
    for (const name of ['handbackDuration', 'firstByte'] as const) {
      const { count, sumMicros } = readHistogram(rig.counters, name);
      expect(count).toBe(1);
      expect(sumMicros).toBe(millis(20));
    }
  });

  it('a freeze by command has its own cause, and is told as a scope', () => {
    const rig = new Rig();
    const c = new Conversation(rig).open();
    rig.events.length = 0;
    rig.command({ kind: 'freeze', selector: { kind: 'host', address: c.farAddress }, forMicros: seconds(1) });
    rig.advance(seconds(2));
    expect(readFamily(rig.counters, 'freezes')).toMatchObject({ command: 1, carrier: 0 });
    expect(rig.events.filter(isLogged).map(({ name }) => name)).toEqual([
      'scope-lost',
      'flows-frozen',
      'scope-restored',
      'flows-thawed',
    ]);
    expect(rig.events.find(({ name }) => name === 'flow-thawed')).toMatchObject({
      reason: 'command',
      figures: { bytes: 0, outageMicros: seconds(1) },
    });
  });

  it('the far peer that goes on by itself counts as the first byte, once', () => {
    const rig = new Rig();
    const c = new Conversation(rig).open();
    c.lose();
    c.tick(500);
    c.restore();
    c.tick(7);
    c.data('far', 1);
    c.data('far', 1);
    expect(readHistogram(rig.counters, 'firstByte')).toMatchObject({ count: 1, sumMicros: millis(7) });
    expect(readHistogram(rig.counters, 'handbackDuration').count).toBe(0);
  });

  it('what is dropped has a reason', () => {
    const rig = new Rig();
    const c = new Conversation(rig).open();
    c.data('near', 1);
    c.lose();
    c.fromFar({ ack: SEGMENT + 1 });
    c.fromNear({
      payload: new Uint8Array(10),
      bend: (bytes) => {
        bytes[bytes.length - 1]! ^= 1;
      },
    });
    const drops = readFamily(rig.counters, 'drops');
    expect(drops).toMatchObject({ late: 1, unsound: 1, outOfWindow: 0, absorbed: 0, lost: 0 });
    expect(Object.values(drops).reduce((sum, count) => sum + count)).toBe(rig.counter('dropped'));
  });
});

describe('connections that end together', () => {
  it('are one line in the log, however many they are', () => {
    const count = 300;
    const rig = new Rig({ maxFlows: 1_024, arenaBytes: 4 << 20 });
    const flows = Array.from({ length: count }, (_, i) => new Conversation(rig, PLAIN, 10_000 + i).open());
    for (const c of flows) c.data('near', 1);
    rig.link(WAN, false);
    rig.events.length = 0;
    for (const c of flows) c.fromFar({ flags: RST, seq: 1 });
    rig.advance(seconds(3));
    const logged = rig.events.filter(isLogged);
    expect(logged.map(({ name, figures }) => ({ name, ...figures }))).toEqual([
      { name: 'flows-undeliverable', flows: count, bytes: count * SEGMENT },
    ]);
    const { 'flow-reset': told = 0 } = named(rig.events);
    const leftOut = rig.events.filter(({ name }) => name === 'flow-events-left-out');
    expect(told).toBeLessThan(count);
    expect(told + leftOut.reduce((sum, { figures }) => sum + figures!.events!, 0)).toBeGreaterThanOrEqual(count);
    // Nothing more to tell: the engine does not wake up for it.
    rig.events.length = 0;
    rig.advance(seconds(30));
    expect(rig.events).toEqual([]);
  });
});

describe('limits', () => {
  it('a full flow table is told at once, then every ten seconds, with what was refused in between', () => {
    const rig = new Rig({ maxFlows: 4 });
    for (let i = 0; i < 4; i++) new Conversation(rig, PLAIN, 10_000 + i).open();
    rig.events.length = 0;
    const refuse = (count: number): void => {
      for (let i = 0; i < count; i++) new Conversation(rig, PLAIN, 20_000 + i).open();
    };
    refuse(1);
    refuse(5);
    rig.advance(seconds(11));
    refuse(1);
    const told = rig.events.filter(({ name }) => name === 'flow-table-full');
    expect(told).toHaveLength(2);
    expect(told[0]!.figures!.flows).toBe(1);
    const refused = told.reduce((sum, { figures }) => sum + figures!.flows!, 0);
    expect(refused).toBeGreaterThanOrEqual(7);
    expect(rig.counter('flowsRefused')).toBeGreaterThanOrEqual(refused);
  });
});
