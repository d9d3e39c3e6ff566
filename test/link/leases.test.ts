import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NEVER, seconds } from '../../src/base/time.ts';
import type { DhcpEvent, NeighbourEvent } from '../../src/link/events.ts';
import { Leases } from '../../src/link/leases.ts';
import { Neighbours } from '../../src/link/neighbours.ts';

const OWN = Uint8Array.of(192, 0, 2, 7);
const HOST = Uint8Array.of(10, 1, 0, 2);
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 7);

const own = (what: DhcpEvent['what'], change: Partial<DhcpEvent> = {}): DhcpEvent => ({
  kind: 'dhcp',
  name: 'wan0',
  lease: 'own',
  what,
  family: 4,
  address: OWN,
  ...change,
});

const host = (what: DhcpEvent['what'], change: Partial<DhcpEvent> = {}): DhcpEvent => ({
  ...own(what),
  lease: 'host',
  address: HOST,
  hardware: MAC,
  ...change,
});

describe('own lease', () => {
  it('comes to T2, then to its end, when nobody says anything (RFC 2131 4.4.5)', () => {
    const leases = new Leases();
    leases.onOwn(1, own('bound', { leaseSeconds: 800 }), 0);
    // T2 is 0.875 of the lease where the server names none.
    expect(leases.deadline).toBe(seconds(700));
    expect(leases.due(seconds(699))).toEqual([]);
    expect(leases.due(seconds(700))).toEqual([{ port: 1, verdict: { kind: 'suspect' } }]);
    expect(leases.deadline).toBe(seconds(802));
    expect(leases.due(seconds(802))).toEqual([
      { port: 1, verdict: { kind: 'lost', text: 'lease of 192.0.2.7 not renewed by its end' } },
    ]);
    expect(leases.deadline).toBe(NEVER);
  });

  it('is counted anew with every renewal; an infinite one never ends', () => {
    const leases = new Leases();
    leases.onOwn(1, own('bound', { leaseSeconds: 60, rebindSeconds: 40 }), 0);
    leases.onOwn(1, own('renewed', { leaseSeconds: 60, rebindSeconds: 40 }), seconds(30));
    expect(leases.deadline).toBe(seconds(70));
    leases.onOwn(1, own('renewed', { leaseSeconds: 0xffff_ffff }), seconds(31));
    expect(leases.deadline).toBe(NEVER);
  });

  it('both families are kept apart', () => {
    const leases = new Leases();
    leases.onOwn(1, own('bound', { leaseSeconds: 60 }), 0);
    leases.onOwn(1, own('bound', { family: 6, leaseSeconds: 600, address: new Uint8Array(16).fill(1) }), 0);
    leases.onOwn(1, own('nak'), 1);
    expect(leases.deadline).toBe(seconds(525));
  });
});

describe('leases of hosts', () => {
  it('who discovers without an address is known by the hardware address', () => {
    const leases = new Leases();
    leases.onHost(0, host('bound'));
    const { address: _address, ...nameless } = host('asking');
    expect(leases.onHost(0, nameless)).toEqual({ kind: 'back', address: HOST });
    const { address: _other, ...stranger } = host('asking', { hardware: Uint8Array.of(9, 9, 9, 9, 9, 9) });
    expect(leases.onHost(0, stranger)).toEqual({ kind: 'none' });
  });

  it('who had an address before is known from neighbour reports, too', () => {
    const leases = new Leases();
    leases.onHardware(0, HOST, MAC);
    expect(leases.onHost(0, host('released', { hardware: Uint8Array.of(9, 9, 9, 9, 9, 9) }))).toEqual({ kind: 'none' });
    expect(leases.onHost(0, host('released'))).toMatchObject({ kind: 'gone', text: 'lease released' });
  });

  it('are bounded', () => {
    const leases = new Leases();
    for (let i = 0; i < 10_000; i++) {
      const address = Uint8Array.of(10, 2, i >>> 8, i & 0xff);
      leases.onHost(0, host('bound', { address, hardware: Uint8Array.of(0, 0, 0, 0, i >>> 8, i & 0xff) }));
    }
    expect(leases.size).toBe(4_096);
  });
});

describe('neighbours', () => {
  const event = (last: number, state: NeighbourEvent['state']): NeighbourEvent => ({
    kind: 'neighbour',
    name: 'lan0',
    family: 4,
    address: Uint8Array.of(10, 1, last >>> 8, last & 0xff),
    state,
  });

  it('one that was never reached is not known by failing', () => {
    const neighbours = new Neighbours();
    expect(neighbours.onEvent(0, event(1, 'failed'), 1).neighbour.wasKnown).toBe(false);
    expect(neighbours.onEvent(0, event(1, 'reachable'), 2).neighbour.wasKnown).toBe(true);
    const failed = neighbours.onEvent(0, event(1, 'failed'), 3);
    expect([failed.neighbour.wasKnown, failed.neighbour.since, failed.isNew]).toEqual([true, 3, true]);
    expect(neighbours.onEvent(0, event(1, 'failed'), 4).isNew).toBe(false);
  });

  it('are bounded; a scan pushes out what was heard of longest ago', () => {
    const neighbours = new Neighbours();
    neighbours.onEvent(0, event(1, 'reachable'), 0);
    for (let i = 2; i < 9_000; i++) {
      neighbours.onEvent(0, event(i, 'failed'), i);
      if (i % 100 === 0) neighbours.onEvent(0, event(1, 'reachable'), i);
    }
    expect(neighbours.size).toBe(4_096);
    expect(neighbours.find(0, event(1, 'reachable').address)).toBeDefined();
  });
});

it('no report throws, whatever it holds', () => {
  const bytes = fc.option(fc.uint8Array({ minLength: 4, maxLength: 4 }), { nil: undefined });
  const whats = [
    'bound',
    'renewed',
    'rebinding',
    'expired',
    'nak',
    'released',
    'declined',
    'asking',
    'changed',
  ] as const;
  const events = fc.record({
    what: fc.constantFrom(...whats),
    lease: fc.constantFrom('own', 'host'),
    address: bytes,
    hardware: fc.option(fc.uint8Array({ maxLength: 20 }), { nil: undefined }),
    leaseSeconds: fc.option(fc.double(), { nil: undefined }),
    rebindSeconds: fc.option(fc.double(), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(events, { maxLength: 50 }), (list) => {
      const leases = new Leases();
      let now = 0;
      for (const fields of list) {
        const event = { kind: 'dhcp', name: 'wan0', family: 4, ...fields } as DhcpEvent;
        if (event.lease === 'own') leases.onOwn(0, event, now);
        else leases.onHost(0, event);
        now += seconds(10);
        expect(leases.deadline).not.toBeNaN();
        leases.due(now);
        expect(leases.deadline).toBeGreaterThan(now);
      }
    }),
  );
});
