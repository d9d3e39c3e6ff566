/**
 * A compiled program of the lab running in a namespace, controlled by lines of JSON: each request carries a number, the
 * answer repeats it; a line without a number is an event. The program ends when its standard input does, so it cannot
 * outlive the run that started it.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TcpfreezeError } from '../base/errors.ts';
import type { Namespace } from './namespace.ts';

export type Message = Readonly<Record<string, unknown>>;

/**
 * Path of a compiled program, also when the caller itself runs from source (in the tests).
 * @param name relative to the compiled tree, e.g. `lab/link.js`
 * @throws TcpfreezeError NOT_BUILT
 */
export function compiledProgram(name: string): string {
  const here = import.meta.url;
  const path = fileURLToPath(new URL(here.endsWith('.ts') ? `../../dist/${name}` : `../${name}`, here));
  if (!existsSync(path))
    throw new TcpfreezeError('NOT_BUILT', `dist/${name} is missing`, 'build it with: npm run build');
  return path;
}

/** Splits a stream of text into lines; keeps the unfinished one for the next piece. */
export function lineSplitter(onLine: (line: string) => void): (piece: string) => void {
  let rest = '';
  return (piece) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') onLine(line);
  };
}

interface Waiting {
  readonly resolve: (answer: Message) => void;
  readonly reject: (error: Error) => void;
}

export class LabChild {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners: ((event: Message) => void)[] = [];
  #next = 1;
  #stderr = '';
  #ended = false;
  /** Resolves when the program is gone. */
  readonly exited: Promise<void>;

  private constructor(name: string, process: ChildProcess) {
    this.#name = name;
    this.#process = process;
    process.stdin?.on('error', () => {});
    process.stdout?.setEncoding('utf8').on(
      'data',
      lineSplitter((line) => this.#line(line)),
    );
    process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.exited = new Promise((resolve) => {
      const end = (): void => {
        this.#ended = true;
        for (const { reject } of this.#waiting.values()) reject(this.#gone());
        this.#waiting.clear();
        resolve();
      };
      process.once('close', end);
      process.once('error', end);
    });
  }

  /**
   * Starts a program and waits for its `ready` event.
   * @throws TcpfreezeError LAB_CHILD_ENDED with the program's last words
   */
  static async start(namespace: Namespace, name: string, args: readonly string[] = []): Promise<LabChild> {
    const child = namespace.spawn(process.execPath, [compiledProgram(name), ...args], { stdio: 'pipe' });
    const handle = new LabChild(name, child);
    await new Promise<void>((resolve, reject) => {
      handle.onEvent((event) => event.event === 'ready' && resolve());
      handle.exited.then(() => reject(handle.#gone()));
    });
    return handle;
  }

  onEvent(listener: (event: Message) => void): void {
    this.#listeners.push(listener);
  }

  /** Sends a request and waits for its answer. @throws TcpfreezeError: refused by the program, or the program ended */
  request(op: string, fields: Message = {}): Promise<Message> {
    if (this.#ended) return Promise.reject(this.#gone());
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.stdin?.write(`${JSON.stringify({ ...fields, id, op })}\n`);
    });
  }

  /** Ends the program (by the end of its input) and waits until it is gone. */
  async stop(): Promise<void> {
    this.#process.stdin?.end();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 2000);
    await this.exited;
    clearTimeout(timer);
  }

  #line(line: string): void {
    const message = JSON.parse(line) as Message;
    if (typeof message.id !== 'number') {
      for (const listener of this.#listeners) listener(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (typeof message.error === 'string') waiting?.reject(new TcpfreezeError('LAB_REFUSED', message.error, ''));
    else waiting?.resolve(message);
  }

  #gone(): TcpfreezeError {
    const words = this.#stderr.trim();
    return new TcpfreezeError('LAB_CHILD_ENDED', `${this.#name} ended${words === '' ? '' : `: ${words}`}`, '');
  }
}
