/**
 * The real gateway inside a lab: `tcpfreeze run` in the gateway's namespace, commands through the command line as a user
 * gives them. A lab without it is plain kernel forwarding.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TcpfreezeError } from '../base/errors.ts';
import { ControlClient } from '../control/client.ts';
import { compiledProgram, lineSplitter } from './child.ts';
import { onLabExit } from './registry.ts';
import { LAN_INTERFACE, type Lab, WAN_INTERFACE } from './topology.ts';

/** Generous: on a loaded machine the start of a process alone can take half a minute. */
const READY_MILLIS = 60_000;
const STOP_MILLIS = 10_000;

export interface GatewayOptions {
  /** Its interfaces, default `lan0` and `wan0`. */
  readonly lan?: readonly string[];
  readonly wan?: readonly string[];
  /** Further arguments of `tcpfreeze run`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A process of its own watches it and starts it anew, as users have it. Default: no. */
  readonly supervised?: boolean;
  /** A program, with arguments, that starts the gateway, such as `unshare`. */
  readonly wrap?: readonly string[];
}

/** What a command printed, and how it ended. */
export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class LabGateway {
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly #log: string[] = [];
  readonly #release: () => void;
  #exitCode: number | null | undefined;
  readonly #exited: Promise<void>;

  private constructor(process: ChildProcess, directory: string) {
    this.#process = process;
    this.#directory = directory;
    this.#release = onLabExit(() => rmSync(directory, { recursive: true, force: true }));
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on(
        'data',
        lineSplitter((line) => this.#log.push(line)),
      );
    }
    this.#exited = new Promise((resolve) => {
      process.once('close', (code, signal) => {
        if (signal !== null) this.#log.push(`ended by ${signal}`);
        this.#exitCode = code;
        resolve();
      });
      process.once('error', () => resolve());
    });
  }

  /**
   * Starts the gateway and waits for its "ready" line.
   * @throws TcpfreezeError GATEWAY_NOT_READY with the end of its log
   */
  static async start(lab: Pick<Lab, 'gateway'>, options: GatewayOptions = {}): Promise<LabGateway> {
    const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-lab-'));
    const control = join(directory, 'control.sock');
    const { lan = [LAN_INTERFACE], wan = [WAN_INTERFACE] } = options;
    const links = ['--lan', lan.join(','), '--wan', wan.join(',')];
    const args = [
      'run',
      ...links,
      '--control',
      control,
      ...(options.supervised === true ? [] : ['--no-supervisor']),
      '--journal',
      join(directory, 'journal'),
      ...(options.args ?? []),
    ];
    const [program, ...before] = [...(options.wrap ?? []), process.execPath];
    const child = lab.gateway.spawn(program!, [...before, compiledProgram('cli.js'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    const gateway = new LabGateway(child, directory);
    await gateway.#ready();
    return gateway;
  }

  /** Path of the control socket. */
  get control(): string {
    return join(this.#directory, 'control.sock');
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Lines of standard output and standard error so far. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** Exit code once it has ended; null after a signal. */
  get exitCode(): number | null | undefined {
    return this.#exitCode;
  }

  /** Runs `tcpfreeze COMMAND...` against this gateway; a failure is a result, not an exception. */
  cli(...args: string[]): Promise<CliResult> {
    const command = [compiledProgram('cli.js'), ...args, '--control', this.control];
    return new Promise((resolve) => {
      execFile(process.execPath, command, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ exitCode, stdout, stderr });
      });
    });
  }

  /** The control socket itself, where the start of a command would take too long. */
  get client(): ControlClient {
    return new ControlClient(this.control);
  }

  /** As `cli`; a failure is an exception. @throws TcpfreezeError GATEWAY_COMMAND */
  async command(...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.cli(...args);
    if (exitCode !== 0) throw new TcpfreezeError('GATEWAY_COMMAND', `${args.join(' ')}: ${stderr.trim()}`, '');
    return stdout;
  }

  /** Sends a signal and waits for the end, however long it takes. @returns the exit code */
  async end(signal: 'SIGTERM' | 'SIGINT'): Promise<number | null | undefined> {
    if (this.#exitCode === undefined) this.#process.kill(signal);
    await this.#exited;
    return this.stop();
  }

  /** Ends it with a signal and waits. @returns the exit code, null after SIGKILL */
  async stop(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' = 'SIGTERM'): Promise<number | null | undefined> {
    if (this.#exitCode === undefined) this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MILLIS);
    await this.#exited;
    clearTimeout(timer);
    rmSync(this.#directory, { recursive: true, force: true });
    this.#release();
    return this.#exitCode;
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + READY_MILLIS;
    while (!this.#log.some(isReady)) {
      if (this.#exitCode !== undefined || performance.now() > deadline) {
        await this.stop('SIGKILL');
        const words = this.#log.slice(-5).join(' / ');
        throw new TcpfreezeError('GATEWAY_NOT_READY', `the gateway did not become ready: ${words}`, '');
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** The log line of `tcpfreeze run`, as JSON or as text for people. */
function isReady(line: string): boolean {
  return /"msg":"ready"|: ready\b/.test(line);
}
