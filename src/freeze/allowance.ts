/** A bucket of packets that fills at a fixed rate: how many may be sent that nobody has asked for. */
import type { Micros } from '../base/time.ts';

export class Allowance {
  readonly #perMicro: number;
  readonly #size: number;
  #level: number;
  #at: Micros = 0;

  /**
   * @param perSecond packets by which it fills
   * @param size packets saved up at most; it begins full
   */
  constructor(perSecond: number, size: number) {
    this.#perMicro = perSecond / 1e6;
    this.#size = size;
    this.#level = size;
  }

  /** @returns whether one more may be sent now */
  take(now: Micros): boolean {
    this.#level = Math.min(this.#size, this.#level + (now - this.#at) * this.#perMicro);
    this.#at = now;
    if (this.#level < 1) return false;
    this.#level -= 1;
    return true;
  }
}
