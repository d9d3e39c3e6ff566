/** Pauses before a failed datapath is started again, and when to give up. */

/** The last one repeats. The first is short: connections wait. */
const PAUSES_MILLIS = [50, 1_000, 2_000, 5_000, 10_000, 30_000] as const;
/** Failures in a row after which it is given up; a datapath that ran this long counts as recovered. */
const FAILURES_AT_MOST = 12;
const RECOVERED_MILLIS = 60_000;

export class Backoff {
  static readonly most: number = FAILURES_AT_MOST;
  #failures = 0;
  #end: () => void = () => {};

  /** It failed. @param since when it was started (Date.now), 0 when it did not start at all */
  failed(since: number): void {
    this.#failures = since > 0 && Date.now() - since >= RECOVERED_MILLIS ? 1 : this.#failures + 1;
  }

  get isOver(): boolean {
    return this.#failures > FAILURES_AT_MOST;
  }

  /** Waits before the next start, or until `end`. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSES_MILLIS[Math.min(this.#failures, PAUSES_MILLIS.length) - 1]);
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends a pause that is under way. */
  end(): void {
    this.#end();
  }
}
