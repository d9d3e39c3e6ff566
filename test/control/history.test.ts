import { expect, test } from 'vitest';
import { EventHistory, type EventJson, toEventJson } from '../../src/control/history.ts';

function event(message: string, name: 'link-lost' | 'flow-reset' = 'link-lost'): EventJson {
  return toEventJson({ name, message }, new Date(0));
}

function messages(history: EventHistory): string[] {
  return history.list().map(({ message }) => message);
}

test('keeps the latest, oldest first', () => {
  const history = new EventHistory(4);
  expect(messages(history)).toEqual([]);
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
    expect(messages(history)).toEqual(kept);
  }
});

test('a flood of what happens to single flows does not push out what happened to links', () => {
  const history = new EventHistory(10);
  history.record(event('lost'));
  for (let i = 0; i < 1_000; i++) history.record(event(`flow ${i}`, 'flow-reset'));
  history.record(event('back'));
  expect(messages(history)).toEqual(['lost', 'flow 998', 'flow 999', 'back']);
});

test('a follower gets what comes, until it stops', () => {
  const history = new EventHistory();
  const got: string[] = [];
  history.record(event('before'));
  const stop = history.follow(({ message }) => got.push(message));
  history.record(event('during'));
  stop();
  history.record(event('after'));
  expect(got).toEqual(['during']);
});

test('durations become seconds, other figures stay, absent fields stay absent', () => {
  const figures = { outageMicros: 1_500_000, bytes: 7 };
  expect(toEventJson({ name: 'flows-frozen', message: 'm', figures }, new Date(0))).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    name: 'flows-frozen',
    code: 301,
    severity: 'info',
    message: 'm',
    figures: { outage: 1.5, bytes: 7 },
  });
});
