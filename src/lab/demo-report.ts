/** What the demo says at its end: text for people, a document for programs. Pure. */
import type { LinkSettings } from './link-handle.ts';
import { plotGoodput } from './plot.ts';
import type { FlowResult, StoryResult } from './story.ts';
import type { FlowOptions } from './traffic-handle.ts';

/** The connections of the demo: both directions at full rate, and one on which somebody types now and then. */
export const DEMO_FLOWS: readonly FlowOptions[] = [{ mode: 'upload' }, { mode: 'download' }, { mode: 'echo' }];

export interface DemoResult {
  readonly outageSeconds: number;
  readonly congestion: string;
  readonly link: LinkSettings;
  readonly plain: StoryResult;
  readonly gateway: StoryResult;
}

const LABEL_WIDTH = 46;
const COLUMN_WIDTH = 18;

/** @returns lines without line ends, for a terminal of 84 columns */
export function demoText(result: DemoResult): string[] {
  const { outageSeconds, congestion, link, plain, gateway } = result;
  return [
    '',
    `One upload, one download and one idle interactive connection, ${congestion}, over a link of`,
    `${link.rateBps / 1e6} Mb/s and ${link.delayMillis * 2} ms round trip that loses its carrier for ${outageSeconds} s. Same link, same cut in both runs;`,
    "in the plain one the router's own ICMP errors may spare the senders part of their back-off.",
    '',
    row('', 'plain routing', 'with tcpfreeze'),
    ...table(plain, gateway),
    '',
    ...plot(result),
    '',
  ];
}

function table(plain: StoryResult, gateway: StoryResult): string[] {
  const lines: string[] = [];
  for (const [index, flow] of plain.flows.entries()) {
    const other = gateway.flows[index]!;
    const line = (label: string, value: (one: FlowResult) => string): void => {
      lines.push(row(label, value(flow), value(other)));
    };
    if (flow.options.mode === 'echo') {
      line('interactive: typed while the link is lost,', () => '');
      line('  echoed after link-up within', ({ echoMillis }) => seconds(echoMillis));
      line('  connection intact', intact);
      continue;
    }
    line(`${flow.options.mode}: first new byte after link-up`, ({ recovery }) => seconds(recovery?.firstByteMillis));
    line('  85 % of the old rate after', ({ recovery }) => seconds(recovery?.to85Millis));
    line('  dead air, outage included', ({ recovery }) => seconds(recovery?.deadAirMillis));
    line('  segments retransmitted by the sender', ({ retransmissions }) => `${retransmissions ?? '-'}`);
    line('  congestion window before, after', windows);
    line('  every byte arrived (SHA-256)', intact);
  }
  return lines;
}

function row(label: string, plain: string, gateway: string): string {
  return `${label.padEnd(LABEL_WIDTH)}${plain.padStart(COLUMN_WIDTH)}${gateway.padStart(COLUMN_WIDTH)}`.trimEnd();
}

function seconds(millis: number | undefined): string {
  return millis === undefined ? 'never' : `${(millis / 1000).toFixed(2)} s`;
}

function windows({ before, after }: FlowResult): string {
  return `${before?.cwnd ?? '-'} -> ${after?.cwnd ?? '-'}`;
}

function intact({ intact: whole, sent, received }: FlowResult): string {
  return whole ? 'yes' : `no: ${sent?.error ?? received?.error ?? 'not ended'}`;
}

/** Goodput of upload and download together, both runs on one time axis, on which the slower one is back. */
function plot({ plain, gateway, outageSeconds }: DemoResult): string[] {
  const slowest = [plain, gateway]
    .flatMap((run) => run.flows)
    .map(({ recovery }) => (recovery?.to85Millis ?? recovery?.firstByteMillis ?? 0) / 1000);
  const runs = [
    { label: 'plain routing, upload and download together', result: plain },
    { label: 'with tcpfreeze', result: gateway },
  ].flatMap(({ label, result: { timeline, cutAt } }) => (timeline === undefined ? [] : [{ label, timeline, cutAt }]));
  const toSeconds = outageSeconds + Math.max(3, ...slowest) + 1;
  return plotGoodput(runs, { fromSeconds: -2, toSeconds, outageSeconds, height: 4 });
}

/** Times in seconds, counts as numbers, null where something never came. */
export function demoJson({ outageSeconds, congestion, link, plain, gateway }: DemoResult): object {
  return {
    outageSeconds,
    cut: 'carrier',
    congestion,
    link: { rateBps: link.rateBps, roundTripSeconds: (2 * link.delayMillis) / 1000, queuePackets: link.queuePackets },
    runs: [runJson('plain', plain), runJson('gateway', gateway)],
  };
}

function runJson(name: string, { flows, resets }: StoryResult): object {
  return { name, flows: flows.map(flowJson), resets };
}

function flowJson(flow: FlowResult): object {
  const { options, recovery, before, after, sent, received } = flow;
  const common = { mode: options.mode, intact: flow.intact, error: sent?.error ?? received?.error ?? null };
  if (options.mode === 'echo') return { ...common, echoSeconds: inSeconds(flow.echoMillis) };
  return {
    ...common,
    bytes: received?.bytes ?? null,
    rateBeforeBps: recovery === undefined ? null : Math.round(recovery.rateBefore * 8),
    firstByteSeconds: inSeconds(recovery?.firstByteMillis),
    to85Seconds: inSeconds(recovery?.to85Millis),
    deadAirSeconds: inSeconds(recovery?.deadAirMillis),
    retransmissions: flow.retransmissions ?? null,
    cwndBefore: before?.cwnd ?? null,
    cwndAfter: after?.cwnd ?? null,
  };
}

function inSeconds(millis: number | undefined): number | null {
  return millis === undefined ? null : Math.round(millis * 1000) / 1e6;
}
