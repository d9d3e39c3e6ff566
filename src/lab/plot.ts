/** A small plot of goodput over time, in text, for two runs of the same story. */
import { bytesBetween, type Timeline } from './timeline.ts';

export interface PlotRun {
  readonly label: string;
  readonly timeline: Timeline;
  /** Zero of the time axis: the cut, microseconds of CLOCK_MONOTONIC. Runs are laid over each other by it. */
  readonly cutAt: number;
}

export interface PlotOptions {
  /** Seconds on the axis before and after the cut. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** Length of the outage, seconds: marked under the axis. */
  readonly outageSeconds: number;
  /** Characters of the plotting area, default 72. */
  readonly width?: number;
  /** Lines per run, default 6. */
  readonly height?: number;
  /** Rate at the upper edge, bits per second; default: the highest seen. */
  readonly topBps?: number;
}

/** Eighths of a block, so that a line of text shows eight levels. */
const BLOCKS = ' ▁▂▃▄▅▆▇█';

/**
 * Draws the runs below each other on one time axis.
 * @returns lines without line ends; nothing in them is wider than `width` + 12 characters
 */
export function plotGoodput(runs: readonly PlotRun[], options: PlotOptions): string[] {
  const { fromSeconds, toSeconds, outageSeconds, width = 72, height = 6 } = options;
  const step = (toSeconds - fromSeconds) / width;
  const rates = runs.map((run) =>
    Array.from({ length: width }, (_, column) => {
      const from = run.cutAt + (fromSeconds + column * step) * 1e6;
      return (bytesBetween(run.timeline, from, from + step * 1e6) * 8) / step;
    }),
  );
  const top = options.topBps ?? Math.max(1, ...rates.flat());
  const lines: string[] = [];
  for (const [index, run] of runs.entries()) {
    lines.push(`${' '.repeat(10)}${run.label}`);
    for (let row = height - 1; row >= 0; row--) {
      const scale = row === height - 1 ? megabits(top) : row === 0 ? '0' : '';
      const cells = rates[index]!.map((rate) => block((rate / top) * height - row)).join('');
      lines.push(`${scale.padStart(9)}|${cells.trimEnd()}`);
    }
  }
  return [...lines, ...axis(fromSeconds, step, width, outageSeconds)];
}

/** @param filled share of this line's cell that is below the curve; below 0 and above 1 are clipped */
function block(filled: number): string {
  return BLOCKS[Math.max(0, Math.min(8, Math.round(filled * 8)))]!;
}

function megabits(bps: number): string {
  return `${(bps / 1e6).toFixed(bps < 10e6 ? 1 : 0)} Mb/s`;
}

function axis(fromSeconds: number, step: number, width: number, outageSeconds: number): string[] {
  const column = (seconds: number): number => Math.round((seconds - fromSeconds) / step);
  const cut = Math.max(0, Math.min(width - 1, column(0)));
  const back = Math.max(cut, Math.min(width - 1, column(outageSeconds)));
  const line = Array.from({ length: width }, (_, at) => (at >= cut && at < back ? '=' : '-')).join('');
  const labels = ' '.repeat(width).split('');
  const write = (at: number, text: string): void => {
    const start = Math.min(at, width - text.length);
    for (const [offset, character] of [...text].entries()) labels[start + offset] = character;
  };
  const down = '0 s: link lost';
  const up = `${outageSeconds} s: back`;
  // Short outages leave no room for both; the return is the one that matters.
  if (back - cut > down.length) write(cut, down);
  write(back, up);
  return [`${' '.repeat(9)}+${line}`, `${' '.repeat(10)}${labels.join('').trimEnd()}`];
}
