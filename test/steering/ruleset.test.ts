import { expect, test } from 'vitest';
import { addTable, isQuotable, markLost, type RulesetOptions, refreshLan } from '../../src/steering/ruleset.ts';

const OPTIONS: RulesetOptions = {
  tun: 'tf0',
  lan: ['lan0', 'lan1'],
  markSource: false,
  trackingActive: false,
  translated: [],
};

test('one line: an interactive nft ends a command at the line end', () => {
  const all = { ...OPTIONS, markSource: true, trackingActive: true, translated: ['wan0'] };
  for (const text of [
    addTable(all, 'owner'),
    addTable(all, 'plain', 12),
    markLost('wan0', 10),
    refreshLan(['lan0'], 12),
  ]) {
    expect(text).not.toContain('\n');
  }
});

test('an owned table names its owner flag and keeps its elements', () => {
  const text = addTable(OPTIONS, 'owner');
  expect(text).toContain('{ flags owner; ');
  expect(text).toContain('elements = { "lan0", "lan1" }');
  expect(text).not.toContain('"lan0" timeout');
});

test('in a plain table the LAN interfaces time out', () => {
  const text = addTable(OPTIONS, 'plain', 12);
  expect(text).not.toContain('owner');
  expect(text).toContain('"lan0" timeout 12s, "lan1" timeout 12s');
});

test('connection tracking is asked only where it is on already', () => {
  expect(addTable(OPTIONS, 'owner')).not.toContain('ct state');
  expect(addTable({ ...OPTIONS, trackingActive: true }, 'owner')).toContain('ct state new');
});

test('what comes back to an address that is gone is dropped only where connections are translated', () => {
  expect(addTable({ ...OPTIONS, trackingActive: true }, 'owner')).not.toContain('chain stray');
  const text = addTable({ ...OPTIONS, trackingActive: true, translated: ['wan0', 'wan1'] }, 'owner');
  expect(text.match(/fib daddr oifname "wan\d" counter drop/g)).toHaveLength(2);
});

test('marks only where sources are validated', () => {
  expect(addTable(OPTIONS, 'owner')).not.toContain('mark');
  expect(addTable({ ...OPTIONS, markSource: true }, 'owner')).toContain('meta mark set 0x2000000');
});

test('names that would end an nft string are not quotable', () => {
  expect(isQuotable('wan0.7@x')).toBe(true);
  for (const name of ['a"b', 'a\\b', 'a*']) expect(isQuotable(name)).toBe(false);
});
