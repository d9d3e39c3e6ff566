import { describe, expect, test } from 'vitest';
import {
  choosePriority,
  chooseTable,
  deleteRule,
  isOurs,
  parseRoutes,
  parseRules,
  type RoutingState,
  steeringRule,
  tunRoute,
} from '../../src/steering/rules.ts';

// As printed by `ip -N -j rule` and `ip -N -j route show table all` of iproute2 6.1.
const RULES =
  '[{"priority":0,"src":"all","table":"255"},{"priority":100,"src":"all","iif":"lan0","ipproto":"ipproto-6","table":"7100","protocol":"211"},' +
  '{"priority":32766,"src":"all","table":"254"},{"priority":32767,"src":"all","table":"253"}]';
const NAMED_RULES = '[{"priority":0,"src":"all","table":"local"},{"priority":32766,"src":"all","table":"main"}]';
const ROUTES =
  '[{"dst":"default","dev":"tcpfreeze0","table":"7100","protocol":"211","scope":"253","flags":[]},' +
  '{"dst":"10.90.1.0/24","dev":"lan0","protocol":"2","scope":"253","prefsrc":"10.90.1.1","flags":[]}]';

const EMPTY: RoutingState = { rules: parseRules(NAMED_RULES), routes: [] };

function withRule(priority: number, table = '500'): RoutingState {
  return { rules: [...EMPTY.rules, { priority, table }], routes: [] };
}

describe('reading', () => {
  test('rules', () => {
    const rules = parseRules(RULES);
    expect(rules.map(isOurs)).toEqual([false, true, false, false]);
    expect(rules[1]).toEqual({ priority: 100, table: '7100', iif: 'lan0', ipproto: 'tcp', protocol: '211' });
  });

  test('names of tables mean their numbers', () => {
    expect(parseRules(NAMED_RULES).map((rule) => rule.table)).toEqual(['255', '254']);
  });

  test('routes; without a table it is the main one', () => {
    expect(parseRoutes(ROUTES)).toEqual([
      { dst: 'default', table: '7100', dev: 'tcpfreeze0', protocol: '211' },
      { dst: '10.90.1.0/24', table: '254', dev: 'lan0', protocol: '2' },
    ]);
  });

  test('nothing printed is nothing there', () => {
    expect(parseRules('')).toEqual([]);
    expect(parseRoutes('\n')).toEqual([]);
  });
});

describe('the table', () => {
  test('is the first that no rule and no route of others uses, in either family', () => {
    expect(chooseTable(null, [EMPTY, EMPTY])).toBe(7_100);
    expect(chooseTable(null, [withRule(9, '7100'), EMPTY])).toBe(7_101);
    const routed = { rules: [], routes: [{ dst: 'default', table: '7101' }] };
    expect(chooseTable(null, [withRule(9, '7100'), routed])).toBe(7_102);
  });

  test('left-overs of ours do not count as use', () => {
    expect(chooseTable(null, [{ rules: parseRules(RULES), routes: parseRoutes(ROUTES) }])).toBe(7_100);
  });

  test('as configured, unless others use it', () => {
    expect(chooseTable(42, [EMPTY])).toBe(42);
    expect(() => chooseTable(500, [withRule(9)])).toThrow('route table 500 is used by others');
    expect(() => chooseTable(254, [EMPTY])).toThrow('used by others');
  });

  test('all taken', () => {
    const rules = Array.from({ length: 100 }, (_, index) => ({ priority: 9, table: `${7_100 + index}` }));
    expect(() => chooseTable(null, [{ rules, routes: [] }])).toThrow('7100 to 7199');
  });
});

describe('the priority', () => {
  test.each([
    ['usual', [EMPTY], 100],
    ['before a rule of others', [withRule(50)], 49],
    ['their lowest counts, in either family', [withRule(200), withRule(20)], 19],
    ['a later rule of others does not matter', [withRule(1_000)], 100],
    [
      'after a table of local addresses that was moved',
      [
        {
          rules: [
            { priority: 400, table: '255' },
            { priority: 32_766, table: '254' },
          ],
          routes: [],
        },
      ],
      401,
    ],
  ])('%s', (_name, states, priority) => expect(choosePriority(null, states)).toBe(priority));

  test('no room', () => {
    expect(() => choosePriority(null, [withRule(1)])).toThrow('no room');
  });

  test('as configured, but never before the local addresses', () => {
    expect(choosePriority(7, [EMPTY])).toBe(7);
    const moved = { rules: [{ priority: 400, table: '255' }], routes: [] };
    expect(() => choosePriority(400, [moved])).toThrow('before the table of local addresses');
  });
});

test('what is added can be removed by the same words', () => {
  expect(steeringRule(6, 'lan0', 7_100, 100)).toEqual({
    add: ['-6', 'rule', 'add', 'iif', 'lan0', 'ipproto', '6', 'lookup', '7100', 'priority', '100', 'protocol', '211'],
    remove: [
      '-6',
      'rule',
      'del',
      'iif',
      'lan0',
      'ipproto',
      '6',
      'lookup',
      '7100',
      'priority',
      '100',
      'protocol',
      '211',
    ],
  });
  expect(tunRoute(4, 'tf0', 7_100).add).toEqual([
    '-4',
    'route',
    'add',
    'default',
    'dev',
    'tf0',
    'table',
    '7100',
    'protocol',
    '211',
  ]);
});

test('a rule that was listed is deleted by all it says', () => {
  expect(deleteRule(4, parseRules(RULES)[1]!).join(' ')).toBe(
    '-4 rule del iif lan0 ipproto 6 lookup 7100 priority 100 protocol 211',
  );
});
