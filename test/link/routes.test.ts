import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesPrefix, RouteMap } from '../../src/link/routes.ts';
import { parseAddress, parsePrefix } from '../../src/wire/address.ts';

const wordsOf = (bytes: Uint8Array): Int32Array => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
};

class Routes {
  readonly map = new RouteMap();
  add(text: string, port: number, metric = 0): void {
    const { address, prefixLength } = parsePrefix(text)!;
    this.map.add(address.length === 4 ? 4 : 6, address, prefixLength, port, metric);
  }
  remove(text: string, port: number): void {
    const { address, prefixLength } = parsePrefix(text)!;
    this.map.remove(address.length === 4 ? 4 : 6, address, prefixLength, port);
  }
  port(text: string): number {
    const address = parseAddress(text)!;
    return this.map.lookup(address.length === 4 ? 4 : 6, wordsOf(address), 0);
  }
}

/** The prefix test on strings of bits. */
function bitsOf(words: ArrayLike<number>): string {
  return Array.from(words, (word) => (word >>> 0).toString(2).padStart(32, '0')).join('');
}

describe('prefix match', () => {
  it('compares exactly the leading bits', () => {
    const word = fc.constantFrom(0, -1, 0x7fff_ffff, -0x8000_0000, 0x0a01_0203, 0x0a01_0202);
    const address = fc.array(word, { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(address, address, fc.nat(128), fc.nat(127), fc.nat(3), (a, b, bits, flip, at) => {
        const close = Int32Array.from(a);
        close[flip >> 5]! ^= 1 << (31 - (flip & 31));
        for (const other of [Int32Array.from(b), close]) {
          const shifted = Int32Array.from([...new Array<number>(at).fill(5), ...a]);
          expect(matchesPrefix(shifted, at, other, bits)).toBe(
            bitsOf(a).slice(0, bits) === bitsOf(other).slice(0, bits),
          );
        }
      }),
    );
  });
});

describe('route map', () => {
  it('finds the longest prefix, then the lowest metric, and keeps the families apart', () => {
    const routes = new Routes();
    routes.add('0.0.0.0/0', 1, 100);
    routes.add('0.0.0.0/0', 2, 50);
    routes.add('10.0.0.0/8', 0);
    routes.add('10.1.0.0/16', 3);
    routes.add('10.1.2.3/32', 4);
    routes.add('fd00::/8', 5);
    expect(['9.9.9.9', '10.9.9.9', '10.1.9.9', '10.1.2.3', '10.1.2.2'].map((a) => routes.port(a))).toEqual([
      2, 0, 3, 4, 3,
    ]);
    expect(routes.port('fd00::1')).toBe(5);
    expect(routes.port('2001:db8::1')).toBe(-1);
  });

  it('remembers what a lost interface served until another serves it', () => {
    const routes = new Routes();
    routes.add('10.1.0.0/16', 0);
    routes.add('0.0.0.0/0', 1);
    routes.remove('10.1.0.0/16', 0);
    expect(routes.port('10.1.2.3')).toBe(0);
    routes.add('10.1.0.0/16', 2, 500);
    expect(routes.port('10.1.2.3')).toBe(2);
    routes.remove('10.1.0.0/16', 2);
    routes.add('10.1.0.0/16', 0);
    expect([routes.port('10.1.2.3'), routes.map.size]).toEqual([0, 2]);
  });

  it('prefers the main table to others, and finds what is in another one only', () => {
    const routes = new Routes();
    routes.add('0.0.0.0/0', 1, 100);
    routes.add('0.0.0.0/0', 2, 2 ** 32 + 200);
    routes.add('10.5.0.0/16', 3, 2 ** 32 + 200);
    expect([routes.port('9.9.9.9'), routes.port('10.5.1.1')]).toEqual([1, 3]);
    // The same interface in both tables: it stays a route of the main table.
    routes.add('0.0.0.0/0', 1, 2 ** 32 + 201);
    expect([routes.port('9.9.9.9'), routes.map.size]).toEqual([1, 3]);
  });

  it('forgets a withdrawn route that another interface already serves', () => {
    const routes = new Routes();
    routes.add('0.0.0.0/0', 1, 10);
    routes.add('0.0.0.0/0', 2, 20);
    expect(routes.port('9.9.9.9')).toBe(1);
    routes.remove('0.0.0.0/0', 1);
    expect([routes.port('9.9.9.9'), routes.map.size]).toEqual([2, 1]);
    routes.remove('0.0.0.0/0', 2);
    expect(routes.port('9.9.9.9')).toBe(2);
  });

  it('a repeated route changes its metric and is no second one', () => {
    const routes = new Routes();
    routes.add('0.0.0.0/0', 1, 10);
    routes.add('0.0.0.0/0', 2, 20);
    routes.add('0.0.0.0/0', 1, 30);
    expect([routes.port('9.9.9.9'), routes.map.size]).toEqual([2, 2]);
  });

  it('agrees with a search through all prefixes, also with stale ones', () => {
    const prefix = fc.record({
      word: fc.constantFrom(0, 0x0a00_0000, 0x0a01_0000, 0x0a01_0200, -1, 0x8000_0000 | 0),
      bits: fc.constantFrom(0, 1, 8, 15, 16, 24, 31, 32),
      port: fc.nat(2),
      present: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 25 }), fc.integer(), (steps, extra) => {
        const map = new RouteMap();
        // Twin: per prefix the ports that serve it, and the one that did last.
        const twin = new Map<string, { fresh: Map<number, number>; stale: Set<number> }>();
        steps.forEach(({ word, bits, port, present }, metric) => {
          const bytes = new Uint8Array(4);
          const masked = bits === 0 ? 0 : word & (-1 << (32 - bits));
          new DataView(bytes.buffer).setInt32(0, masked);
          const key = bitsOf([masked]).slice(0, bits);
          const entry = twin.get(key) ?? { fresh: new Map<number, number>(), stale: new Set<number>() };
          twin.set(key, entry);
          if (present) {
            map.add(4, bytes, bits, port, metric);
            entry.fresh.set(port, metric);
            entry.stale.clear();
          } else {
            map.remove(4, bytes, bits, port);
            if (entry.fresh.delete(port) && entry.fresh.size === 0) entry.stale.add(port);
          }
        });
        for (const address of [0, 0x0a00_0001, 0x0a01_0001, 0x0a01_0203, -1, 0x0a01_0200, extra | 0]) {
          const bits = bitsOf([address]);
          let best: number[] = [-1];
          for (let length = 32; length >= 0; length--) {
            const entry = twin.get(bits.slice(0, length));
            if (entry === undefined || entry.fresh.size + entry.stale.size === 0) continue;
            const lowest = Math.min(...entry.fresh.values());
            best =
              entry.fresh.size > 0
                ? [...entry.fresh].filter(([, metric]) => metric === lowest).map(([port]) => port)
                : [...entry.stale];
            break;
          }
          expect(best).toContain(map.lookup(4, Int32Array.of(address), 0));
        }
      }),
    );
  });
});
