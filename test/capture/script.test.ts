import { describe, expect, test } from 'vitest';
import { parseScript } from '../../src/capture/script.ts';

const LINKS = ['lan0', 'wan0'];

describe('scripts', () => {
  test('events in the order of their times', () => {
    const events = parseScript(
      '# a cut\n+12.5 lose wan0\r\n\n+3 lose host 10.0.0.7  # one host\n+3 lose prefix 10.9.8.7/8\n+0.000001 restore host FD00::0:1\n',
      LINKS,
    );
    expect(
      events.map(({ at, isLoss, scope }) => [at, isLoss, scope.kind === 'link' ? scope.name : scope.text]),
    ).toEqual([
      [1, false, 'fd00::1'],
      [3_000_000, true, '10.0.0.7'],
      [3_000_000, true, '10.0.0.0/8'],
      [12_500_000, true, 'wan0'],
    ]);
  });

  test('nothing is a script, too', () => expect(parseScript('\n# nothing\n', LINKS)).toEqual([]));

  test.each([
    ['+1 lose wan0\n12.5 lose wan0', 'line 2', 'is no event'],
    ['+1 drop wan0', 'line 1', 'is no event'],
    ['+1 lose', 'line 1', 'is no event'],
    ['+1 lose wan0 now', 'line 1', 'is no event'],
    ['+9999999 lose wan0', 'line 1', 'is no event'],
    ['+1 lose eth7', 'line 1', 'no link eth7; there are lan0 and wan0'],
    ['+1 lose host example', 'line 1', 'example is no address'],
    ['+1 restore prefix 10.0.0.0/33', 'line 1', '10.0.0.0/33 is no prefix'],
  ])('%j is refused by its line', (text, line, why) => {
    expect(() => parseScript(text, LINKS)).toThrow(line);
    expect(() => parseScript(text, LINKS)).toThrow(why);
  });
});
