/** The metrics as a Prometheus would read them: format, names, and that every figure shows up where it belongs. */
import { get } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { COUNTER, COUNTER_NAMES } from '../../src/base/counters.ts';
import { COUNTERS_BYTES, FAMILY, observe } from '../../src/base/figures.ts';
import { millis, seconds } from '../../src/base/time.ts';
import type { StatusJson } from '../../src/control/api.ts';
import { EventHistory, toEventJson } from '../../src/control/history.ts';
import { Metrics } from '../../src/control/metrics.ts';
import { MetricsServer } from '../../src/control/metrics-server.ts';
import { sampleStatus } from './samples.ts';

const PHASES = { opening: 1, flowing: 2, frozen: 3, handback: 4, closing: 5, bypass: 6 };
const STATUS: StatusJson = sampleStatus({
  links: [
    { name: 'lan0', role: 'lan', state: 'up', since: '2026-01-01T00:00:00.000Z', reason: '', evidence: [] },
    { name: 'wan"0\\', role: 'wan', state: 'lost', since: '2026-01-01T00:00:01.500Z', reason: '', evidence: [] },
  ],
  flows: { total: 21, ...PHASES },
  hosts: [],
  classes: { normal: PHASES, bulk: { ...PHASES, frozen: 0 } },
  custodyBytes: 77,
});

/** One sample per line of the text format 0.0.4, by name with labels. @throws on a line that is none */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      expect(types.has(type[1]!)).toBe(false);
      types.set(type[1]!, type[2]!);
      continue;
    }
    if (/^# HELP [a-z_]+ \S.*$/.test(line)) continue;
    const sample = /^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\]|\\.)*",?)+\})? (\S+)$/.exec(line);
    if (sample === null) throw new Error(`no sample: ${line}`);
    const [, name = '', labels = '', value] = sample;
    const base = name.replace(/_(bucket|sum|count)$/, '');
    expect(types.has(name) || types.get(base) === 'histogram', `${name} has no type`).toBe(true);
    if (types.get(name) === 'counter') expect(name).toMatch(/_total$/);
    expect(samples.has(name + labels), line).toBe(false);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

let figures: Float64Array;
let history: EventHistory;
let status: StatusJson | null;
let metrics: Metrics;

beforeEach(() => {
  figures = new Float64Array(COUNTERS_BYTES / 8);
  history = new EventHistory();
  status = STATUS;
  metrics = new Metrics({
    version: '1.2.3',
    status: () => Promise.resolve(status),
    figures: () => figures,
    eventCounts: () => history.counts,
  });
});

describe('text', () => {
  test('links, flows by phase and class, custody, events', async () => {
    history.record(toEventJson({ name: 'link-lost', message: '' }, new Date()));
    history.record(toEventJson({ name: 'datapath-restarted', message: '' }, new Date()));
    const samples = parse(await metrics.text());
    expect(Object.fromEntries(samples)).toMatchObject({
      'tcpfreeze_build_info{version="1.2.3"}': 1,
      tcpfreeze_datapath_up: 1,
      tcpfreeze_datapath_restarts_total: 1,
      'tcpfreeze_link_up{link="lan0",role="lan"}': 1,
      'tcpfreeze_link_up{link="wan\\"0\\\\",role="wan"}': 0,
      'tcpfreeze_link_since_timestamp_seconds{link="lan0",role="lan"}': 1_767_225_600,
      'tcpfreeze_flows{phase="frozen",class="normal"}': 3,
      'tcpfreeze_flows{phase="frozen",class="bulk"}': 0,
      tcpfreeze_custody_bytes: 77,
      'tcpfreeze_events_total{event="link-lost",severity="warn"}': 1,
    });
    expect([...samples.keys()].filter((name) => name.includes('total="') || name.includes('phase="total"'))).toEqual(
      [],
    );
  });

  test('every counter of the engine shows once, with its own value', async () => {
    COUNTER_NAMES.forEach((_, at) => {
      figures[at] = 1_000 + at;
    });
    const values = [...parse(await metrics.text()).values()];
    const hidden = ['flowsBypassed', 'freezes', 'thaws'];
    for (const name of COUNTER_NAMES) {
      const shown = values.filter((value) => value === 1_000 + COUNTER[name]).length;
      expect([name, shown]).toEqual([name, hidden.includes(name) ? 0 : 1]);
    }
  });

  test('labelled counters', async () => {
    figures[FAMILY.freezes.carrier] = 3;
    figures[FAMILY.thaws.command] = 4;
    figures[FAMILY.bypasses['tcp-md5']] = 5;
    figures[FAMILY.drops.unsound] = 6;
    figures[COUNTER.forwarded] = 7;
    expect(Object.fromEntries(parse(await metrics.text()))).toMatchObject({
      'tcpfreeze_freezes_total{cause="carrier"}': 3,
      'tcpfreeze_freezes_total{cause="silence"}': 0,
      'tcpfreeze_thaws_total{cause="command"}': 4,
      'tcpfreeze_bypasses_total{reason="tcp-md5"}': 5,
      'tcpfreeze_drops_total{reason="unsound"}': 6,
      'tcpfreeze_packets_handled_total{disposition="forwarded"}': 7,
    });
  });

  test('histograms: cumulative buckets, sum and count in seconds', async () => {
    for (const micros of [millis(20), seconds(2), seconds(2), seconds(100_000)])
      observe(figures, 'freezeDuration', micros);
    const samples = parse(await metrics.text());
    const bucket = (le: string): number | undefined =>
      samples.get(`tcpfreeze_freeze_duration_seconds_bucket{le="${le}"}`);
    expect([bucket('0.1'), bucket('1'), bucket('3'), bucket('14400'), bucket('+Inf')]).toEqual([1, 1, 3, 3, 4]);
    expect(samples.get('tcpfreeze_freeze_duration_seconds_count')).toBe(4);
    expect(samples.get('tcpfreeze_freeze_duration_seconds_sum')).toBeCloseTo(100_004.02, 6);
    expect(samples.get('tcpfreeze_loop_turn_seconds_count')).toBe(0);
  });

  test('a second scrape shows the same, not the double', async () => {
    figures[COUNTER.packets] = 9;
    await metrics.text();
    const [first, second] = await Promise.all([metrics.text(), metrics.text()]);
    for (const text of [first, second]) expect(parse(text).get('tcpfreeze_packets_total')).toBe(9);
  });

  test('while the datapath is being restarted, that is said', async () => {
    status = null;
    const samples = parse(await metrics.text());
    expect(samples.get('tcpfreeze_datapath_up')).toBe(0);
    expect([...samples.keys()].some((name) => name.startsWith('tcpfreeze_link_up'))).toBe(false);
  });

  test('the process says what every Prometheus client says', async () => {
    const samples = parse(await metrics.text());
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(10e6);
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(samples.get('process_open_fds')).toBeGreaterThan(2);
    expect(Math.abs(samples.get('process_start_time_seconds')! - (Date.now() / 1_000 - process.uptime()))).toBeLessThan(
      2,
    );
  });
});

describe('on a TCP address', () => {
  let server: MetricsServer | undefined;

  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  function fetchText(path: string, method = 'GET'): Promise<{ status: number; type: string; text: string }> {
    return new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port: server!.port, path, method }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        const { statusCode, headers } = response;
        response.on('end', () => resolve({ status: statusCode ?? 0, type: headers['content-type'] ?? '', text }));
      }).on('error', reject);
    });
  }

  test('serves /metrics and nothing else', async () => {
    server = await MetricsServer.listen({ host: '127.0.0.1', port: 0 }, metrics);
    const answer = await fetchText('/metrics?collect=all');
    expect(answer).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(parse(answer.text).get('tcpfreeze_datapath_up')).toBe(1);
    for (const [path, method] of [
      ['/', 'GET'],
      ['/status', 'GET'],
      ['/metrics', 'POST'],
      ['/freeze', 'POST'],
    ] as const)
      expect((await fetchText(path, method)).status).toBe(404);
  });

  test('an address that is taken is one clear line', async () => {
    server = await MetricsServer.listen({ host: '127.0.0.1', port: 0 }, metrics);
    await expect(MetricsServer.listen({ host: '127.0.0.1', port: server.port }, metrics)).rejects.toMatchObject({
      code: 'METRICS_ADDRESS',
      message: `metrics cannot be served on 127.0.0.1:${server.port}: EADDRINUSE`,
    });
    await expect(MetricsServer.listen({ host: '192.0.2.1', port: 9_469 }, metrics)).rejects.toMatchObject({
      code: 'METRICS_ADDRESS',
    });
  });
});
