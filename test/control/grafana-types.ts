/**
 * Judges a dashboard by the types that Grafana Labs publish for each panel, its options and its fields (@grafana/schema): the
 * JSON becomes an expression of a TypeScript module, which the compiler checks.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const MODULES = resolve(import.meta.dirname, '../../node_modules');

/** Kinds of panels, and where their own options are described. */
const KINDS: Readonly<Record<string, string>> = {
  timeseries: 'timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen',
  stat: 'stat/panelcfg/x/StatPanelCfg_types.gen',
  'state-timeline': 'statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen',
  heatmap: 'heatmap/panelcfg/x/HeatmapPanelCfg_types.gen',
};

/** Of a plain stat there are no fields of its own. */
const FIELDLESS = new Set(['stat']);

/** In JSON the words of an enumeration are strings, and what has a default may be left out. */
const TYPES = `
type Plain<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Loose<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T;
type Fields<F> = { defaults: Omit<Plain<Grafana.FieldConfig>, 'custom'> & { custom?: Loose<F> }; overrides: [] };
type Of<O, F> = Omit<Plain<Grafana.Panel>, 'options' | 'fieldConfig' | 'targets'> &
  { options: Loose<O>; fieldConfig: Fields<F>; targets: readonly Query[] };
// What Prometheus' data source knows of a query, and of an annotation beside it.
type Query = Grafana.DataQuery & { expr: string; legendFormat?: string; format?: 'time_series' | 'table' | 'heatmap'; instant?: boolean; range?: boolean };
type Annotation = Omit<Plain<Grafana.AnnotationQuery>, 'target'> & { target: Query; titleFormat: string };
type Whole = Omit<Plain<Grafana.Dashboard>, 'panels' | 'annotations'> & { annotations: { list: readonly Annotation[] };
  // Of dashboards that are passed on: what they need.
  __requires: readonly { type: 'grafana' | 'panel' | 'datasource'; id: string; name: string; version: string }[] };
`;

interface Panel {
  readonly type: string;
}

function moduleOf(dashboard: { readonly panels: readonly Panel[] }): string {
  const { panels, ...rest } = dashboard;
  const imports = Object.values(KINDS).map(
    (path, i) => `import type * as Kind${i} from '@grafana/schema/dist/esm/raw/composable/${path}';`,
  );
  const names = Object.keys(KINDS);
  const checked = panels.map((panel) => {
    const text = JSON.stringify(panel);
    if (panel.type === 'row') return `(${text}) satisfies Plain<Grafana.RowPanel>;`;
    const kind = names.indexOf(panel.type);
    const fields = FIELDLESS.has(panel.type) ? '{}' : `Kind${kind}.FieldConfig`;
    return `(${text}) satisfies Of<Kind${kind}.Options, ${fields}>;`;
  });
  return [
    "import type * as Grafana from '@grafana/schema';",
    ...imports,
    TYPES,
    `(${JSON.stringify(rest)}) satisfies Whole;`,
    ...checked,
  ].join('\n');
}

/** @returns what the compiler says against it; nothing when all is well */
export function complaintsOfTypes(dashboard: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-grafana-'));
  try {
    symlinkSync(MODULES, join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
    const path = join(folder, 'dashboard.ts');
    writeFileSync(path, moduleOf(JSON.parse(dashboard) as { readonly panels: readonly Panel[] }));
    const options = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--types',
      '',
    ];
    const { status, stdout, stderr } = spawnSync(join(MODULES, '.bin/tsc'), [...options, path], {
      cwd: folder,
      encoding: 'utf8',
    });
    const lines = (stdout + stderr).split('\n').filter((line) => line !== '');
    return status !== 0 && lines.length === 0 ? [`the compiler ended with ${status}`] : lines;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
