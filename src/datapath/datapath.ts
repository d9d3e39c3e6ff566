import type { Micros } from '../base/time.ts';
import type { CaptureTapStart } from '../capture/capture-tap.ts';
import type { Command, EngineEvent, Reply } from '../engine/commands.ts';
import { type CounterName, readCounters } from '../engine/counters.ts';
import type { EngineConfig } from '../engine/engine.ts';
import type { Journal } from '../journal/journal.ts';
import type { LinkEvent } from '../link/events.ts';
import { openTun, type Tun, type TunOptions } from '../native/tun.ts';
import { monotonicMicros, toDate } from './clock.ts';
import { WorkerLink } from './worker-link.ts';

export const DEFAULT_ARENA_BYTES = 64 << 20;
export const DEFAULT_OUTBOX_BYTES = 1 << 20;
/** A thread that has not ended after this is caught in a system call. */
const KILL_MILLIS = 500;

export interface DatapathOptions {
  readonly tun: TunOptions;
  /** What the TUN decides is filled in here. */
  readonly engine: Omit<EngineConfig, 'vnetHeaderLength' | 'gso'>;
  /**
   * Where custody is written before it is acknowledged; text: why it cannot be, and there is none then; absent: it is kept in
   * memory only.
   */
  readonly journal?: Journal | string | undefined;
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

  /** Settles when the worker hangs; it has to be killed then. */
  get stalled(): Promise<void> {
    return this.#link.watchdog.stalled;
  }

  /** Ends a worker that hangs. Where it cannot be ended, the process is: the kernel then takes device and traffic over. */
  async kill(): Promise<void> {
    this.#link.kill();
    const late = setTimeout(() => process.kill(process.pid, 'SIGKILL'), KILL_MILLIS);
    await this.exited;
    clearTimeout(late);
  }

  /** Ends the worker and removes the TUN device. Resolves when both are gone; may be called again. */
  async stop(): Promise<void> {
    this.#link.requestStop();
    await this.exited;
  }
}
