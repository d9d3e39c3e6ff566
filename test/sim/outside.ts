/** How often a host answers what lies outside of its window, so that two hosts do not answer each other for ever. */
import { MICROS_PER_SECOND, type Micros, NEVER } from '../../src/base/time.ts';
import type { WindowRule } from './sender.ts';

/** Linux, net.ipv4.tcp_invalid_ratelimit. */
const INTERVAL = MICROS_PER_SECOND / 2;

export class OutsideAnswers {
  readonly #isLimited: boolean;
  #at: Micros = -NEVER;

  constructor(rule: WindowRule) {
    this.#isLimited = rule === 'linux';
  }

  /** Whether a segment of that length is answered now; data always is (tcp_oow_rate_limited). */
  may(segLength: number, now: Micros): boolean {
    if (!this.#isLimited || segLength > 0) return true;
    if (now - this.#at < INTERVAL) return false;
    this.#at = now;
    return true;
  }
}
