/**
 * Watchdog of the datapath's thread, kept by the main thread: a loop that makes no turn although it was woken hangs, in an endless loop, in
 * a system call or in one turn that takes far too long. The reason does not matter: the connections have to go another way.
 *
 * A thread that is ready and only waits for a processor does not hang. *Measured* at a load of 20 on two cores: without that
 * distinction three gateways of four were killed within minutes.
 */
import { readFileSync } from 'node:fs';

/** How often the loop is woken; costs it a turn of some microseconds. */
const PERIOD_MILLIS = 250;
/** Without a turn for this long, time spent waiting for a processor not counted, it hangs. */
const STALLED_MILLIS = 1_000;
/** Whatever it waits for: connections cannot wait longer. */
const STALLED_LONGEST_MILLIS = 15_000;

/**
 * Time that a process's main thread, or a thread of this process, was ready to run and waited for a processor; milliseconds since
 * its start, 0 where the kernel does not say (/proc/PID/schedstat, second figure; Documentation/scheduler/sched-stats.rst).
 * @param task `self/task/TID` or a process id
 */
export function waitedMillis(task: string): number {
  try {
    return Number(readFileSync(`/proc/${task}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

export class Watchdog {
  /** Settles when the loop has stalled; never otherwise. */
  readonly stalled: Promise<void>;
  #tell: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  readonly #turns: () => number;
  readonly #wake: () => void;

  /**
   * Watches from `start` on.
   * @param turns counts the loop's turns
   * @param wake makes a sleeping loop take one
   */
  constructor(turns: () => number, wake: () => void) {
    this.#turns = turns;
    this.#wake = wake;
    this.stalled = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  /** The loop is about to make its first turn. @param waited milliseconds for which its thread has waited for a processor so far */
  start(waited: () => number): void {
    let seen = this.#turns();
    let quietSince = performance.now();
    let waitedBefore = waited();
    let lastAt = quietSince;
    this.#timer = setInterval(() => {
      const now = performance.now();
      const isLate = now - lastAt > 2 * PERIOD_MILLIS;
      lastAt = now;
      const count = this.#turns();
      // A main thread that was held up itself (a stopped process, a busy machine) has seen nothing.
      if (count !== seen || isLate) {
        quietSince = now;
        waitedBefore = waited();
      }
      seen = count;
      const quiet = now - quietSince;
      if (
        quiet >= STALLED_MILLIS &&
        (quiet - (waited() - waitedBefore) >= STALLED_MILLIS || quiet >= STALLED_LONGEST_MILLIS)
      ) {
        this.stop();
        this.#tell();
      } else this.#wake();
    }, PERIOD_MILLIS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
