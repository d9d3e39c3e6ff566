import { expect, test } from 'vitest';
import { EventHistory, type EventJson, toEventJson } from '../../src/control/history.ts';

function event(name: string): EventJson {
  return { time: '2026-01-01T00:00:00.000Z', name, message: name };
}

function names(history: EventHistory): string[] {
  return history.list().map(({ name }) => name);
}

test('keeps the latest, oldest first', () => {
  const history = new EventHistory(3);
  expect(names(history)).toEqual([]);
  for (const [added, kept] of [
    ['a', ['a']],
    ['b', ['a', 'b']],
    ['c', ['a', 'b', 'c']],
    ['d', ['b', 'c', 'd']],
    ['e', ['c', 'd', 'e']],
    ['f', ['d', 'e', 'f']],
    ['g', ['e', 'f', 'g']],
  ] as const) {
    history.record(event(added));
    expect(names(history)).toEqual(kept);
  }
});

test('a follower gets what comes, until it stops', () => {
  const history = new EventHistory();
  const got: string[] = [];
  history.record(event('before'));
  const stop = history.follow(({ name }) => got.push(name));
  history.record(event('during'));
  stop();
  history.record(event('after'));
  expect(got).toEqual(['during']);
});

test('durations become seconds, other figures stay, absent fields stay absent', () => {
  const json = toEventJson({ name: 'n', message: 'm', figures: { outageMicros: 1_500_000, bytes: 7 } }, new Date(0));
  expect(json).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    name: 'n',
    message: 'm',
    figures: { outage: 1.5, bytes: 7 },
  });
});
