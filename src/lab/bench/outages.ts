/** The outage table: each story plain and with the gateway, on the standard link of 100 Mb/s and 40 ms. */
import { TcpfreezeError } from '../../base/errors.ts';
import { type Comparison, runBoth } from '../report.ts';
import type { StoryOptions } from '../story.ts';
import type { FlowOptions } from '../traffic-handle.ts';

export interface OutageRow {
  readonly name: string;
  readonly options: StoryOptions;
}

export interface OutageResult {
  readonly name: string;
  /** undefined: not played, for this reason. */
  readonly comparison: Comparison | undefined;
  readonly skipped: string | undefined;
}

const MIXED: readonly FlowOptions[] = Array.from({ length: 50 }, (_, index) => ({
  mode: index % 2 === 0 ? 'upload' : 'download',
  family: index % 4 < 2 ? 4 : 6,
}));

/** Without a cut of another kind the carrier goes. */
export const OUTAGES: readonly OutageRow[] = [
  { name: 'upload, 10 s', options: { topology: 'router', flows: [{ mode: 'upload' }], outages: [10] } },
  {
    name: 'upload, BBR, 10 s',
    options: { topology: 'router', congestion: 'bbr', flows: [{ mode: 'upload' }], outages: [10] },
  },
  {
    name: 'upload, IPv6, 10 s',
    options: { topology: 'router', flows: [{ mode: 'upload', family: 6 }], outages: [10] },
  },
  {
    name: 'upload, silent, freeze 2 s late, 10 s',
    options: {
      ...{ topology: 'router', flows: [{ mode: 'upload' }], outages: [10] },
      ...{ cut: 'swallow', freezeAfterMillis: 2000 },
    },
  },
  { name: 'download, 10 s', options: { topology: 'router', flows: [{ mode: 'download' }], outages: [10] } },
  { name: 'download, 40 s', options: { topology: 'router', flows: [{ mode: 'download' }], outages: [40] } },
  {
    name: 'access: server to lost host, 10 s',
    options: { topology: 'access', flows: [{ mode: 'download' }], outages: [10] },
  },
  {
    name: 'line typed meanwhile, 30 s',
    options: { topology: 'router', flows: [{ mode: 'echo' }], outages: [30], typeAfterMillis: 5000 },
  },
  { name: '50 flows both ways, 15 s', options: { topology: 'router', flows: MIXED, outages: [15] } },
  {
    name: 'masquerade, interface down, 10 s',
    options: { topology: 'nat', cut: 'admin', flows: [{ mode: 'upload' }, { mode: 'download' }], outages: [10] },
  },
];

/** @throws whatever a story throws, except that a congestion control is not to be had: that row is skipped */
export async function playOutages(onProgress: (line: string) => void): Promise<OutageResult[]> {
  const results: OutageResult[] = [];
  for (const [index, { name, options }] of OUTAGES.entries()) {
    onProgress(`outages ${index + 1}/${OUTAGES.length}: ${name}`);
    try {
      results.push({ name, comparison: await runBoth(options), skipped: undefined });
    } catch (error) {
      if (!(error instanceof TcpfreezeError) || error.code !== 'CONGESTION_UNAVAILABLE') throw error;
      results.push({ name, comparison: undefined, skipped: error.line() });
    }
  }
  return results;
}
