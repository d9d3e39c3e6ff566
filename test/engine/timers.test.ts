import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { EventQueue } from '../../src/engine/event-queue.ts';
import { FlowTimers } from '../../src/engine/timers.ts';
import { Flow } from '../../src/flow/flow.ts';

describe('flow timers', () => {
  it('agree with a map under any schedule', () => {
    const step = fc.record({ flow: fc.nat(19), deadline: fc.option(fc.nat(50), { nil: NEVER }), now: fc.nat(60) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const timers = new FlowTimers();
        const flows = Array.from({ length: 20 }, (_, i) => new Flow(i));
        const twin = new Map<Flow, number>();
        for (const { flow: i, deadline, now } of steps) {
          const flow = flows[i]!;
          timers.set(flow, deadline);
          if (deadline === NEVER) twin.delete(flow);
          else twin.set(flow, deadline);
          const earliest = Math.min(NEVER, ...twin.values());
          expect([timers.next, timers.size]).toEqual([earliest, twin.size]);
          const due = timers.due(now);
          if (earliest <= now) expect(twin.get(due!)).toBe(earliest);
          else expect(due).toBeNull();
        }
        const order: number[] = [];
        for (let due = timers.due(NEVER); due !== null; due = timers.due(NEVER)) {
          order.push(due.deadline);
          timers.set(due, NEVER);
        }
        expect(order).toEqual([...twin.values()].sort((a, b) => a - b));
      }),
    );
  });
});

describe('event queue', () => {
  it('keeps order, is bounded, and owns up to what it dropped', () => {
    const queue = new EventQueue();
    for (let i = 0; i < 5_000; i++) queue.push({ at: i, name: 'link-lost', message: `${i}` });
    const taken: string[] = [];
    for (let event = queue.shift(); event !== undefined; event = queue.shift()) taken.push(event.message);
    expect(taken).toHaveLength(4_097);
    expect(taken.slice(0, 2)).toEqual(['0', '1']);
    expect(taken.at(-1)).toBe('904 events were dropped because nobody took them');
    queue.push({ at: 1, name: 'link-lost', message: 'again' });
    expect(queue.shift()?.message).toBe('again');
    expect(queue.shift()).toBeUndefined();
  });
});
