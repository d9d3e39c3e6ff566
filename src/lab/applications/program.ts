/** A program of the system in a namespace, its output collected. */
import type { ChildProcess } from 'node:child_process';
import { TcpfreezeError } from '../../base/errors.ts';
import { monotonicMicros } from '../link-handle.ts';
import type { Namespace } from '../namespace.ts';
import { until } from '../wait.ts';

/** Characters of output that are quoted in an error. */
const QUOTED = 400;
const RUNNING_MILLIS = 60_000;

export class Program {
  readonly #name: string;
  readonly #process: ChildProcess;
  #output = '';
  #exitCode: number | null | undefined;
  #endedAt = 0;

  constructor(namespace: Namespace, name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = name;
    this.#process = namespace.spawn(name, args, { stdio: 'pipe', env: { ...process.env, LC_ALL: 'C', ...env } });
    this.#process.stdin?.on('error', () => {});
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
    }
    const end = (code: number | null): void => {
      this.#exitCode = code;
      this.#endedAt = monotonicMicros();
    };
    this.#process.once('close', end);
    this.#process.once('error', () => end(null));
  }

  /** Everything it has printed, standard error included. */
  get output(): string {
    return this.#output;
  }

  /** Exit code; null after a signal, undefined while it runs. */
  get exitCode(): number | null | undefined {
    return this.#exitCode;
  }

  /** When it ended, microseconds of CLOCK_MONOTONIC. */
  get endedAt(): number {
    return this.#endedAt;
  }

  /** Writes to its standard input. */
  type(text: string): void {
    this.#process.stdin?.write(text);
  }

  closeInput(): void {
    this.#process.stdin?.end();
  }

  /** Waits until it has printed `pattern`. @throws TcpfreezeError: it ended, or not in time */
  async says(pattern: RegExp | string, timeoutMillis: number): Promise<void> {
    const isThere = (): boolean =>
      typeof pattern === 'string' ? this.#output.includes(pattern) : pattern.test(this.#output);
    await until(() => isThere() || this.#exitCode !== undefined, {
      what: `${this.#name} to say ${pattern} (it said ${this.quote()})`,
      timeoutMillis,
      everyMillis: 20,
    });
    if (!isThere())
      throw new TcpfreezeError('PROGRAM_FAILED', `${this.#name} ended (${this.#exitCode}): ${this.quote()}`, '');
  }

  /** Waits until `isThere`, or the program has ended, which its exit code then tells. @throws TcpfreezeError LAB_TIMEOUT */
  async whileRunning(what: string, isThere: () => boolean): Promise<void> {
    await until(() => isThere() || this.#exitCode !== undefined, {
      what: `${this.#name}: ${what} (${this.quote()})`,
      timeoutMillis: RUNNING_MILLIS,
      everyMillis: 5,
    });
  }

  /** Waits for its end. @returns exit code, null after a signal, undefined when it still runs after that time */
  async ended(timeoutMillis: number): Promise<number | null | undefined> {
    await until(() => this.#exitCode !== undefined, { what: '', timeoutMillis }).catch(() => {});
    return this.#exitCode;
  }

  quote(): string {
    return this.#output.trim().slice(-QUOTED).replaceAll(/\s+/g, ' ');
  }
}
