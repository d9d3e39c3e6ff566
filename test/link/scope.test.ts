import { describe, expect, it } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { MAX_SCOPES, type Scope, ScopeList } from '../../src/link/scope.ts';

const prefix = (label: string, word: number, prefixLength: number, until: number = NEVER): Scope => ({
  label,
  family: 4,
  words: Int32Array.of(word, 0, 0, 0),
  prefixLength,
  flowIndex: -1,
  flowGeneration: 0,
  flowHalf: 0,
  until,
});

const covers = (list: ScopeList, word: number, family: 4 | 6 = 4): boolean =>
  list.covers(family, Int32Array.of(0, word, 0, 0, 0), 1, 7, 1, 0);

describe('scopes', () => {
  it('cover hosts and prefixes of their family', () => {
    const list = new ScopeList();
    expect(list.nextExpiry()).toBe(NEVER);
    list.add(prefix('net', 0x0a01_0000, 16));
    expect([covers(list, 0x0a01_ffff), covers(list, 0x0a02_0000), covers(list, 0x0a01_0001, 6)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('cover one half of one flow, and not the next user of its index', () => {
    const list = new ScopeList();
    list.add({ ...prefix('flow 7.1', 0, 0), family: 0, flowIndex: 7, flowGeneration: 1, flowHalf: 1 });
    const words = new Int32Array(4);
    expect(list.covers(4, words, 0, 7, 1, 1)).toBe(true);
    expect(list.covers(4, words, 0, 7, 1, 0)).toBe(false);
    expect(list.covers(4, words, 0, 7, 2, 1)).toBe(false);
    expect(list.covers(4, words, 0, 6, 1, 1)).toBe(false);
  });

  it('a label is one scope: the newest', () => {
    const list = new ScopeList();
    list.add(prefix('a', 0x0a01_0000, 16));
    list.add(prefix('a', 0x0b00_0000, 8));
    expect([list.size, covers(list, 0x0a01_0001), covers(list, 0x0b00_0001)]).toEqual([1, false, true]);
    expect([list.remove('a'), list.remove('a')]).toEqual([true, false]);
  });

  it('expire at their time, the earliest first', () => {
    const list = new ScopeList();
    list.add(prefix('a', 0, 0, 500));
    list.add(prefix('b', 0, 0, 300));
    expect(list.nextExpiry()).toBe(300);
    expect([list.expire(299).length, list.size]).toEqual([0, 2]);
    expect([list.expire(300).length, list.size, list.nextExpiry()]).toEqual([1, 1, 500]);
    expect(list.clear()).toHaveLength(1);
  });

  it('are bounded; renewing one at the limit still works', () => {
    const list = new ScopeList();
    for (let i = 0; i < MAX_SCOPES; i++) expect(list.add(prefix(`${i}`, i, 32))).toBe(true);
    expect(list.add(prefix('one more', 1, 32))).toBe(false);
    expect(list.add(prefix('5', 0x0c00_0000, 8))).toBe(true);
    expect(covers(list, 0x0c01_0000)).toBe(true);
  });
});
