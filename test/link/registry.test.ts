/** Hosts that are lost, next hops, epochs of addresses: small stores, all of them bounded. */
import { describe, expect, it } from 'vitest';
import { NEVER, seconds } from '../../src/base/time.ts';
import { EpochList, GRACE } from '../../src/link/epochs.ts';
import type { AddressEvent, RouteEvent } from '../../src/link/events.ts';
import { addressWords, HostRegistry, MAX_HOSTS } from '../../src/link/hosts.ts';
import { NextHops } from '../../src/link/next-hops.ts';
import { parseAddress } from '../../src/wire/address.ts';
import { defaultRoute } from './default-route.ts';

const words = (text: string): Int32Array => addressWords(parseAddress(text)!);

describe('hosts', () => {
  it('are found behind their port only, and while they are lost', () => {
    const hosts = new HostRegistry();
    const host = hosts.of(1, 4, words('10.1.0.2'), null, 0)!;
    expect(hosts.at(1, 4, words('10.1.0.2'), 0)).toBeNull();
    host.say('silence', 'silent', 1);
    hosts.changed();
    expect(hosts.at(1, 4, words('10.1.0.2'), 0)).toBe(host);
    expect(hosts.at(0, 4, words('10.1.0.2'), 0)).toBeNull();
    expect(hosts.at(1, 4, words('10.1.0.3'), 0)).toBeNull();
    expect(hosts.at(1, 6, words('a01:2::'), 0)).toBeNull();
    expect(hosts.of(1, 4, words('10.1.0.2'), null, 9)).toBe(host);
    host.say('silence', null, 2);
    hosts.changed();
    expect(hosts.lost).toEqual([]);
  });

  it('are bounded: those that are back give way, those that are lost do not', () => {
    const hosts = new HostRegistry();
    for (let i = 0; i < MAX_HOSTS; i++) hosts.of(0, 4, Int32Array.of(i), null, i)!.say('silence', 'silent', i);
    hosts.changed();
    expect(hosts.of(0, 4, Int32Array.of(-1), null, 0)).toBeNull();
    hosts.find(0, Int32Array.of(77))!.say('silence', null, 5_000);
    expect(hosts.of(0, 4, Int32Array.of(-1), null, 6_000)).not.toBeNull();
    expect(hosts.find(0, Int32Array.of(77))).toBeUndefined();
    expect(hosts.size).toBe(MAX_HOSTS);
  });
});

describe('next hops', () => {
  const route = (gateway: string, present = true, change: Partial<RouteEvent> = {}): RouteEvent =>
    defaultRoute(gateway, { present, ...change });

  it('of default routes are known, also when the kernel has forgotten them', () => {
    const hops = new NextHops();
    hops.onRoute(1, route('192.0.2.1'));
    hops.onRoute(1, route('192.0.2.9', true, { destination: Uint8Array.of(10, 9, 0, 0), prefixLength: 16 }));
    hops.onRoute(1, route('192.0.2.1', false));
    expect(hops.defaultsOf(1).map(({ address }) => address.join('.'))).toEqual(['192.0.2.1']);
    expect(hops.of(1, parseAddress('192.0.2.9')!)?.isDefault).toBe(false);
    hops.onRoute(1, route('192.0.2.2'));
    expect(hops.defaultsOf(1).map(({ address }) => address.join('.'))).toEqual(['192.0.2.2']);
    expect(hops.defaultsOf(0)).toEqual([]);
  });

  it('two at a time are both known; a connected route has none', () => {
    const hops = new NextHops();
    hops.onRoute(1, route('192.0.2.1'));
    hops.onRoute(1, route('192.0.2.2'));
    expect(hops.defaultsOf(1)).toHaveLength(2);
    const { gateway: _none, ...connected } = route('192.0.2.1');
    hops.onRoute(1, connected);
    hops.onRoute(1, route('0.0.0.0'));
    expect(hops.size).toBe(2);
  });

  it('are bounded', () => {
    const hops = new NextHops();
    for (let i = 1; i < 200; i++) {
      hops.onRoute(1, route(`192.0.2.${i}`, true, { destination: Uint8Array.of(10, i, 0, 0), prefixLength: 16 }));
    }
    expect(hops.size).toBe(16);
  });
});

describe('epochs of addresses', () => {
  const event = (text: string, present: boolean, prefixLength = 24): AddressEvent => {
    const address = parseAddress(text)!;
    const family = address.length === 4 ? 4 : 6;
    return { kind: 'address', name: 'wan0', family, address, prefixLength, global: true, present };
  };
  const SERVER = words('198.51.100.9');

  it('a connection is lost with the address that it was opened under, and no other', () => {
    const epochs = new EpochList();
    epochs.configure(1, 'wan', true);
    epochs.onAddress(1, event('203.0.113.5', true), 10);
    epochs.onAddress(1, event('203.0.113.5', false), 100);
    epochs.onAddress(1, event('203.0.113.6', true), 200);
    expect(epochs.covers(1, 4, SERVER, 0, 0, 50)?.label).toBe('203.0.113.5');
    expect([9, 100, 250].map((at) => epochs.covers(1, 4, SERVER, 0, 0, at))).toEqual([null, null, null]);
    expect(epochs.covers(0, 4, SERVER, 0, 0, 50)).toBeNull();
    // Beside another one it is not what connections are translated to.
    epochs.onAddress(1, event('203.0.113.5', true), 300);
    expect(epochs.covers(1, 4, SERVER, 0, 0, 50)?.label).toBe('203.0.113.5');
    epochs.onAddress(1, event('203.0.113.6', false), 400);
    expect([50, 250].map((at) => epochs.covers(1, 4, SERVER, 0, 0, at)?.label)).toEqual([undefined, '203.0.113.6']);
  });

  it('a second address that goes takes nobody along: translation uses the first', () => {
    const epochs = new EpochList();
    epochs.configure(1, 'wan', true);
    epochs.onAddress(1, event('203.0.113.5', true), 10);
    epochs.onAddress(1, event('203.0.113.6', true), 10);
    epochs.onAddress(1, event('203.0.113.6', false), 100);
    expect(epochs.size).toBe(0);
  });

  it('a delegated prefix takes along who has an address of it, whoever the peer is and whenever it was opened', () => {
    const epochs = new EpochList();
    const pair = Int32Array.from([...words('2001:db8:7:1::2'), ...words('2001:db8:9::1')]);
    epochs.onDelegated(1, words('2001:db8:7::'), 48, false, 100);
    expect(epochs.covers(1, 6, pair, 4, 0, 50)?.label).toBe('2001:db8:7::/48');
    expect(epochs.covers(1, 6, pair, 4, 0, 150)).not.toBeNull();
    // Behind another link; the other way round.
    expect([epochs.covers(0, 6, pair, 4, 0, 50), epochs.covers(1, 6, pair, 0, 4, 50)]).toEqual([null, null]);
    epochs.onDelegated(1, words('2001:db8:8::'), 48, true, 200);
    expect(epochs.size).toBe(1);
    // A shorter one that holds it.
    epochs.onDelegated(1, words('2001:db8::'), 40, true, 300);
    expect(epochs.size).toBe(0);
    // No site has half of the Internet.
    epochs.onDelegated(1, words('2000::'), 3, false, 400);
    expect(epochs.size).toBe(0);
    for (let i = 0; i < 500; i++) epochs.onDelegated(1, Int32Array.of(i, 0, 0, 0), 64, false, i);
    expect(epochs.size).toBe(64);
  });

  it('are given up after a while', () => {
    const epochs = new EpochList();
    epochs.configure(1, 'wan', true);
    epochs.onAddress(1, event('203.0.113.5', true), 10);
    epochs.onAddress(1, event('203.0.113.5', false), seconds(1));
    expect(epochs.deadline).toBe(seconds(1) + GRACE);
    expect(epochs.expire(epochs.deadline - 1)).toEqual([]);
    expect(epochs.expire(epochs.deadline).map(({ label }) => label)).toEqual(['203.0.113.5']);
    expect(epochs.deadline).toBe(NEVER);
  });

  it('are bounded', () => {
    const epochs = new EpochList();
    epochs.configure(1, 'wan', true);
    for (let i = 0; i < 500; i++) {
      const text = `203.0.${i >>> 8}.${i & 0xff}`;
      epochs.onAddress(1, event(text, true), 2 * i);
      epochs.onAddress(1, event(text, false), 2 * i + 1);
    }
    expect(epochs.size).toBe(64);
  });
});
