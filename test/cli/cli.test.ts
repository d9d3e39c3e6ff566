import { describe, expect, test } from 'vitest';
import { findingsText } from '../../src/cli/doctor.ts';
import { durationOption, interfacesOption } from '../../src/cli/options.ts';
import { withFlags } from '../../src/cli/run.ts';
import { eventText, flowsText, statusText } from '../../src/cli/show.ts';
import { bytesText, durationText, table } from '../../src/cli/table.ts';
import type { FlowJson } from '../../src/control/api.ts';
import { toEventJson } from '../../src/control/history.ts';
import { DEFAULT_DETECTORS, NO_DETECTORS } from '../../src/policy/detectors.ts';
import { DEFAULT_CONFIG, type LinkConfig } from '../../src/policy/policy.ts';
import { NO_FLOWS, NO_RESOURCES, sampleStatus } from '../control/samples.ts';

describe('options', () => {
  test('durations are seconds', () => {
    expect(durationOption('500ms')).toBe(0.5);
    expect(() => durationOption('5x')).toThrow('500ms');
  });

  test('interfaces by comma and by repetition', () => {
    expect(interfacesOption('a, b', undefined)).toEqual(['a', 'b']);
    expect(interfacesOption('c', ['a', 'b'])).toEqual(['a', 'b', 'c']);
    expect(() => interfacesOption('a,', undefined)).toThrow('commas');
  });
});

describe('flags over the file', () => {
  const inFile: LinkConfig[] = [
    { name: 'a', role: 'lan', detectors: DEFAULT_DETECTORS },
    { name: 'b', role: 'wan', detectors: NO_DETECTORS },
  ];
  const file = { ...DEFAULT_CONFIG, links: inFile, control: '/file.sock' };

  test.each([
    [{}, 'a:lan b:wan'],
    [{ lan: ['c', 'd'] }, 'c:lan d:lan b:wan'],
    [{ wan: ['c'] }, 'a:lan c:wan'],
    [{ lan: ['b'], wan: ['a'] }, 'b:lan a:wan'],
    [{ lan: ['a', 'a'] }, 'a:lan b:wan'],
  ])('%j', (flags, links) => {
    const merged = withFlags(file, flags).links.map(({ name, role }) => `${name}:${role}`);
    expect(merged.join(' ')).toBe(links);
  });

  test('detectors of a link that only a flag names are the default ones', () => {
    const merged = withFlags(file, { wan: ['b', 'c'] }).links;
    expect(merged.find(({ name }) => name === 'b')?.detectors).toEqual(NO_DETECTORS);
    expect(merged.find(({ name }) => name === 'c')?.detectors).toEqual(DEFAULT_DETECTORS);
  });

  test('an interface that a flag takes from the other role leaves none there', () => {
    expect(() => withFlags(file, { wan: ['a'] })).toThrow('no lan interface');
    expect(() => withFlags(file, { lan: ['b'] })).toThrow('no wan interface');
  });

  test('wrong usage', () => {
    expect(() => withFlags(DEFAULT_CONFIG, { lan: ['a'] })).toThrow('no wan interface is named');
    expect(() => withFlags(DEFAULT_CONFIG, { wan: ['a'] })).toThrow('no lan interface is named');
    expect(() => withFlags(DEFAULT_CONFIG, { lan: ['a'], wan: ['a', 'b'] })).toThrow('named as lan and as wan');
  });

  test('socket and level', () => {
    expect(withFlags(file, {}).control).toBe('/file.sock');
    expect(withFlags(file, { control: '/flag.sock' }).control).toBe('/flag.sock');
    expect(withFlags(file, { logLevel: 'debug' }).log.level).toBe('debug');
  });
});

describe('text for people', () => {
  test('columns are as wide as their widest cell, numbers to the right', () => {
    expect(
      table(
        [
          ['A', 'N'],
          ['long', '1'],
          ['', '100'],
        ],
        [1],
      ),
    ).toBe('A       N\nlong    1\n      100');
  });

  test.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1.0 KiB'],
    [5.5 * 2 ** 20, '5.5 MiB'],
    [3 * 2 ** 50, '3072.0 TiB'],
  ])('%d bytes', (bytes, text) => expect(bytesText(bytes)).toBe(text));

  test.each([
    [0.42, '0.4s'],
    [59.9, '59s'],
    [200, '3m 20s'],
    [7_500, '2h 5m'],
    [273_600, '3d 4h'],
  ])('%d seconds', (seconds, text) => expect(durationText(seconds)).toBe(text));

  const status = sampleStatus({
    version: '1.0',
    uptime: 75,
    tun: 'tf0',
    links: [
      {
        name: 'wan0',
        role: 'wan',
        state: 'lost',
        since: '1970-01-01T00:00:00.000Z',
        reason: 'no carrier',
        evidence: ['carrier gone'],
      },
    ],
    flows: { ...NO_FLOWS, total: 2, flowing: 1, frozen: 1 },
    custodyBytes: 2_048,
    resources: {
      ...NO_RESOURCES,
      flows: 2,
      hosts: 1,
      busiestHostFlows: 2,
      flowsPerHost: 65_534,
      custodyBytes: 2_048,
      parkedSyns: 3,
    },
    counters: { packets: 12, bytes: 0 },
  });

  test('status', () => {
    expect(statusText(status, 30_000)).toBe(
      [
        'tcpfreeze 1.0, up 1m 15s, device tf0',
        '',
        'LINK  ROLE  STATE  FOR  REASON      EVIDENCE',
        'wan0  wan   lost   30s  no carrier  carrier gone',
        '',
        'flows    2 (opening 0, flowing 1, frozen 1, handback 0, closing 0, bypass 0)',
        'custody  2.0 KiB of 4.0 KiB',
        'hosts    1 (most flows of one 2 of 65534), parked SYNs 3 of 1024',
        '',
        'COUNTER  VALUE',
        'packets     12',
      ].join('\n'),
    );
  });

  test('status of a gateway that lacks something says what, and what mends it', () => {
    const text = statusText({ ...status, degraded: ['no echo requests: raw-socket is not there (mend it)'] }, 30_000);
    expect(text.split('\n')).toContain('without  no echo requests: raw-socket is not there (mend it)');
  });

  test('flows', () => {
    const flow: FlowJson = {
      id: '1.2',
      family: 4,
      originator: '10.0.0.1:1',
      responder: '10.0.0.2:2',
      phase: 'frozen',
      near: 'originator',
      frozenSince: '1970-01-01T00:00:00.000Z',
      custodyBytes: 10,
      class: 'temporary',
      priority: 'normal',
      rule: null,
      limit: 600,
      limitBy: 'link',
      deadline: null,
      trickling: false,
      bypassReason: null,
      windowScales: [7, null],
    };
    expect(flowsText([flow], 12_000).split('\n')[1]).toBe(
      '1.2  10.0.0.1:1  10.0.0.2:2  frozen  originator  12s            10 B  temporary  10m 0s (link)  -',
    );
    expect(flowsText([], 0).split('\n')).toHaveLength(1);
  });

  test('events', () => {
    const event = toEventJson({ name: 'link-lost', message: 'gone', link: 'wan0', figures: { flows: 2 } }, new Date(0));
    expect(eventText(event)).toBe('1970-01-01T00:00:00.000Z  warn   link-lost             wan0  gone  flows=2');
  });

  test('findings: one line each, with what mends it', () => {
    const text = findingsText([
      { check: 'ip', state: 'ok', found: 'there', remedy: '' },
      { check: 'nft', state: 'fail', found: 'not installed', remedy: 'apt-get install nftables' },
    ]);
    expect(text).toBe('ok    ip   there\nfail  nft  not installed  ->  apt-get install nftables');
  });
});
