/**
 * Watchdog of the datapath's thread, kept by the main thread: a loop that makes no turn although it was woken hangs, in an endless loop, in
 * a system call or in one turn that takes far too long. The reason does not matter: the connections have to go another way.
 */

/** How often the loop is woken; costs it a turn of some microseconds. */
const PERIOD_MILLIS = 250;
/** Without a turn for this long it counts as stalled. A loop that waits for a processor has to be more than slow. */
const STALLED_MILLIS = 1_000;

export class Watchdog {
  /** Settles when the loop has stalled; never otherwise. */
  readonly stalled: Promise<void>;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param turns counts the loop's turns
   * @param wake makes a sleeping loop take one
   */
  constructor(turns: () => number, wake: () => void) {
    let seen = turns();
    let quiet = 0;
    let lastAt = performance.now();
    let tell = (): void => {};
    this.stalled = new Promise((resolve) => {
      tell = resolve;
    });
    this.#timer = setInterval(() => {
      const now = performance.now();
      const isLate = now - lastAt > 2 * PERIOD_MILLIS;
      lastAt = now;
      const count = turns();
      // A main thread that was held up itself (a stopped process, a busy machine) has seen nothing.
      if (count !== seen || isLate) quiet = 0;
      else quiet += PERIOD_MILLIS;
      seen = count;
      if (quiet >= STALLED_MILLIS) {
        this.stop();
        tell();
      } else wake();
    }, PERIOD_MILLIS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
