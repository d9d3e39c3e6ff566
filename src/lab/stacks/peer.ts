/** The program of peer.c as the run sees it: built by gcc, controlled by lines. */
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TcpfreezeError } from '../../base/errors.ts';
import { lineSplitter } from '../child.ts';
import { monotonicMicros } from '../link-handle.ts';
import { runCommand } from '../run-command.ts';
import { until } from '../wait.ts';
import type { Target } from './stack.ts';

/** A kernel that is emulated needs seconds to boot. */
const READY_MILLIS = 30_000;
const OPEN_MILLIS = 20_000;
const STOP_MILLIS = 3_000;
/** Lines of a failing stack that go into the error. */
const LAST_WORDS = 5;

const SOURCE = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '.' : '../../../src/lab/stacks', import.meta.url),
);
const LWIP_HEADERS = '/usr/include/lwip';
const WARNINGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'];

/** Whether liblwip can be linked. */
export const lwipIsInstalled = existsSync(`${LWIP_HEADERS}/netif/tapif.h`);

/**
 * Compiles peer.c.
 * @param directory for the programs
 * @returns their paths; `lwip` is undefined where liblwip-dev is not installed
 * @throws TcpfreezeError: no compiler (Debian: gcc, libc6-dev)
 */
export async function buildPeers(directory: string): Promise<{ peer: string; peerLwip: string | undefined }> {
  const source = join(SOURCE, 'peer.c');
  const peer = join(directory, 'peer');
  // Static: inside a sandbox or another kernel no library has to be found.
  await runCommand('gcc', [...WARNINGS, '-static', '-o', peer, source]);
  if (!lwipIsInstalled) return { peer, peerLwip: undefined };
  const peerLwip = join(directory, 'peer-lwip');
  await runCommand('gcc', [...WARNINGS, '-DLWIP', '-isystem', LWIP_HEADERS, '-o', peerLwip, source, '-llwip']);
  return { peer, peerLwip };
}

/** How the program's end of a connection ended. */
export interface PeerEnd {
  /** Bytes of the generator that the stack took. */
  readonly bytes: number;
  /** Number of the error; 0: FIN in both directions. */
  readonly error: number;
}

export class Peer {
  readonly #process: ChildProcess;
  readonly #target: Target;
  readonly #opened = new Set<string>();
  readonly #echoes = new Map<string, number[]>();
  readonly #ends = new Map<string, PeerEnd>();
  readonly #other: string[] = [];
  #ready = false;
  #exited = false;

  private constructor(process: ChildProcess, target: Target) {
    this.#process = process;
    this.#target = target;
    process.stdin?.on('error', () => {});
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('latin1').on(
        'data',
        lineSplitter((line) => this.#line(line.trim())),
      );
    }
    process.once('close', () => {
      this.#exited = true;
    });
    process.once('error', () => {
      this.#exited = true;
    });
  }

  /**
   * Waits until the program speaks.
   * @param target where its connections go
   * @throws TcpfreezeError STACK_ENDED with its last words, LAB_TIMEOUT
   */
  static async ready(process: ChildProcess, target: Target): Promise<Peer> {
    const peer = new Peer(process, target);
    await peer.#wait('ready', READY_MILLIS, () => peer.#ready);
    return peer;
  }

  /** Connects. @param first the connection's first line @throws TcpfreezeError: refused, timed out */
  async open(name: string, mode: 'upload' | 'echo', seed: number, first: string): Promise<void> {
    this.#say(`open ${name} ${mode} ${seed} ${this.#target.address} ${this.#target.port} ${first}`);
    await this.#wait(`open ${name}`, OPEN_MILLIS, () => this.#opened.has(name) || this.#ends.has(name));
    const end = this.#ends.get(name);
    if (end !== undefined) throw new TcpfreezeError('STACK_REFUSED', `open ${name}: error ${end.error}`, '');
  }

  /** Types a line. */
  line(name: string, text: string): void {
    this.#say(`line ${name} ${text}`);
  }

  /** Ends the sending direction after what the stack has taken. */
  close(name: string): void {
    this.#say(`close ${name}`);
  }

  /** When the lines came back so far, microseconds of CLOCK_MONOTONIC. */
  echoes(name: string): readonly number[] {
    return this.#echoes.get(name) ?? [];
  }

  end(name: string): PeerEnd | undefined {
    return this.#ends.get(name);
  }

  /** Ends the program, and an emulated kernel with it. Whoever does not end in time is killed with its namespace. */
  async stop(): Promise<void> {
    this.#process.stdin?.end();
    await until(() => this.#exited, { what: 'end', timeoutMillis: STOP_MILLIS, everyMillis: 20 }).catch(() => {});
  }

  #say(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  async #wait(what: string, timeoutMillis: number, isThere: () => boolean): Promise<void> {
    await until(() => isThere() || this.#exited, { what, timeoutMillis, everyMillis: 10 }).catch((error) => {
      throw this.#other.length === 0 ? error : this.#failed(what);
    });
    if (!isThere()) throw this.#failed(what);
  }

  #failed(what: string): TcpfreezeError {
    return new TcpfreezeError('STACK_ENDED', `${what}: ${this.#other.slice(-LAST_WORDS).join(' / ')}`, '');
  }

  #line(line: string): void {
    const [verb, name = '', first, second] = line.split(' ');
    if (verb === 'ready') this.#ready = true;
    else if (verb === 'opened') this.#opened.add(name);
    else if (verb === 'echo') this.#echoes.set(name, [...this.echoes(name), monotonicMicros()]);
    else if (verb === 'closed') this.#ends.set(name, { bytes: Number(first), error: Number(second) });
    else if (line !== '') this.#other.push(line);
  }
}

/** SHA-256 of the first `bytes` bytes that peer.c generates from `seed`: Marsaglia's xorshift32, words in little-endian order. */
export function generatedHash(seed: number, bytes: number): string {
  const hash = createHash('sha256');
  const words = new Uint32Array(16_384);
  const view = new DataView(words.buffer);
  let x = seed | 0;
  for (let left = bytes; left > 0; left -= words.byteLength) {
    for (let at = 0; at < words.byteLength; at += 4) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      view.setUint32(at, x >>> 0, true);
    }
    hash.update(new Uint8Array(words.buffer, 0, Math.min(left, words.byteLength)));
  }
  return hash.digest('hex');
}
