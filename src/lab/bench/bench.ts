/**
 * The benchmark: `npm run bench`, or single parts of it, `npm run bench -- throughput idle`.
 *
 * Progress goes to standard error, results to standard output, each part as soon as it is there. Ratios are what to look at: all that is
 * compared runs in turn in the same minutes on the same machine.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { TcpfreezeError } from '../../base/errors.ts';
import { sweep } from '../namespace.ts';
import { assertLabPossible } from '../topology.ts';
import { PARTS } from './parts.ts';

const NAMES = Object.keys(PARTS);

const USAGE = `usage: npm run bench -- [--json] [--repetitions N] [--seconds S] [${NAMES.join('|')} ...]`;

interface BenchOptions {
  readonly parts: readonly string[];
  readonly json: boolean;
  /** How often each way is measured. */
  readonly repetitions: number;
  /** Length of one measurement of throughput. */
  readonly seconds: number;
}

/** @throws TcpfreezeError USAGE */
function parse(args: readonly string[]): BenchOptions {
  const options = { json: { type: 'boolean' }, repetitions: { type: 'string' }, seconds: { type: 'string' } } as const;
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const count = (text: string | undefined, otherwise: number): number => {
      const value = text === undefined ? otherwise : Number(text);
      if (!Number.isInteger(value) || value < 1 || value > 1000) throw new Error(`${text} is no number from 1 to 1000`);
      return value;
    };
    const unknown = positionals.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) throw new Error(`there is no part ${unknown}`);
    return {
      parts: positionals.length === 0 ? NAMES : NAMES.filter((part) => positionals.includes(part)),
      json: values.json === true,
      repetitions: count(values.repetitions, 3),
      seconds: count(values.seconds, 4),
    };
  } catch (error) {
    throw new TcpfreezeError('USAGE', error instanceof Error ? error.message : String(error), USAGE, 2);
  }
}

/** A line that is rewritten on a terminal, lines elsewhere. */
function progress(line: string): void {
  process.stderr.write(
    process.stderr.isTTY ? `\r${line.slice(0, (process.stderr.columns ?? 80) - 1)}\x1b[K` : `${line}\n`,
  );
}

function endProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

async function bench({ parts, json, repetitions, seconds }: BenchOptions): Promise<void> {
  await assertLabPossible();
  await sweep();
  const cpus = os.cpus();
  const processors = `${cpus.length} x ${cpus[0]?.model.trim() ?? 'processor'}`;
  const machine = { kernel: os.release(), node: process.version, processors };
  const show = (lines: readonly string[]): void => {
    endProgress();
    if (!json) process.stdout.write(`${lines.join('\n')}\n`);
  };
  show([`Linux ${machine.kernel}, Node.js ${machine.node}, ${processors}`, '']);
  const results: Record<string, unknown> = { machine };
  for (const name of parts) {
    const result = await PARTS[name]!({ repetitions, seconds, onProgress: progress });
    results[name] = result.json;
    show(result.lines);
  }
  if (json) process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
}

try {
  await bench(parse(process.argv.slice(2)));
} catch (error) {
  endProgress();
  const known = error instanceof TcpfreezeError;
  process.stderr.write(`bench: ${known ? error.line() : error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
