/**
 * The dashboard and the alert rules that ship with the package: well formed, and speaking of metrics and labels that there are.
 * Where promtool is installed, Prometheus' own checks judge rules, queries and the metrics text.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse as parseYaml, stringify } from 'yaml';
import { COUNTERS_BYTES } from '../../src/base/figures.ts';
import { EventHistory, toEventJson } from '../../src/control/history.ts';
import { Metrics } from '../../src/control/metrics.ts';
import { complaintsOfTypes } from './grafana-types.ts';
import { NO_FLOWS, sampleStatus } from './samples.ts';

const PACKAGING = resolve(import.meta.dirname, '../../packaging');
const DASHBOARD = join(PACKAGING, 'grafana/tcpfreeze.json');
const ALERTS = join(PACKAGING, 'prometheus/alerts.yaml');
const SCRAPE = join(PACKAGING, 'prometheus/scrape.yaml');

interface Target {
  readonly refId: string;
  readonly expr: string;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly targets?: readonly Target[];
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
}

interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly annotations: { readonly list: readonly { readonly target: Target }[] };
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly labels: { readonly severity: string };
      readonly annotations: { readonly summary: string; readonly description: string };
    }[];
  }[];
}

const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as Dashboard;
const rules = (parseYaml(readFileSync(ALERTS, 'utf8')) as Rules).groups.flatMap((group) => group.rules);
const queries = dashboard.panels.flatMap((panel) => (panel.targets ?? []).map(({ expr }) => expr));
const expressions = [
  ...queries,
  ...dashboard.annotations.list.map(({ target }) => target.expr),
  ...rules.map(({ expr }) => expr),
];

let text = '';
/** Labels of each sample name. */
const labels = new Map<string, Set<string>>();

beforeAll(async () => {
  const history = new EventHistory();
  history.record(toEventJson({ name: 'link-lost', message: '' }, new Date()));
  const since = '2026-01-01T00:00:00.000Z';
  const metrics = new Metrics({
    version: '1',
    figures: () => new Float64Array(COUNTERS_BYTES / 8),
    eventCounts: () => history.counts,
    status: () => {
      const links = [{ name: 'wan0', role: 'wan', state: 'up', since, reason: '', evidence: [] }] as const;
      return Promise.resolve(sampleStatus({ links, classes: { normal: NO_FLOWS } }));
    },
  });
  text = await metrics.text();
  for (const [, name = '', inside = ''] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+$/gm)) {
    const known = labels.get(name) ?? new Set(['instance', 'job']);
    for (const [, label = ''] of inside.matchAll(/([a-z]+)="/g)) known.add(label);
    labels.set(name, known);
  }
});

describe('dashboard', () => {
  test('is one that Grafana can load: identity, schema, variables, panels of known types', () => {
    expect(dashboard.uid).toMatch(/^[\w-]{1,40}$/);
    expect(dashboard.title).not.toBe('');
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(36);
    expect(dashboard.templating.list.map(({ name, type }) => `${name}: ${type}`)).toEqual([
      'datasource: datasource',
      'instance: query',
    ]);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const panel of dashboard.panels) {
      expect(panel.title).not.toBe('');
      expect(['row', 'timeseries', 'stat', 'state-timeline', 'heatmap']).toContain(panel.type);
      if (panel.type === 'row') continue;
      expect(panel.datasource?.type).toBe('prometheus');
      expect(panel.datasource?.uid).toMatch(/^\$\{datasource\}$/);
      expect(panel.fieldConfig?.defaults.unit).toMatch(/^(short|s|bytes|Bps|pps)$/);
      const refs = panel.targets!.map(({ refId }) => refId);
      expect(refs.length).toBeGreaterThan(0);
      expect(new Set(refs).size).toBe(refs.length);
    }
  });

  test('has the format that Grafana Labs publish as types: dashboard, panels, their options and fields', () => {
    expect(complaintsOfTypes(readFileSync(DASHBOARD, 'utf8'))).toEqual([]);
  });

  test.each([
    ['an option that its panel does not have', '"legend":', '"legends":'],
    ['an unknown word', '"mode": "absolute"', '"mode": "relative"'],
  ])('%s would be noticed', (_what, right, wrong) => {
    const text = readFileSync(DASHBOARD, 'utf8');
    expect(text).toContain(right);
    expect(complaintsOfTypes(text.replaceAll(right, wrong))).not.toEqual([]);
  });

  test('panels lie within its 24 columns and do not overlap', () => {
    const taken = new Set<string>();
    for (const { gridPos, title } of dashboard.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
      }
    }
  });
});

describe('alert rules', () => {
  test('have a name, a severity, and say what is wrong and what to do', () => {
    expect(rules.length).toBeGreaterThanOrEqual(8);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, labels: given, annotations } of rules) {
      expect(alert).toMatch(/^Tcpfreeze[A-Z]\w+$/);
      expect(given.severity).toMatch(/^(warning|critical)$/);
      expect(annotations.summary).toContain('{{ $labels.instance }}');
      expect(annotations.description.length).toBeGreaterThan(20);
    }
  });
});

test('every query names metrics and labels that are served', () => {
  for (const expression of expressions) {
    const names = [...expression.matchAll(/\b(?:tcpfreeze|process|nodejs)_[a-z_]+\b/g)].map(([name]) => name);
    if (!expression.startsWith('up{')) expect(names.length, expression).toBeGreaterThan(0);
    for (const name of names) expect(labels.has(name), `${name} in ${expression}`).toBe(true);
    const allowed = new Set(names.flatMap((name) => [...labels.get(name)!]));
    const used = [
      ...[...expression.matchAll(/([a-z]+)(?:=~|!=|=)"/g)].map(([, label]) => label!),
      ...[...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/, */)),
    ];
    if (names.length > 0) for (const label of used) expect(allowed.has(label), `${label} in ${expression}`).toBe(true);
  }
});

test('every metric that is about outages is on the dashboard', () => {
  const all = queries.join('\n');
  for (const name of labels.keys()) {
    if (!/_bucket$|^tcpfreeze_(link_up|flows|custody_bytes|(freezes|thaws|bypasses|drops)_total)$/.test(name)) continue;
    expect(all, name).toContain(name);
  }
});

function hasPromtool(): boolean {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('promtool checks skipped: it is not installed (apt-get install prometheus)');
    return false;
  }
}

describe.skipIf(!hasPromtool())('Prometheus itself', () => {
  function promtool(args: readonly string[], input = ''): string {
    const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
    return status === 0 ? '' : `${stdout}${stderr}`;
  }

  test('finds nothing wrong with the metrics', () => {
    // Its linter wants no metric without help, no counter without _total, no unit that is no base unit.
    expect(promtool(['check', 'metrics'], text)).toBe('');
  });

  test('accepts rules, scrape configuration, and every query of the dashboard', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-promtool-'));
    try {
      expect(promtool(['check', 'rules', ALERTS])).toBe('');
      copyFileSync(ALERTS, join(directory, 'alerts.yaml'));
      copyFileSync(SCRAPE, join(directory, 'prometheus.yaml'));
      expect(promtool(['check', 'config', join(directory, 'prometheus.yaml')])).toBe('');
      const records = queries.map((expr, i) => ({
        record: `query_${i}`,
        expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
      }));
      const file = join(directory, 'queries.yaml');
      writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules: records }] }));
      expect(promtool(['check', 'rules', file])).toBe('');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
