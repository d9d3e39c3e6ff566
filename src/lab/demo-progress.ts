/** What the demo shows while it runs: one line rewritten in place on a terminal, a line now and then elsewhere. */
import type { Progress } from './story.ts';
import type { FlowOptions } from './traffic-handle.ts';

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Away from a terminal: every phase, and within one a line as often as this. */
const PLAIN_LINE_MICROS = 2_000_000;

export class ProgressLine {
  readonly #output: ProgressOutput;
  readonly #flows: readonly FlowOptions[];
  #run = '';
  #phase: Progress['phase'] | undefined;
  #phaseBegan = 0;
  #previous: Progress | undefined;
  #lastPlain = Number.NEGATIVE_INFINITY;
  #unfinished = false;

  constructor(output: ProgressOutput, flows: readonly FlowOptions[]) {
    this.#output = output;
    this.#flows = flows;
  }

  /** A run begins. @param name of the run, shown on each line */
  begin(name: string): void {
    this.end();
    this.#run = name;
    this.#phase = undefined;
    this.#previous = undefined;
    this.#lastPlain = Number.NEGATIVE_INFINITY;
    this.#show(`${this.#run}: building the network`);
  }

  update(progress: Progress): void {
    const changed = progress.phase !== this.#phase;
    if (changed) {
      this.#phase = progress.phase;
      this.#phaseBegan = progress.at;
    }
    const line = this.#line(progress);
    this.#previous = progress;
    if (this.#output.isTTY !== true && !changed && progress.at - this.#lastPlain < PLAIN_LINE_MICROS) return;
    this.#lastPlain = progress.at;
    this.#show(line);
  }

  /** Leaves the cursor on a fresh line. */
  end(): void {
    if (this.#unfinished) this.#output.write('\n');
    this.#unfinished = false;
  }

  #line(progress: Progress): string {
    const seconds = ((progress.at - this.#phaseBegan) / 1e6).toFixed(1);
    const parts = [`${this.#run}: ${progress.phase.padEnd(10)} ${seconds.padStart(5)} s`];
    for (const [index, { mode }] of this.#flows.entries()) {
      if (mode !== 'echo') parts.push(`${mode} ${this.#rate(progress, index).padStart(5)}`);
    }
    // Within the 79 columns that every terminal has.
    return `${parts.join('  ')} Mb/s`;
  }

  /** Goodput since the look before, Mb/s. */
  #rate(progress: Progress, index: number): string {
    const before = this.#previous;
    if (before === undefined || progress.at <= before.at) return '-';
    const bytes = (progress.receivedBytes[index] ?? 0) - (before.receivedBytes[index] ?? 0);
    // A transfer that was opened anew counts from zero.
    return bytes < 0 ? '-' : ((bytes * 8) / (progress.at - before.at)).toFixed(1);
  }

  #show(line: string): void {
    if (this.#output.isTTY !== true) {
      this.#output.write(`${line}\n`);
      return;
    }
    const width = (this.#output.columns ?? 80) - 1;
    // Back to the first column, the line, the rest erased (ECMA-48 EL).
    this.#output.write(`\r${line.slice(0, width)}\x1b[K`);
    this.#unfinished = true;
  }
}
