/**
 * Traffic agent: an ordinary TCP application, run on the host and on the server. Controlled by lines of JSON (child.ts):
 *
 *   listen {port}                                 accept connections, do what each one's first line asks for
 *   open {flow, mode, address, port, seed, bytes} connect and do it; modes below; answered when connected
 *   stop {flow}                                   a bulk sender without a byte limit ends; an idle or typing one closes
 *   line {flow, text}                             type a line; answered with the time until its echo
 *   progress {flow}                               bytes so far and time of the last one
 *   timeline {flow}                               the receiver's timeline so far
 *
 * Modes: `upload` (the opener sends), `download` (the opener receives), `echo` (lines come back; silent while none is
 * typed, so it is the idle connection, too). Each end reports `closed` with byte count, SHA-256, error and, at a
 * receiver, the timeline.
 */
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import net from 'node:net';
import { lineSplitter } from './child.ts';
import { DataSource, Digest } from './payload.ts';
import { TimelineRecorder } from './timeline.ts';

export type FlowMode = 'upload' | 'download' | 'echo';

/** First line of every connection. */
interface Opening {
  readonly flow: string;
  readonly mode: FlowMode;
  readonly seed: number;
  /** Bytes to send; absent: until told to stop. */
  readonly bytes?: number;
}

type Part = 'sender' | 'receiver' | 'typist' | 'echoer';

/** Most bytes of a connection's first line; a longer one is not of this lab. */
const OPENING_LIMIT = 4096;

function now(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

// Synchronous, so that lines never mix; the parent reads at all times.
function say(message: object): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

/** One end of one connection. */
class End {
  readonly #socket: net.Socket;
  readonly #opening: Opening;
  readonly #part: Part;
  readonly #digest = new Digest();
  readonly #recorder: TimelineRecorder | undefined;
  readonly #source: DataSource | undefined;
  readonly #echoes: { readonly id: number; readonly sentAt: number }[] = [];
  #lastAt = 0;
  #stopping = false;
  #error: string | undefined;
  #finished = false;

  constructor(socket: net.Socket, opening: Opening, part: Part) {
    this.#socket = socket;
    this.#opening = opening;
    this.#part = part;
    if (part === 'receiver') this.#recorder = new TimelineRecorder(now());
    if (part === 'sender') this.#source = new DataSource(opening.seed, opening.bytes);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? error.message;
    });
    socket.on('end', () => {
      this.#finished = true;
      socket.end();
    });
    socket.on('close', () => this.#closed());
    if (part === 'typist')
      socket.on(
        'data',
        lineReader(() => this.#echo()),
      );
    if (part === 'sender') {
      socket.on('drain', () => this.#send());
      socket.resume();
      this.#send();
    }
  }

  /** Bytes that arrived, in order, after the opening line. */
  take(data: Buffer): void {
    if (this.#part === 'echoer') this.#socket.write(data);
    if (this.#part !== 'receiver') return;
    this.#lastAt = now();
    this.#digest.add(data);
    this.#recorder?.add(this.#lastAt, data.length);
  }

  stop(): void {
    this.#stopping = true;
    if (this.#part === 'typist') this.#socket.end();
    if (this.#part === 'sender' && !this.#socket.writableNeedDrain) this.#send();
  }

  type(id: number, text: string): void {
    this.#echoes.push({ id, sentAt: now() });
    this.#socket.write(`${text}\n`);
  }

  timeline(): object {
    return { timeline: this.#recorder?.timeline() };
  }

  progress(): object {
    return { bytes: this.#digest.bytes, lastAt: this.#lastAt, port: this.#socket.localPort };
  }

  #send(): void {
    const source = this.#source!;
    if (this.#socket.writableEnded) return;
    for (;;) {
      const piece = this.#stopping ? undefined : source.next();
      if (piece === undefined) {
        this.#socket.end();
        return;
      }
      this.#digest.add(piece);
      if (!this.#socket.write(piece)) return;
    }
  }

  #echo(): void {
    const typed = this.#echoes.shift();
    if (typed !== undefined) say({ id: typed.id, roundTripMicros: now() - typed.sentAt, at: now() });
  }

  #closed(): void {
    ends.delete(this.#opening.flow);
    const error = this.#error ?? (this.#finished ? null : 'closed early');
    for (const { id } of this.#echoes) say({ id, error: `connection closed: ${error ?? 'no error'}` });
    say({
      event: 'closed',
      flow: this.#opening.flow,
      part: this.#part,
      error,
      bytes: this.#digest.bytes,
      sha256: this.#digest.hex(),
      at: now(),
      timeline: this.#recorder?.timeline(),
    });
  }
}

const ends = new Map<string, End>();

function lineReader(onLine: (line: string) => void): (data: Buffer) => void {
  const split = lineSplitter(onLine);
  return (data) => split(data.toString('latin1'));
}

/** The responder: the opening line decides which part it plays. */
function respond(socket: net.Socket): void {
  let head = Buffer.alloc(0);
  let end: End | undefined;
  const early = (): void => {
    socket.destroy();
  };
  socket.on('error', early);
  socket.on('data', (data: Buffer) => {
    if (end !== undefined) {
      end.take(data);
      return;
    }
    head = Buffer.concat([head, data]);
    const newline = head.indexOf(10);
    if (newline < 0) {
      if (head.length > OPENING_LIMIT) socket.destroy();
      return;
    }
    const opening = JSON.parse(head.toString('utf8', 0, newline)) as Opening;
    const part: Part = opening.mode === 'upload' ? 'receiver' : opening.mode === 'download' ? 'sender' : 'echoer';
    socket.off('error', early);
    end = new End(socket, opening, part);
    ends.set(opening.flow, end);
    if (head.length > newline + 1) end.take(head.subarray(newline + 1));
  });
}

interface Request extends Opening {
  readonly id: number;
  readonly op: string;
  readonly port: number;
  readonly address: string;
  readonly text: string;
  /** Keepalive idle time in milliseconds; absent: off. */
  readonly keepAliveMillis?: number;
}

function open(request: Request): void {
  const { id, flow, mode, seed, bytes, address, port, keepAliveMillis } = request;
  const socket = net.connect({ host: address, port, noDelay: true });
  const refused = (error: Error): void => say({ id, error: `connect to ${address}: ${error.message}` });
  socket.once('error', refused);
  socket.once('connect', () => {
    socket.off('error', refused);
    if (keepAliveMillis !== undefined) socket.setKeepAlive(true, keepAliveMillis);
    const opening: Opening = bytes === undefined ? { flow, mode, seed } : { flow, mode, seed, bytes };
    socket.write(`${JSON.stringify(opening)}\n`);
    const part: Part = mode === 'upload' ? 'sender' : mode === 'download' ? 'receiver' : 'typist';
    const end = new End(socket, opening, part);
    ends.set(flow, end);
    if (part === 'receiver') socket.on('data', (data: Buffer) => end.take(data));
    say({ id, port: socket.localPort });
  });
}

function handle(request: Request): void {
  const { id, op, flow } = request;
  if (op === 'listen') {
    const listener = net.createServer({ noDelay: true, allowHalfOpen: true }, respond);
    listener.once('error', (error) => say({ id, error: `listen: ${error.message}` }));
    listener.listen({ port: request.port, host: '::', backlog: 4096 }, () => say({ id }));
    return;
  }
  if (op === 'open') {
    open(request);
    return;
  }
  const end = ends.get(flow);
  if (end === undefined) {
    say({ id, error: `no flow ${flow}` });
  } else if (op === 'line') {
    end.type(id, request.text);
  } else if (op === 'timeline') {
    say({ id, ...end.timeline() });
  } else {
    if (op === 'stop') end.stop();
    say({ id, ...end.progress() });
  }
}

process.stdin.setEncoding('utf8');
process.stdin.on(
  'data',
  lineSplitter((line) => handle(JSON.parse(line) as Request)),
);
process.stdin.on('end', () => process.exit(0));
say({ event: 'ready' });
