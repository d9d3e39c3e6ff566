/** What the benchmark prints. Pure. */
import type { StoryResult } from '../story.ts';
import { medianOf } from './figures.ts';
import type { IdleResult } from './idle.ts';
import type { LatencyResult } from './latency.ts';
import type { OutageResult } from './outages.ts';
import type { PathName } from './paths.ts';
import type { ReplayFigure, ReplayRun } from './replay-speed.ts';
import type { ThroughputResult } from './throughput.ts';

const WAY: Readonly<Record<PathName, string>> = {
  kernel: 'kernel forwarding',
  loop: 'TUN loop without the engine',
  gateway: 'gateway, custody on',
};

export function throughputText(results: readonly ThroughputResult[]): string[] {
  return results.flatMap(({ flows, command, figures, gatewayToLoop, byProcessorTime }) => [
    `Throughput, ${flows === 1 ? 'one flow' : `${flows} flows`} (${command})`,
    ...figures.map(({ path, bps, processorSeconds }) => {
      const range = `${gigabits(Math.min(...bps))} .. ${gigabits(Math.max(...bps))}`;
      const cost = processorSeconds.length === 0 ? '' : `, ${medianOf(processorSeconds).toFixed(2)} processor s/GB`;
      return `  ${WAY[path].padEnd(30)}${gigabits(medianOf(bps)).padStart(7)} Gb/s   (${range}${cost})`;
    }),
    `  ${'gateway to loop'.padEnd(30)}${gatewayToLoop.toFixed(2).padStart(7)}        (goal: 0.90 or more)`,
    `  ${'the same by processor time'.padEnd(30)}${byProcessorTime.toFixed(2).padStart(7)}        (what it is on a machine with nothing else to do)`,
    '',
  ]);
}

export function latencyText({ command, figures }: LatencyResult): string[] {
  const base = figures[0]?.medianMicros ?? 0;
  return [
    `Round trip (${command})`,
    ...figures.map(({ path, medianMicros, p99Micros }) => {
      const added = path === 'kernel' ? '' : `, ${(medianMicros - base).toFixed(0)} us more than the kernel`;
      return `  ${WAY[path].padEnd(30)}${medianMicros.toFixed(0).padStart(7)} us     (99 %: ${p99Micros.toFixed(0)} us${added})`;
    }),
    '',
  ];
}

export function idleText({ command, flows, share }: IdleResult): string[] {
  const percent = (share * 100).toFixed(3);
  return [
    `Idle with ${flows} tracked flows (${command})`,
    `  ${'share of one core'.padEnd(30)}${percent.padStart(7)} %      (goal: below 1 %)`,
    '',
  ];
}

/** Rates by the median of the runs, in MB/s of capture file. */
export function replayText(figures: readonly ReplayFigure[]): string[] {
  return [
    'Replay of a capture (tcpfreeze replay FILE), program start included',
    ...figures.map(({ format, script, bytes, packets, runs }) => {
      const rate = (of: (run: ReplayRun) => number): string => (bytes / 1e6 / medianOf(runs.map(of))).toFixed(0);
      const memory = Math.max(...runs.map((run) => run.bytesResident)) / 1e6;
      const what = `${(bytes / 1e6).toFixed(0)} MB ${format}${script === 'none' ? '' : ', outage'}`;
      const cost = `by processor time ${rate((run) => run.processorSeconds)}`;
      const best = (bytes / 1e6 / Math.min(...runs.map((run) => run.seconds))).toFixed(0);
      return (
        `  ${what.padEnd(30)}${rate((run) => run.seconds).padStart(7)} MB/s   ` +
        `(best ${best}, ${cost}; ${memory.toFixed(0)} MB resident; ${packets} packets)`
      );
    }),
    `  ${''.padEnd(37)}        (goal: 500 MB/s or more for 1 GB, in constant memory)`,
    '',
  ];
}

const NAME_WIDTH = 38;

export function outagesText(results: readonly OutageResult[]): string[] {
  const lines = [
    'Outages on 100 Mb/s, 40 ms round trip, queues of 400 packets: seconds from link-up, plain | with the gateway',
    outageLine('', 'first byte', '85 % of rate', 'retransmitted', 'cwnd, gateway', 'intact'),
  ];
  for (const { name, comparison, skipped } of results) {
    if (comparison === undefined) {
      lines.push(`  ${name.padEnd(NAME_WIDTH)}skipped: ${skipped}`);
      continue;
    }
    const pair = (of: (one: StoryResult) => string): string => `${of(comparison.plain)} | ${of(comparison.gateway)}`;
    const sender = comparison.gateway.flows[0];
    const cwnd =
      comparison.gateway.flows.length > 1 ? '' : `${sender?.before?.cwnd ?? '-'} > ${sender?.after?.cwnd ?? '-'}`;
    lines.push(outageLine(name, pair(firstByte), pair(to85), pair(retransmitted), cwnd, pair(intact)));
  }
  return [...lines, ''];
}

function outageLine(name: string, first: string, rate: string, resent: string, cwnd: string, whole: string): string {
  const cells = [first.padStart(15), rate.padStart(15), resent.padStart(15), cwnd.padStart(15), whole.padStart(15)];
  return `  ${name.padEnd(NAME_WIDTH)}${cells.join('')}`.trimEnd();
}

/** Of an interactive connection: the echo of the line that was typed. */
function firstByte({ recovery, flows }: StoryResult): string {
  const echoes = flows.map((flow) => flow.echoMillis).filter((millis) => millis !== undefined);
  return seconds(recovery === undefined ? echoes[0] : recovery.firstByteMillis);
}

function to85({ recovery }: StoryResult): string {
  return recovery === undefined ? '-' : seconds(recovery.to85Millis);
}

function retransmitted({ flows }: StoryResult): string {
  return `${flows.reduce((sum, flow) => sum + (flow.retransmissions ?? 0), 0)}`;
}

function intact({ flows }: StoryResult): string {
  return `${flows.filter((flow) => flow.intact).length}/${flows.length}`;
}

function seconds(millis: number | undefined): string {
  return millis === undefined ? 'never' : (millis / 1000).toFixed(2);
}

function gigabits(bps: number): string {
  return (bps / 1e9).toFixed(2);
}

/** The same for programs: without the timelines, which nobody reads. */
export function outagesJson(outages: readonly OutageResult[]): readonly object[] {
  const story = ({ recovery, flows, resets }: StoryResult): object => ({
    recovery: recovery ?? null,
    resets,
    flows: flows.map(({ options, intact: whole, recovery: own, before, after, retransmissions, echoMillis }) => ({
      ...{ options, intact: whole, recovery: own ?? null, retransmissions: retransmissions ?? null },
      ...{ cwndBefore: before?.cwnd ?? null, cwndAfter: after?.cwnd ?? null, echoMillis: echoMillis ?? null },
    })),
  });
  return outages.map(({ name, comparison, skipped }) =>
    comparison === undefined
      ? { name, skipped }
      : { name, plain: story(comparison.plain), gateway: story(comparison.gateway) },
  );
}
