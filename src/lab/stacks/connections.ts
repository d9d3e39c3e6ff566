/**
 * The connections that each stack has when the link is lost.
 *
 *     upload      sends before, during and after; closed afterwards
 *     uploadFin   sends, and is closed during the outage: its FIN waits behind what the stack had taken
 *     typed       idle at the cut, last heard was data; a line is typed during the outage, and is to come back
 *     told        idle at the cut, last heard was a bare ACK (so the closing ACK repeats it); a line is typed during the outage
 *     idle        idle throughout; a line is typed afterwards
 *     idleFin     idle at the cut; closed during the outage
 */
import { createHash } from 'node:crypto';
import { TcpfreezeError } from '../../base/errors.ts';
import { monotonicMicros } from '../link-handle.ts';
import { judgeRecovery } from '../recovery.ts';
import type { TrafficAgent } from '../traffic-handle.ts';
import { until } from '../wait.ts';
import { generatedHash, type Peer } from './peer.ts';
import type { Stack } from './stack.ts';

export const CONNECTION_KINDS = ['upload', 'uploadFin', 'typed', 'told', 'idle', 'idleFin'] as const;
export type ConnectionKind = (typeof CONNECTION_KINDS)[number];

/** Bytes that each upload has delivered before the cut. */
const WARM_BYTES = 150_000;
const WARM_MILLIS = 60_000;
/** Ends come after everything else; what is still in the buffers then has to pass the link. */
const END_MILLIS = 60_000;
const FIRST_LINE = 'hello';
const LINE_IN_OUTAGE = 'typed while the link is down';
const LINE_AFTERWARDS = 'typed when the link is back';

export interface ConnectionResult {
  readonly stack: Stack;
  readonly kind: ConnectionKind;
  /** What is wrong: bytes missing, an error at an end, never closed; undefined: all is well. */
  readonly problem: string | undefined;
  /** Link-up to the first new byte, the echo, or the end at the server; `idle`: the round trip of its line. */
  readonly backMillis: number | undefined;
}

interface Connection {
  readonly stack: Stack;
  readonly kind: ConnectionKind;
  readonly peer: Peer;
  readonly name: string;
  readonly seed: number;
}

/** Microseconds of CLOCK_MONOTONIC. */
export interface Outage {
  readonly cutAt: number;
  readonly restoredAt: number;
}

export class Connections {
  readonly #all: readonly Connection[];
  readonly #server: TrafficAgent;
  /** When the idle connections were asked to speak again. */
  #askedAt = 0;

  private constructor(all: readonly Connection[], server: TrafficAgent) {
    this.#all = all;
    this.#server = server;
  }

  /**
   * Opens every kind on every stack, and waits until every upload has delivered something and every idle connection has spoken, so that
   * windows and round trips are known. The idle ones come first: the uploads fill the queue of the link.
   * @param peers in the order of `stacks`
   * @throws TcpfreezeError: refused, timed out
   */
  static async open(stacks: readonly Stack[], peers: readonly Peer[], server: TrafficAgent): Promise<Connections> {
    const all = stacks.flatMap((stack, index) =>
      CONNECTION_KINDS.map((kind, number) => {
        const seed = 1000 * (index + 1) + number + 1;
        return { stack, kind, peer: peers[index]!, name: `${stack.key}-${kind}`, seed };
      }),
    );
    const connections = new Connections(all, server);
    const idle = connections.#of('typed', 'told', 'idle', 'idleFin');
    await Promise.all(
      idle.map(({ peer, name, kind, seed }) => {
        const mode = kind === 'told' ? 'upload' : 'echo';
        return peer.open(name, 'echo', seed, JSON.stringify({ flow: name, mode, seed }));
      }),
    );
    for (const { peer, name } of idle) peer.line(name, FIRST_LINE);
    await connections.#warm(idle);
    const bulk = connections.#of('upload', 'uploadFin');
    await Promise.all(
      bulk.map(({ peer, name, seed }) =>
        peer.open(name, 'upload', seed, JSON.stringify({ flow: name, mode: 'upload', seed })),
      ),
    );
    await connections.#warm(bulk);
    return connections;
  }

  async #warm(some: readonly Connection[]): Promise<void> {
    let cold: string[] = [];
    const look = async (): Promise<boolean> => {
      const warmed = await Promise.all(some.map((one) => this.#isWarm(one)));
      cold = some.filter((_, index) => !warmed[index]).map(({ name }) => name);
      return cold.length === 0;
    };
    await until(look, { what: '', timeoutMillis: WARM_MILLIS, everyMillis: 100 }).catch(() => {
      throw new TcpfreezeError('STACK_COLD', `not warm within ${WARM_MILLIS / 1000} s: ${cold.join(', ')}`, '');
    });
  }

  typeDuringOutage(): void {
    for (const { peer, name } of this.#of('typed', 'told')) peer.line(name, LINE_IN_OUTAGE);
  }

  closeDuringOutage(): void {
    for (const { peer, name } of this.#of('uploadFin', 'idleFin')) peer.close(name);
  }

  /** Waits for what is to come back, closes what is open, and judges. @param patienceMillis for all of it, the ends apart */
  async finish(outage: Outage, patienceMillis: number, rttMillis: number): Promise<ConnectionResult[]> {
    const deadline = performance.now() + patienceMillis;
    // What does not come shows in the results.
    const wait = (isThere: () => Promise<boolean> | boolean, timeoutMillis = deadline - performance.now()) =>
      until(isThere, { what: '', timeoutMillis: Math.max(0, timeoutMillis) }).catch(() => {});
    await wait(async () => {
      const last = await Promise.all(this.#of('upload').map((one) => this.#lastByteAt(one)));
      return last.every((at) => at > outage.restoredAt);
    });
    await wait(() => this.#of('typed').every(({ peer, name }) => peer.echoes(name).length > 1));
    this.#askedAt = monotonicMicros();
    for (const { peer, name } of this.#of('idle')) peer.line(name, LINE_AFTERWARDS);
    await wait(() => this.#of('idle').every(({ peer, name }) => peer.echoes(name).length > 1));
    for (const { peer, name } of this.#of('upload', 'typed', 'told', 'idle')) peer.close(name);
    const hasEnded = ({ peer, name }: Connection): boolean =>
      peer.end(name) !== undefined && this.#server.ended(name) !== undefined;
    await wait(() => this.#all.every(hasEnded), END_MILLIS);
    return this.#all.map((one) => this.#judge(one, outage, rttMillis));
  }

  #of(...kinds: ConnectionKind[]): Connection[] {
    return this.#all.filter(({ kind }) => kinds.includes(kind));
  }

  async #isWarm({ kind, peer, name }: Connection): Promise<boolean> {
    if (kind === 'typed' || kind === 'idle' || kind === 'idleFin') return peer.echoes(name).length > 0;
    // Its opening line may not have arrived yet.
    const { bytes } = await this.#server.request('progress', { flow: name }).catch(() => ({ bytes: 0 }));
    return Number(bytes) >= (kind === 'told' ? FIRST_LINE.length : WARM_BYTES);
  }

  async #lastByteAt({ name }: Connection): Promise<number> {
    const ended = this.#server.ended(name);
    return ended?.at ?? Number((await this.#server.request('progress', { flow: name })).lastAt);
  }

  #judge({ stack, kind, peer, name, seed }: Connection, outage: Outage, rttMillis: number): ConnectionResult {
    const end = peer.end(name);
    const received = this.#server.ended(name);
    const problems: string[] = [];
    if (end === undefined) problems.push('the stack never closed it');
    else if (end.error !== 0) problems.push(`error ${end.error} at the stack`);
    if (received === undefined) problems.push('the server never closed it');
    else if (received.error !== null) problems.push(`${received.error} at the server`);
    let backMillis: number | undefined;
    if (kind === 'upload' || kind === 'uploadFin' || kind === 'told') {
      const timeline = received?.timeline;
      backMillis = timeline && judgeRecovery(timeline, { ...outage, rttMillis }).firstByteMillis;
      const wanted = kind === 'told' ? linesHash(FIRST_LINE, LINE_IN_OUTAGE) : generatedHash(seed, end?.bytes ?? 0);
      if (received !== undefined && received.sha256 !== wanted) problems.push('the bytes received are others');
    } else if (kind === 'idleFin') {
      backMillis = received && (received.at - outage.restoredAt) / 1000;
    } else {
      const echo = peer.echoes(name)[1];
      if (echo === undefined) problems.push('no echo');
      else backMillis = (echo - (kind === 'idle' ? this.#askedAt : outage.restoredAt)) / 1000;
    }
    return { stack, kind, problem: problems.length === 0 ? undefined : problems.join(', '), backMillis };
  }
}

function linesHash(...lines: readonly string[]): string {
  return createHash('sha256')
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest('hex');
}
