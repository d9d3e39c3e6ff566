import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_DETECTORS } from '../../src/policy/detectors.ts';
import { DEFAULT_CONFIG, DEFAULT_RULE } from '../../src/policy/policy.ts';
import type { ConfigProblem } from '../../src/policy/problems.ts';
import { checkConfig, configJsonSchema } from '../../src/policy/schema.ts';

function problems(document: unknown): string[] {
  const result = checkConfig(document);
  if (result.ok) throw new Error('accepted');
  return result.problems.map(({ path, message }: ConfigProblem) => `${path.join('.')}: ${message}`);
}

test.each([undefined, null, {}, { links: {}, policy: [], limits: {}, log: {}, steering: {} }])(
  'an empty configuration is the default one: %j',
  (document) => expect(checkConfig(document)).toEqual({ ok: true, config: DEFAULT_CONFIG }),
);

test('a detector is switched by link', () => {
  const result = checkConfig({
    links: { wan0: { role: 'wan', detectors: { silence: false } }, lan0: { role: 'lan' } },
  });
  expect(result.ok && result.config.links).toEqual([
    { name: 'wan0', role: 'wan', detectors: { ...DEFAULT_DETECTORS, silence: false } },
    { name: 'lan0', role: 'lan', detectors: DEFAULT_DETECTORS },
  ]);
  expect(problems({ links: { wan0: { role: 'wan', detectors: { silence: 'loud' } } } })).toEqual([
    'links.wan0.detectors.silence: must be true or false',
  ]);
});

test('what detectors may be told', () => {
  const detectors = {
    silence: false,
    keepalive: '5s',
    echo: { targets: ['192.0.2.1', '2001:db8::1'], interval: 2 },
    icmp: false,
    dhcp: false,
    neighbour: false,
    damping: { halfLife: '1m', suppress: 3, reuse: 0.5, longest: '5m' },
  };
  const result = checkConfig({ links: { wan0: { role: 'wan', nat: true, detectors } } });
  expect(result.ok && result.config.links).toEqual([
    {
      name: 'wan0',
      role: 'wan',
      isTranslated: true,
      detectors: {
        ...detectors,
        keepalive: 5_000_000,
        echo: { targets: ['192.0.2.1', '2001:db8::1'], interval: 2_000_000 },
        damping: { halfLife: 60_000_000, suppress: 3, reuse: 0.5, longest: 300_000_000 },
      },
    },
  ]);
  const off = { keepalive: 'off', echo: { targets: 'off' }, damping: { halfLife: 'off' } };
  const quiet = checkConfig({ links: { wan0: { role: 'wan', detectors: off } } });
  expect(quiet.ok && quiet.config.links[0]!.detectors).toEqual({
    ...DEFAULT_DETECTORS,
    keepalive: 'off',
    echo: null,
    damping: null,
  });
});

test.each([
  [{ keepalive: 'often' }, 'keepalive: must be off, suspicion, or'],
  [{ keepalive: '10ms' }, 'keepalive: must be off, suspicion, or'],
  [{ echo: { targets: 'everybody' } }, 'echo.targets: must be auto, off, or a list'],
  [{ echo: { targets: ['example.net'] } }, 'echo.targets'],
  [{ echo: { interval: '100ms' } }, 'echo.interval: must be'],
  [{ damping: { suppress: 1 } }, 'damping.suppress: must be a number of losses'],
  [{ damping: { reuse: 2 } }, 'damping.reuse: must be a number of losses'],
  [{ damping: { longest: 'ever' } }, 'damping.longest: must be'],
])('detectors refuse %j', (detectors, problem) => {
  const [first] = problems({ links: { wan0: { role: 'wan', detectors } } });
  expect(first).toContain(`links.wan0.detectors.${problem}`);
});

test('every key is taken over', () => {
  const result = checkConfig({
    links: { lan0: { role: 'lan' }, 'wan0.7': { role: 'wan', detectors: {} } },
    policy: [
      { match: { prefix: '10.0.0.0/8', port: 22, interface: 'lan0' }, class: 'critical', maxOutage: '1h' },
      {
        match: { prefix: ['2001:db8::1', '192.0.2.1'], port: ['5000-5999', 80] },
        custody: false,
        wakeup: false,
        trickle: 4,
      },
      {
        class: 'suspension',
        keep: '5m',
        priority: 'bulk',
        freeze: false,
        parkSyn: false,
        giveUp: 'silent',
        trickle: 'off',
      },
      { maxOutage: 'off', trickle: 'on' },
    ],
    limits: {
      maxFlows: 10,
      arenaBytes: '16MiB',
      custodyBytesPerFlow: '1MiB',
      custodyBytes: '2MiB',
      flowsPerHost: 'off',
    },
    journal: 'off',
    control: '/run/x.sock',
    controlGroup: 'netdev',
    metrics: '[::1]:9469',
    log: { level: 'debug', format: 'json' },
    capture: { file: '/var/c.pcapng', filter: 'port 22', snaplen: 128, rotate: { size: '1MB', count: 3 } },
    steering: { tun: 'tf0', table: 4711, priority: 50, connectionTracking: 'off', firewall: 'ignore' },
  });
  expect(result).toEqual({
    ok: true,
    config: {
      links: [
        { name: 'lan0', role: 'lan', detectors: DEFAULT_DETECTORS },
        { name: 'wan0.7', role: 'wan', detectors: DEFAULT_DETECTORS },
      ],
      policy: [
        {
          ...DEFAULT_RULE,
          match: { prefix: ['10.0.0.0/8'], port: [{ from: 22, to: 22 }], interface: ['lan0'] },
          class: 'critical',
          maxOutage: 3_600_000_000,
        },
        {
          ...DEFAULT_RULE,
          match: {
            prefix: ['2001:db8::1/128', '192.0.2.1/32'],
            port: [
              { from: 5_000, to: 5_999 },
              { from: 80, to: 80 },
            ],
          },
          custody: false,
          wakeup: false,
          trickle: 4_000_000,
        },
        {
          ...DEFAULT_RULE,
          class: 'suspension',
          keep: 300_000_000,
          priority: 'bulk',
          freeze: false,
          parkSyn: false,
          giveUp: 'silent',
          trickle: 'off',
        },
        { ...DEFAULT_RULE, trickle: 4_000_000 },
      ],
      limits: {
        maxFlows: 10,
        arenaBytes: 2 ** 24,
        custodyBytesPerFlow: 2 ** 20,
        custodyBytes: 2 ** 21,
        flowsPerHost: 10,
        parkedSyns: 1_024,
      },
      control: '/run/x.sock',
      capture: { file: '/var/c.pcapng', filter: 'port 22', snapLength: 128, rotation: { bytes: 1_000_000, count: 3 } },
      journal: null,
      controlGroup: 'netdev',
      metrics: { host: '::1', port: 9_469 },
      log: { level: 'debug', format: 'json' },
      steering: { tun: 'tf0', table: 4711, priority: 50, connectionTracking: 'off', firewall: 'ignore' },
    },
  });
});

test('the limit of all flows bounds that of one', () => {
  const result = checkConfig({ limits: { custodyBytes: '1MiB' } });
  expect(result.ok && result.config.limits.custodyBytesPerFlow).toBe(2 ** 20);
});

test('all problems are listed at once', () => {
  expect(
    problems({
      links: { lan0: { role: 'x', detector: 1 } },
      policy: [{ match: { port: 'x', prefix: ['1.2.3.4/33'] }, maxOutage: '5x' }],
      limits: { maxFlows: 0, arenaBytes: '3' },
      journal: 'var/lib/journal',
      controlGroup: '',
      link: 1,
    }),
  ).toEqual([
    'links.lan0.role: must be lan or wan',
    'links.lan0.detector: is not a key here; did you mean detectors?',
    'policy.0.match.prefix.0: must be a prefix such as 192.0.2.0/24 or 2001:db8::/32',
    'policy.0.match.port: must be a port, 1 to 65535, or a range such as 5000-5999',
    'policy.0.maxOutage: must be off or a duration such as 500ms, 10s, 2m or 1h',
    'limits.maxFlows: must be a whole number, 1 to 16777216',
    'limits.arenaBytes: must be a size in bytes such as 65536, 512KiB or 64MiB, 1048576 to 4294967296',
    'journal: must be off or an absolute path',
    'controlGroup: must be the name of a group',
    'link: is not a key here; did you mean links?',
  ]);
});

describe('refused', () => {
  test.each([
    [[1], ': must be a map of keys to values'],
    ['text', ': must be a map of keys to values'],
    [{ links: [] }, 'links: must be a map of interface names to settings'],
    [{ links: { lan0: {} } }, 'links.lan0.role: must be lan or wan'],
    [{ links: { 'a b': { role: 'lan' } } }, 'links.a b: must be an interface name (1 to 15 characters)'],
    [
      { links: { abcdefghijklmnop: { role: 'lan' } } },
      'links.abcdefghijklmnop: must be an interface name (1 to 15 characters)',
    ],
    [{ policy: {} }, 'policy: must be a list of rules'],
    [
      { policy: [{ match: { port: '9-8' } }] },
      'policy.0.match.port: must be a port, 1 to 65535, or a range such as 5000-5999',
    ],
    [
      { policy: [{ match: { port: 0 } }] },
      'policy.0.match.port: must be a port, 1 to 65535, or a range such as 5000-5999',
    ],
    [{ policy: [{ custody: 'yes' }] }, 'policy.0.custody: must be true or false'],
    [{ control: 'relative.sock' }, 'control: must be an absolute path'],
    [{ log: { level: 'loud' } }, 'log.level: must be one of trace, debug, info, warn, error, fatal, silent'],
    [{ steering: { table: 0 } }, 'steering.table: must be auto or a table number, 1 to 4294967295'],
    [{ steering: { priority: 32_766 } }, 'steering.priority: must be auto or a priority, 1 to 32765'],
    [{ metrics: { port: 9 } }, 'metrics: must be off, or an address and a port such as 127.0.0.1:9469 or [::1]:9469'],
    [{ metrics: '127.0.0.1' }, 'metrics: must be off, or an address and a port such as 127.0.0.1:9469 or [::1]:9469'],
    [{ metrics: '1.2.3.256:1' }, 'metrics: must be off, or an address and a port such as 127.0.0.1:9469 or [::1]:9469'],
    [{ metrics: '127.0.0.1:0' }, 'metrics: must be off, or an address and a port such as 127.0.0.1:9469 or [::1]:9469'],
    [
      { limits: { zzz: 1 } },
      'limits.zzz: is not a key here; there are maxFlows, arenaBytes, custodyBytesPerFlow, custodyBytes, flowsPerHost, parkedSyns',
    ],
  ])('%j', (document, problem) => expect(problems(document)).toEqual([problem]));
});

test('any document gets an answer, and a refusal names a problem', () => {
  fc.assert(
    fc.property(fc.anything({ maxDepth: 4 }), (document) => {
      const result = checkConfig(document);
      expect(result.ok || result.problems.length > 0).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('the JSON Schema knows the same top-level keys, and forbids others', () => {
  const schema = configJsonSchema() as { properties: object; additionalProperties: unknown };
  expect(Object.keys(schema.properties)).toEqual([
    'links',
    'policy',
    'limits',
    'journal',
    'control',
    'controlGroup',
    'metrics',
    'log',
    'capture',
    'steering',
  ]);
  expect(schema.additionalProperties).toBe(false);
});
