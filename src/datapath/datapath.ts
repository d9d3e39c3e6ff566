/**
 * The datapath as the main thread holds it: opens the descriptors, starts the worker, carries commands and events.
 *
 * The main thread owns every descriptor and closes them when the worker has ended, for whatever reason: the TUN device
 * then vanishes and traffic falls back to the kernel. It does no steering; the device comes up without traffic.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { TcpfreezeError } from '../base/errors.ts';
import type { Micros } from '../base/time.ts';
import type { CaptureTapStart } from '../capture/capture-tap.ts';
import type { Command, EngineEvent, Reply } from '../engine/commands.ts';
import { COUNTER, COUNTERS_BYTES, type CounterName, readCounters } from '../engine/counters.ts';
import type { EngineConfig } from '../engine/engine.ts';
import type { EchoEvent, LinkEvent } from '../link/events.ts';
import { systemError } from '../native/errno.ts';
import { addressOf, close, eventfd, write } from '../native/libc.ts';
import { openTap } from '../native/packet-tap.ts';
import { openRtnetlink } from '../native/rtnetlink.ts';
import { openTun, type Tun, type TunOptions } from '../native/tun.ts';
import { monotonicMicros, toDate } from './clock.ts';
import { Echoes } from './echoes.ts';
import type { CaptureMessage, CommandMessage, EchoMessage, WorkerMessage, WorkerStart } from './messages.ts';
import type { TapStart } from './taps.ts';

export const DEFAULT_ARENA_BYTES = 64 << 20;
export const DEFAULT_OUTBOX_BYTES = 1 << 20;

export interface DatapathOptions {
  readonly tun: TunOptions;
  /** What the TUN decides is filled in here. */
  readonly engine: Omit<EngineConfig, 'vnetHeaderLength' | 'gso'>;
  /** Size of the packet ring in bytes; default 64 MiB. */
  readonly arenaBytes?: number;
  /** Room for synthesized packets in bytes; default 1 MiB. */
  readonly outboxBytes?: number;
  /** Back the arena with huge pages where the kernel has them. Default true. */
  readonly hugePages?: boolean;
}

export interface DatapathExit {
  /** Absent after `stop`. */
  readonly reason?: Error;
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export class Datapath {
  /** Name of the TUN device; it exists, but is down and has no routes. */
  readonly tunName: string;
  /** What the kernel refused, one readable reason each. */
  readonly degraded: readonly string[];
  /** Settles when the worker has ended and the TUN device is gone. Never rejects. */
  readonly exited: Promise<DatapathExit>;

  readonly #link: WorkerLink;

  /** Use `Datapath.start`. */
  constructor(link: WorkerLink, tun: Tun, degraded: readonly string[]) {
    this.#link = link;
    this.tunName = tun.name;
    this.degraded = [...tun.degraded, ...degraded];
    this.exited = link.exited;
  }

  /**
   * Creates the TUN device and starts the worker; resolves when packets can flow and all links are known.
   * @throws TcpfreezeError as `openTun` and `openRtnetlink`; DATAPATH_FAILED if the worker dies at its start
   */
  static async start(options: DatapathOptions): Promise<Datapath> {
    const tun = openTun(options.tun);
    const link = new WorkerLink(tun, options);
    const degraded = await link.ready;
    return new Datapath(link, tun, [...degraded, ...(await link.startEchoes())]);
  }

  /** Asks the engine. @throws TcpfreezeError DATAPATH_ENDED when the worker is gone, or goes before it has answered */
  command(command: Command): Promise<Reply> {
    return this.#link.command(command);
  }

  /** Shows a capture every packet from now on. @throws TcpfreezeError as `command` */
  async attachCapture(tap: CaptureTapStart): Promise<void> {
    await this.#link.capture({ attach: tap });
  }

  /** Ends that; what was captured is in the ring when this resolves. @throws TcpfreezeError as `command` */
  async detachCapture(id: number): Promise<void> {
    await this.#link.capture({ detach: id });
  }

  /** All counters as of now; costs the worker nothing. */
  counters(): Record<CounterName, number> {
    return readCounters(this.#link.counters);
  }

  /** Counters, labelled counters and histograms as base/figures.ts lays them out; shared with the worker. */
  get figures(): Float64Array {
    return this.#link.counters;
  }

  /** @param listener gets the engine's events in order, in batches. The first listener also gets those kept since the start. */
  onEvents(listener: (events: readonly EngineEvent[]) => void): void {
    this.#link.events.add(listener);
  }

  /** @param listener gets changes of interfaces, addresses and routes; the first listener also the initial state. */
  onLinkEvents(listener: (events: readonly LinkEvent[]) => void): void {
    this.#link.links.add(listener);
  }

  /** Now on the engine's time scale. */
  nowMicros(): Micros {
    return monotonicMicros();
  }

  /** Wall-clock time of an instant of the engine. */
  toDate(micros: Micros): Date {
    return toDate(micros);
  }

  /** Ends the worker and removes the TUN device. Resolves when both are gone; may be called again. */
  async stop(): Promise<void> {
    this.#link.requestStop();
    await this.exited;
  }
}

/** Listeners, and what came before the first of them. */
class Feed<T> {
  readonly #listeners: ((items: readonly T[]) => void)[] = [];
  readonly #watchers: ((items: readonly T[]) => void)[] = [];
  #kept: T[] = [];

  add(listener: (items: readonly T[]) => void): void {
    this.#listeners.push(listener);
    if (this.#kept.length > 0) listener(this.#kept);
    this.#kept = [];
  }

  /** Hears what is kept, too, and leaves it to the first listener. */
  watch(listener: (items: readonly T[]) => void): void {
    if (this.#kept.length > 0) listener(this.#kept);
    this.#watchers.push(listener);
  }

  publish(items: readonly T[]): void {
    if (items.length === 0) return;
    for (const watcher of this.#watchers) watcher(items);
    if (this.#listeners.length === 0) this.#kept.push(...items);
    for (const listener of this.#listeners) listener(items);
  }
}

/** The worker with its descriptors, port and shared memory. */
class WorkerLink {
  readonly events = new Feed<EngineEvent>();
  readonly links = new Feed<LinkEvent>();
  readonly counters: Float64Array;
  readonly ready: Promise<readonly string[]>;
  readonly exited: Promise<DatapathExit>;

  readonly #fds: number[];
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
    const start: WorkerStart = {
      engine: { ...options.engine, vnetHeaderLength: tun.vnetHeaderLength, gso: tun.gso },
      arenaBytes: options.arenaBytes ?? DEFAULT_ARENA_BYTES,
      outboxBytes: options.outboxBytes ?? DEFAULT_OUTBOX_BYTES,
      hugePages: options.hugePages ?? true,
      tunFd: tun.fd,
      netlinkFd,
      wakeFd: this.#wakeFd,
      taps: this.#openTaps(options),
      counters,
      stopFlag,
    };
    const channel = new MessageChannel();
    this.#port = channel.port1;
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      name: 'tcpfreeze-datapath',
      workerData: { start, port: channel.port2 },
      transferList: [channel.port2],
    });
    // A process that exits joins its workers first, and this one sleeps in ppoll: it has to be woken for that.
    const onProcessExit = (): void => this.requestStop();
    process.on('exit', onProcessExit);
    this.ready = new Promise((resolve, reject) => {
      this.#port.on('message', (message: WorkerMessage) => {
        if (message.kind === 'ready') resolve([...message.degraded, ...this.#degraded]);
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
        resolve(this.#reason === undefined ? {} : { reason: this.#reason });
      });
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
    this.#echoes?.close();
    // The port and the thread's end are signalled separately: what was posted last may still lie there.
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      this.#take(next.message as WorkerMessage);
    }
    this.#port.close();
    for (const fd of this.#fds) close(fd);
    for (const { reject } of this.#waiting.values()) reject(this.#endError());
    this.#waiting.clear();
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
