/** The main thread's side of the datapath's thread: its descriptors, ports and shared memory, from its start to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { TcpfreezeError } from '../base/errors.ts';
import type { Command, EngineEvent, Reply } from '../engine/commands.ts';
import { COUNTER, COUNTERS_BYTES } from '../engine/counters.ts';
import { JournalWriter } from '../journal/journal.ts';
import type { EchoEvent, LinkEvent } from '../link/events.ts';
import { systemError } from '../native/errno.ts';
import { addressOf, close, eventfd, write } from '../native/libc.ts';
import { openTap } from '../native/packet-tap.ts';
import { openRtnetlink } from '../native/rtnetlink.ts';
import type { Tun } from '../native/tun.ts';
import { type DatapathExit, type DatapathOptions, DEFAULT_ARENA_BYTES, DEFAULT_OUTBOX_BYTES } from './datapath.ts';
import { Echoes } from './echoes.ts';
import { Feed } from './feed.ts';
import type { CaptureMessage, CommandMessage, EchoMessage, WorkerMessage, WorkerStart } from './messages.ts';
import type { TapStart } from './taps.ts';
import { Watchdog, waitedMillis } from './watchdog.ts';

/** How long the journal's last writes are waited for. */
const JOURNAL_END_MILLIS = 5_000;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** The worker with its descriptors, port and shared memory. */
export class WorkerLink {
  readonly events = new Feed<EngineEvent>();
  readonly links = new Feed<LinkEvent>();
  readonly counters: Float64Array;
  readonly ready: Promise<readonly string[]>;
  readonly exited: Promise<DatapathExit>;

  readonly watchdog: Watchdog;

  readonly #fds: number[];
  readonly #worker: Worker;
  #writer: JournalWriter | undefined;
  readonly #degraded: string[] = [];
  #echoes: Echoes | undefined;
  readonly #wakeFd: number;
  readonly #port: MessagePort;
  readonly #stopFlag: Int32Array;
  readonly #waiting = new Map<number, Waiting>();
  /** The eventfd takes 8-byte increments. */
  readonly #one = BigUint64Array.of(1n);
  readonly #oneAddress = addressOf(this.#one);
  #nextId = 1;
  #ended = false;
  #reason: Error | undefined;

  constructor(tun: Tun, options: DatapathOptions) {
    this.#fds = [tun.fd];
    this.#wakeFd = this.#adopt(eventfd(), 'eventfd()');
    const netlinkFd = this.#adopt(openNetlink(this.#fds), 'socket(AF_NETLINK)');
    const counters = new SharedArrayBuffer(COUNTERS_BYTES);
    const stopFlag = new SharedArrayBuffer(4);
    this.counters = new Float64Array(counters);
    this.#stopFlag = new Int32Array(stopFlag);
    const journal = this.#startJournal(options.journal);
    const start: WorkerStart = {
      engine: {
        ...options.engine,
        vnetHeaderLength: tun.vnetHeaderLength,
        gso: tun.gso,
        journal: options.journal !== undefined,
      },
      arenaBytes: options.arenaBytes ?? DEFAULT_ARENA_BYTES,
      outboxBytes: options.outboxBytes ?? DEFAULT_OUTBOX_BYTES,
      hugePages: options.hugePages ?? true,
      tunFd: tun.fd,
      netlinkFd,
      wakeFd: this.#wakeFd,
      taps: this.#openTaps(options),
      journal,
      counters,
      stopFlag,
    };
    const channel = new MessageChannel();
    this.#port = channel.port1;
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      name: 'tcpfreeze-datapath',
      workerData: { start, port: channel.port2 },
      transferList: typeof journal === 'object' && journal !== null ? [channel.port2, journal.port] : [channel.port2],
    });
    this.#worker = worker;
    this.watchdog = new Watchdog(
      () => this.counters[COUNTER.turns]!,
      () => this.#wake(),
    );
    // A process that exits joins its workers first, and this one sleeps in ppoll: it has to be woken for that.
    const onProcessExit = (): void => this.requestStop();
    process.on('exit', onProcessExit);
    this.ready = new Promise((resolve, reject) => {
      this.#port.on('message', (message: WorkerMessage) => {
        if (message.kind === 'ready') {
          // Not before: reading the journal and the kernel's lists takes what it takes.
          this.watchdog.start(() => waitedMillis(`self/task/${message.thread}`));
          resolve([...message.degraded, ...this.#degraded]);
        }
        this.#take(message);
      });
      worker.once('exit', () => reject(this.#endError()));
    });
    // Whoever awaits `ready` hears of its failure; afterwards the rejection of a settled promise is void.
    this.exited = new Promise((resolve) => {
      worker.on('error', (error: unknown) => {
        this.#reason = error instanceof Error ? error : new Error(String(error));
      });
      worker.once('exit', () => {
        process.off('exit', onProcessExit);
        this.#end();
        // What the engine had handed over is written before somebody else reads the journal.
        void this.#endJournal().then(() => resolve(this.#reason === undefined ? {} : { reason: this.#reason }));
      });
    });
    void this.#writer?.exited.then((reason) => {
      if (this.#ended) return;
      // Nothing becomes durable any more: better none than one that waits for ever.
      this.#reason = reason ?? new Error('the journal thread has ended');
      this.requestStop();
    });
  }

  command(command: Command): Promise<Reply> {
    return this.#ask((id): CommandMessage => ({ id, command }));
  }

  capture(capture: CaptureMessage['capture']): Promise<Reply> {
    return this.#ask((id): CaptureMessage => ({ id, capture }));
  }

  #ask(messageOf: (id: number) => CommandMessage | CaptureMessage): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#endError());
        return;
      }
      const message = messageOf(this.#nextId++);
      this.#waiting.set(message.id, { resolve, reject });
      this.#port.postMessage(message);
      this.#wake();
    });
  }

  /** From here on echoes are sent and answered. @returns why not, if so */
  async startEchoes(): Promise<string[]> {
    const echoes = await Echoes.start((event) => this.#onEcho(event));
    if (this.#ended) return [];
    this.#echoes = echoes;
    this.links.watch((events) => {
      for (const event of events) echoes.onLink(event);
    });
    return echoes.degraded === null ? [] : [echoes.degraded];
  }

  #onEcho(event: EchoEvent): void {
    if (this.#ended) return;
    if (event.outcome === 'reply') this.counters[COUNTER.echoReplies]! += 1;
    this.#port.postMessage({ echo: event } satisfies EchoMessage);
    this.#wake();
  }

  /** Two sockets per link; where the kernel refuses, detection does without. */
  #openTaps(options: DatapathOptions): TapStart[] {
    try {
      return options.engine.ports.map(({ name, role }) => ({
        name,
        role,
        fd4: this.#openTap(4),
        fd6: this.#openTap(6),
      }));
    } catch (error) {
      this.#degraded.push(`ICMP and DHCP on the links are not heard: ${(error as Error).message}`);
      return [];
    }
  }

  #openTap(family: 4 | 6): number {
    const fd = openTap(family);
    this.#fds.push(fd);
    return fd;
  }

  kill(): void {
    this.#reason = new TcpfreezeError('DATAPATH_STALLED', 'the datapath made no turn for a second', 'see the log');
    void this.#worker.terminate();
  }

  requestStop(): void {
    if (this.#ended) return;
    Atomics.store(this.#stopFlag, 0, 1);
    this.#wake();
  }

  #wake(): void {
    // Fails only if 2^64 wake-ups are pending: then one is.
    write(this.#wakeFd, this.#oneAddress, 8);
  }

  #take(message: WorkerMessage): void {
    switch (message.kind) {
      case 'reply':
        this.#waiting.get(message.id)?.resolve(message.reply);
        this.#waiting.delete(message.id);
        break;
      case 'report':
        this.links.publish(message.links);
        this.events.publish(message.events);
        for (const request of message.echoes) this.#echoes?.send(request);
        break;
      case 'device-gone':
        this.#reason = new TcpfreezeError(
          'TUN_GONE',
          'the TUN device was deleted by someone else',
          'start the gateway again',
        );
        break;
    }
  }

  #end(): void {
    this.#ended = true;
    this.watchdog.stop();
    this.#echoes?.close();
    // The port and the thread's end are signalled separately: what was posted last may still lie there.
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      this.#take(next.message as WorkerMessage);
    }
    this.#port.close();
    // The TUN device goes now; the eventfd is the journal thread's, too (`#endJournal`).
    for (const fd of this.#fds) if (fd !== this.#wakeFd) close(fd);
    for (const { reject } of this.#waiting.values()) reject(this.#endError());
    this.#waiting.clear();
  }

  async #endJournal(): Promise<void> {
    if (this.#writer !== undefined) {
      const late = Symbol();
      const ended = await Promise.race([this.#writer.exited, sleep(JOURNAL_END_MILLIS, late, { ref: false })]);
      // It sleeps in the disk, and may still wake somebody: its descriptor must not become another file.
      if (ended === late) return;
    }
    close(this.#wakeFd);
  }

  #startJournal(journal: DatapathOptions['journal']): WorkerStart['journal'] {
    if (journal === undefined || typeof journal === 'string') return journal ?? null;
    try {
      const { records, dropped } = journal.read();
      if (dropped !== null) this.#degraded.push(`the journal of an earlier run is not used in full: ${dropped}`);
      this.#writer = new JournalWriter(journal.directory, this.#wakeFd);
      return { port: this.#writer.port, records, handshakes: journal.readHandshakes() };
    } catch (error) {
      for (const fd of this.#fds) close(fd);
      throw error;
    }
  }

  #endError(): TcpfreezeError {
    const cause = this.#reason;
    if (cause instanceof TcpfreezeError) return cause;
    const code = cause === undefined ? 'DATAPATH_ENDED' : 'DATAPATH_FAILED';
    const message = cause === undefined ? 'the datapath has ended' : `the datapath failed: ${cause.message}`;
    return new TcpfreezeError(code, message, 'start the gateway again', 1, cause);
  }

  #adopt(fd: number, call: string): number {
    if (fd < 0) {
      for (const opened of this.#fds) close(opened);
      throw systemError(call, fd);
    }
    this.#fds.push(fd);
    return fd;
  }
}

/** Closes what was opened before if this fails. */
function openNetlink(opened: readonly number[]): number {
  try {
    return openRtnetlink();
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}
