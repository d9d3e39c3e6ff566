import { describe, expect, test } from 'vitest';
import { withDecisions, withFlags } from '../../src/cli/run.ts';
import { parseConfig } from '../../src/control/config-file.ts';
import { effectiveSettings, settingsText } from '../../src/control/config-print.ts';
import { checkConfig } from '../../src/policy/schema.ts';

const FLAGS = { lan: ['lan0'], wan: ['wan0', 'wan1'] };

function printed(document: object, flags: object = FLAGS): string {
  const result = checkConfig(document);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return settingsText(effectiveSettings(...withDecisions(document, withFlags(result.config, flags), flags)));
}

test('every value with its origin: default, file, flag', () => {
  const text = printed({ log: { level: 'warn' }, links: { wan0: { role: 'wan', detectors: { silence: true } } } });
  for (const line of [
    /^links:\n {2}lan0:\n {4}role: lan # flag --lan$/m,
    /^ {2}wan0:\n {4}role: wan # flag --wan\n {4}nat: auto # default\n {4}detectors:\n(?: {6}.*\n)* {6}silence: true # file$/m,
    /^log:\n {2}level: warn # file\n {2}format: auto # default$/m,
    /^ {2}maxFlows: 65536 # default$/m,
    /^control: \S+ # default$/m,
  ]) {
    expect(text).toMatch(line);
  }
  expect(printed({}, { ...FLAGS, logLevel: 'debug', control: '/run/x' })).toMatch(
    /^control: \/run\/x # flag --control\n(.*\n)*log:\n {2}level: debug # flag --log-level$/m,
  );
});

test('the environment is an origin, too', () => {
  process.env.TCPFREEZE_CONTROL = '/run/elsewhere';
  try {
    expect(printed({})).toContain('control: /run/elsewhere # TCPFREEZE_CONTROL');
  } finally {
    delete process.env.TCPFREEZE_CONTROL;
  }
});

describe('what is printed is a configuration that means the same', () => {
  test.each([
    {},
    { limits: { arenaBytes: '8MiB', custodyBytes: 1000 }, steering: { table: 99, priority: 5 } },
    {
      policy: [
        { class: 'suspension', keep: '1m', maxOutage: '5m', match: { port: [22, '5-9'], prefix: '10.0.0.0/8' } },
        {},
      ],
    },
    { links: { wan1: { role: 'wan', detectors: { silence: false } }, wan9: { role: 'wan' } } },
  ])('%j', (document) => {
    const result = checkConfig(document);
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    const effective = withFlags(result.config, FLAGS);
    expect({ ...parseConfig(printed(document), 'f'), control: null }).toEqual(effective);
  });
});
