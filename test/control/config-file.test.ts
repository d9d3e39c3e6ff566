import { describe, expect, test } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { parseConfig, readConfigFile } from '../../src/control/config-file.ts';
import { DEFAULT_DETECTORS } from '../../src/policy/detectors.ts';

function refusal(text: string): string[] {
  try {
    parseConfig(text, 'f.yaml');
  } catch (error) {
    if (error instanceof TcpfreezeError) return error.line().split('\n');
    throw error;
  }
  throw new Error('accepted');
}

test('a complete file', () => {
  const config = parseConfig('links:\n  lan0: {role: lan}\n  wan0:\n    role: wan\nlog: {level: warn}\n', 'f.yaml');
  expect(config.links).toEqual([
    { name: 'lan0', role: 'lan', detectors: DEFAULT_DETECTORS },
    { name: 'wan0', role: 'wan', detectors: DEFAULT_DETECTORS },
  ]);
  expect(config.log.level).toBe('warn');
});

describe('problems name file, line and key, in the order of the lines', () => {
  test('unknown keys and bad values', () => {
    const text = ['# comment', 'log:', '  level: loud', 'bogus: 1', 'links:', '  lan0:', '    role: x', '  wan0: {}'];
    expect(refusal(text.join('\n'))).toEqual([
      'f.yaml:3:3: log.level must be one of trace, debug, info, warn, error, fatal, silent',
      'f.yaml:4:1: bogus is not a key here; there are links, policy, limits, journal, control, controlGroup, metrics, log, capture, steering',
      'f.yaml:7:5: links.lan0.role must be lan or wan',
      'f.yaml:8:3: links.wan0.role must be lan or wan',
    ]);
  });

  test('items of lists are counted from one', () => {
    const text = 'policy:\n  - class: critical\n  - match:\n      port:\n        - 22\n        - 99999\n';
    expect(refusal(text)).toEqual([
      'f.yaml:6:11: policy[2].match.port[2] must be a port, 1 to 65535, or a range such as 5000-5999',
    ]);
  });

  test('a misspelt word: the nearest of those that may stand there', () => {
    expect(refusal('log: {level: debgu}\nsteering: {connectionTracking: autp}\n')).toEqual([
      'f.yaml:1:7: log.level must be one of trace, debug, info, warn, error, fatal, silent; did you mean debug?',
      'f.yaml:2:12: steering.connectionTracking must be auto or off; did you mean auto?',
    ]);
  });

  test('broken YAML', () => expect(refusal('links:\n  lan0: [\n')[0]).toMatch(/^f\.yaml:3:1: /));
  test('a key given twice', () => expect(refusal('log: {}\nlog: {}\n')[0]).toMatch(/^f\.yaml:2:1: .*unique/));
  test('an alias without its anchor: somebody meant a star', () =>
    expect(refusal('journal: /a\ncontrol: *b\n')).toEqual([
      'f.yaml:2:10: *b has no anchor &b before it; quote a value that begins with *',
    ]));
  test('an alias is what its anchor says', () =>
    expect(parseConfig('journal: &place /a\ncontrol: *place\n', 'f.yaml').control).toBe('/a'));
  test('the document as a whole', () =>
    expect(refusal('- a\n')).toEqual(['f.yaml:1:1: must be a map of keys to values']));
});

test('a file that cannot be read', () => {
  expect(() => readConfigFile('/nonexistent/f.yaml')).toThrow(
    'the configuration /nonexistent/f.yaml cannot be read: ENOENT',
  );
});
