/**
 * Echo requests that the engine wants to be sent, and their replies: on the main thread, because raw-socket lives on its event
 * loop. Sends nothing that was not asked for, keeps no time: which silence means a loss is for the engine to say.
 */
import { randomBytes } from 'node:crypto';
import type { EchoEvent, EchoRequest, LinkEvent } from '../link/events.ts';
import { type EchoSocket, loadRawSocket, openEchoSocket, RAW_SOCKET_REMEDY } from '../native/echo-socket.ts';
import { formatAddressBytes } from '../wire/address.ts';
import { ECHO_DATA_LENGTH, emitEchoRequest, sequenceOfReply } from '../wire/echo.ts';

/** Questions whose answers are recognised; the oldest are forgotten. At ten a second on four links that is 25 s. */
const MAX_OPEN = 1_024;

type Opener = typeof openEchoSocket;
type Raw = NonNullable<Awaited<ReturnType<typeof loadRawSocket>>>;

export class Echoes {
  /** Why no echo is sent at all; null: they are. */
  readonly degraded: string | null;
  readonly #raw: Raw | undefined;
  readonly #sink: (event: EchoEvent) => void;
  readonly #open: Opener;
  readonly #sockets = new Map<string, EchoSocket>();
  readonly #indexes = new Map<string, number>();
  readonly #waiting = new Map<string, EchoRequest>();
  readonly #identifier: number;
  readonly #data: Uint8Array;

  private constructor(raw: Raw | undefined, sink: (event: EchoEvent) => void, open: Opener) {
    const random = randomBytes(2 + ECHO_DATA_LENGTH);
    this.#identifier = random.readUInt16BE(0);
    this.#data = Uint8Array.from(random.subarray(2));
    this.#raw = raw;
    this.#sink = sink;
    this.#open = open;
    this.degraded = raw === undefined ? `no echo requests: raw-socket is not there (${RAW_SOCKET_REMEDY})` : null;
  }

  /** @param sink gets replies, and what could not be sent */
  static async start(
    sink: (event: EchoEvent) => void,
    load: typeof loadRawSocket = loadRawSocket,
    open: Opener = openEchoSocket,
  ): Promise<Echoes> {
    return new Echoes(await load(), sink, open);
  }

  /** Sends one. The answer, if there is one, reaches the sink; so does a refusal. */
  send(request: EchoRequest): void {
    const { name, family, address, sequence } = request;
    const socket = this.#socketOf(name, family);
    if (socket === undefined) {
      this.#sink({ kind: 'echo', name, family, address, sequence, outcome: 'unsendable' });
      return;
    }
    const key = keyOf(name, family, sequence);
    this.#waiting.delete(key);
    this.#waiting.set(key, request);
    if (this.#waiting.size > MAX_OPEN) this.#waiting.delete(this.#waiting.keys().next().value!);
    const bytes = emitEchoRequest(family, this.#identifier, sequence, this.#data);
    socket.send(bytes, formatAddressBytes(address), (error) => {
      if (error === null || !this.#waiting.delete(key)) return;
      // The interface may be another one by now; the next question finds out.
      this.#drop(name, family);
      this.#sink({ kind: 'echo', name, family, address, sequence, outcome: 'unsendable' });
    });
  }

  /** A socket is bound to an interface's index: one that came back under another needs a new socket. */
  onLink(event: LinkEvent): void {
    if (event.kind === 'interface') {
      const before = this.#indexes.get(event.name);
      this.#indexes.set(event.name, event.index);
      if (before === undefined || before === event.index) return;
    } else if (event.kind !== 'interface-gone') return;
    this.#drop(event.name, 4);
    this.#drop(event.name, 6);
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
    this.#waiting.clear();
  }

  #socketOf(name: string, family: 4 | 6): EchoSocket | undefined {
    const key = `${name} ${family}`;
    const known = this.#sockets.get(key);
    if (known !== undefined || this.#raw === undefined) return known;
    try {
      const socket = this.#open(this.#raw, name, family, (bytes, source) => this.#onReply(name, family, bytes, source));
      this.#sockets.set(key, socket);
      return socket;
    } catch {
      // No such interface at the moment, or no right to: told as unsendable, and tried again with the next question.
      return undefined;
    }
  }

  #onReply(name: string, family: 4 | 6, bytes: Uint8Array, source: string): void {
    const sequence = sequenceOfReply(family, bytes, this.#identifier, this.#data);
    if (sequence < 0) return;
    const key = keyOf(name, family, sequence);
    const request = this.#waiting.get(key);
    // Link-local sources carry their interface: fe80::1%wan0.
    if (request === undefined || formatAddressBytes(request.address) !== source.replace(/%.*/, '')) return;
    this.#waiting.delete(key);
    this.#sink({ kind: 'echo', name, family, address: request.address, sequence, outcome: 'reply' });
  }

  #drop(name: string, family: 4 | 6): void {
    const key = `${name} ${family}`;
    this.#sockets.get(key)?.close();
    this.#sockets.delete(key);
  }
}

function keyOf(name: string, family: 4 | 6, sequence: number): string {
  return `${name} ${family} ${sequence}`;
}
