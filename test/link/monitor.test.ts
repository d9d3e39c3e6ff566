import { describe, expect, it } from 'vitest';
import type { LinkEvent } from '../../src/link/events.ts';
import { LinkMonitor } from '../../src/link/monitor.ts';

const PORTS = [
  { name: 'lan0', role: 'lan' },
  { name: 'wan0', role: 'wan' },
] as const;

const interfaceEvent = (change: { name?: string; up?: boolean; carrier?: boolean; operState?: number }): LinkEvent => ({
  kind: 'interface',
  name: 'wan0',
  index: 3,
  up: true,
  carrier: true,
  operState: 6,
  mtu: 1400,
  ...change,
});

const addressEvent = (
  last: number,
  present: boolean,
  change: { global?: boolean; prefixLength?: number } = {},
): LinkEvent => ({
  kind: 'address',
  name: 'wan0',
  family: 4,
  address: Uint8Array.of(192, 0, 2, last),
  prefixLength: 24,
  global: true,
  present,
  ...change,
});

describe('verdict of a link', () => {
  const cases: readonly (readonly [string, LinkEvent, string])[] = [
    ['down', interfaceEvent({ up: false, carrier: false, operState: 2 }), 'interface down'],
    ['without carrier', interfaceEvent({ carrier: false, operState: 2 }), 'no carrier'],
    ['operationally down', interfaceEvent({ operState: 2 }), 'not operational'],
    ['lower layer down', interfaceEvent({ operState: 3 }), 'not operational'],
    ['dormant', interfaceEvent({ operState: 5 }), 'not operational'],
    ['gone', { kind: 'interface-gone', name: 'wan0' }, 'interface gone'],
  ];
  it.each(cases)('lost when %s, restored by a good report', (_, event, reason) => {
    const monitor = new LinkMonitor(PORTS, 0);
    const link = monitor.byName('wan0')!;
    expect(monitor.onEvent(interfaceEvent({}), 5)).toBeNull();
    expect(monitor.onEvent(event, 10)).toBe(link);
    expect([link.isLost, link.reason, link.since]).toEqual([true, reason, 10]);
    expect(monitor.onEvent(event, 11)).toBeNull();
    expect(monitor.onEvent(interfaceEvent({}), 20)).toBe(link);
    expect([link.isLost, link.reason, link.since, link.mtu]).toEqual([false, 'operational', 20, 1400]);
  });

  it('an unknown operational state is no complaint (drivers that do not report one)', () => {
    const monitor = new LinkMonitor(PORTS, 0);
    expect(monitor.onEvent(interfaceEvent({ operState: 0 }), 1)).toBeNull();
  });

  it('is lost with its last global address, not with one of two, and not for never having had one', () => {
    const monitor = new LinkMonitor(PORTS, 0);
    const link = monitor.byName('wan0')!;
    expect(monitor.onEvent(addressEvent(9, false), 1)).toBeNull();
    monitor.onEvent(addressEvent(1, true), 1);
    monitor.onEvent(addressEvent(2, true), 1);
    monitor.onEvent(addressEvent(3, true, { global: false }), 1);
    expect(monitor.onEvent(addressEvent(1, false), 2)).toBeNull();
    expect(monitor.onEvent(addressEvent(2, false), 3)).toBe(link);
    expect(link.reason).toBe('last address gone');
    expect(monitor.onEvent(addressEvent(7, true, { global: false }), 4)).toBeNull();
    expect(monitor.onEvent(addressEvent(7, true), 5)).toBe(link);
    expect(link.isLost).toBe(false);
  });

  it('one address with two prefix lengths counts as two', () => {
    const monitor = new LinkMonitor(PORTS, 0);
    monitor.onEvent(addressEvent(1, true), 1);
    monitor.onEvent(addressEvent(1, true, { prefixLength: 32 }), 1);
    monitor.onEvent(addressEvent(1, false), 2);
    expect(monitor.byName('wan0')!.isLost).toBe(false);
  });

  it('stays lost while any evidence stands, the most specific first; a command outranks good reports', () => {
    const monitor = new LinkMonitor(PORTS, 0);
    const link = monitor.byName('wan0')!;
    expect(monitor.onCommand(link, 'frozen by command', 1)).toBe(link);
    expect(monitor.onEvent(interfaceEvent({ carrier: false }), 2)).toBeNull();
    expect(link.standing()).toEqual(['no carrier', 'frozen by command']);
    expect(monitor.onEvent(interfaceEvent({}), 3)).toBeNull();
    expect([link.isLost, link.reason]).toEqual([true, 'frozen by command']);
    expect(monitor.onCommand(link, null, 4)).toBe(link);
    expect(monitor.onCommand(link, null, 5)).toBeNull();
  });

  it('other interfaces and routes change no verdict', () => {
    const monitor = new LinkMonitor(PORTS, 0);
    expect(monitor.onEvent(interfaceEvent({ name: 'eth7', up: false }), 1)).toBeNull();
    const destination = Uint8Array.of(10, 0, 0, 0);
    const route = { kind: 'route', family: 4, destination, prefixLength: 8, name: 'wan0', metric: 0 } as const;
    expect(monitor.onEvent({ ...route, present: true }, 1)).toBeNull();
    expect(monitor.routes.lookup(4, Int32Array.of(0x0a00_0001), 0)).toBe(1);
    expect(monitor.onEvent({ ...route, present: false }, 1)).toBeNull();
    expect(monitor.routes.lookup(4, Int32Array.of(0x0a00_0001), 0)).toBe(1);
    expect(monitor.links.some((link) => link.isLost)).toBe(false);
  });
});

describe('a link whose interface does not exist yet', () => {
  it('is lost from the start, says so, and is up when the interface appears', () => {
    const monitor = new LinkMonitor([PORTS[0], { ...PORTS[1], absent: true }], 5);
    const link = monitor.byName('wan0')!;
    expect([link.isLost, link.reason, link.canCarry]).toEqual([true, 'interface not there yet', false]);
    expect(monitor.byName('lan0')!.isLost).toBe(false);
    expect(monitor.onEvent(interfaceEvent({ up: false, carrier: false, operState: 2 }), 10)).toBeNull();
    expect(link.reason).toBe('interface down');
    expect(monitor.onEvent(interfaceEvent({}), 20)).toBe(link);
    expect([link.isLost, link.since]).toEqual([false, 20]);
  });
});
