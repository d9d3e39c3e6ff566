/**
 * Stories with long outages can be told side by side: nothing happens while they wait. What each does before its cut and after its
 * link is back needs the machine for itself, or the times would tell of the others' traffic: it takes a turn for that.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Waits for the turns before this one, first come, first served. @returns ends the turn; idempotent */
  async take(): Promise<() => void> {
    const before = this.#last;
    let end = (): void => {};
    this.#last = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    return end;
  }
}
