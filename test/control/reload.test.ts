/** What a new configuration changes while the gateway runs. */
import { describe, expect, test } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { NEVER } from '../../src/base/time.ts';
import { changed, refusedReload, settingsOf, unchangeable } from '../../src/control/reload.ts';
import type { GatewayConfig } from '../../src/policy/policy.ts';
import { checkConfig } from '../../src/policy/schema.ts';

function config(document: object): GatewayConfig {
  const links = { lan0: { role: 'lan' }, wan0: { role: 'wan' } };
  const result = checkConfig({ links, ...document });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

const before = config({});

describe('what can change', () => {
  test.each([
    { policy: [{ class: 'critical' }] },
    { limits: { custodyBytes: '1MiB', custodyBytesPerFlow: '64KiB', flowsPerHost: 7, parkedSyns: 3 } },
    { links: { lan0: { role: 'lan' }, wan0: { role: 'wan', maxOutage: '5m' } } },
    { log: { level: 'debug' } },
    {},
  ])('%j', (document) => {
    const after = config(document);
    expect(unchangeable(before, after)).toEqual([]);
    expect(changed(before, after)).toEqual(after);
    expect(changed(after, before)).toEqual(before);
  });
});

test('what cannot is named by its path, and stays as it is', () => {
  const after = config({
    links: { lan0: { role: 'lan' }, wan1: { role: 'wan' } },
    limits: { maxFlows: 17, arenaBytes: '16MiB' },
    control: '/run/elsewhere.sock',
    log: { format: 'json' },
    steering: { tun: 'other0' },
  });
  expect(unchangeable(before, after)).toEqual([
    'control',
    'limits.arenaBytes',
    'limits.maxFlows',
    'links.wan0',
    'links.wan1',
    'log.format',
    'steering.tun',
  ]);
  const result = changed(before, after);
  expect(result).toEqual(before);
});

test('settings of the engine: limits of links that set none are none', () => {
  const links = { lan0: { role: 'lan' }, wan0: { role: 'wan', maxOutage: '5m' } };
  expect(settingsOf(config({ links })).maxOutages).toEqual({ lan0: NEVER, wan0: 300e6 });
});

test('a broken file is one line', () => {
  const three = new TcpfreezeError('CONFIG_INVALID', 'f.yaml:1: a\nf.yaml:2: b\nf.yaml:3: c', '');
  expect(refusedReload(three).line()).toBe(
    'the old configuration stays: f.yaml:1: a (and 2 more); check the file: tcpfreeze doctor --config FILE',
  );
  expect(refusedReload(new TypeError('odd')).message).toBe('the old configuration stays: odd');
});
