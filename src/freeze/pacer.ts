/**
 * Delivery rate of a whole link, and the pace at which replays may use it (theory of operation 5.1): all flows of a link
 * together within what the link delivered before it was lost, so that the first thing after an outage is not a burst that
 * overruns the bottleneck's queue.
 */
import { Median } from '../base/median.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { Allowance } from './allowance.ts';

const SAMPLE_INTERVAL: Micros = 50_000;
/** Rate assumed for a link that never carried a measurable amount: 1 Mb/s, in bytes per microsecond. */
const RATE_UNKNOWN = 0.125;
/** How late a paced sender may run without losing its turn: one tick of a timer with millisecond resolution. */
const CATCH_UP: Micros = 2_000;
/**
 * Wake-up packets into a path that has not answered yet, at once and per second. Linux keeps 212,992 bytes (unres_qlen_bytes, skb overhead included)
 * per next hop that is being resolved, about 200 small packets, and the replays need room, too.
 */
const UNPROVEN_BURST = 32;
const UNPROVEN_PER_SECOND = 1_000;

export class Pacer {
  /** Bytes per microsecond. */
  rate = 0;
  nextSendAt: Micros = 0;
  /** When the first packet from beyond the link was seen since it was last given back; NEVER while none was. */
  aliveSince: Micros = NEVER;
  /** For wake-ups while nothing has come from beyond the link. */
  readonly unproven = new Allowance(UNPROVEN_PER_SECOND, UNPROVEN_BURST);
  #since: Micros = 0;
  #bytes = 0;
  readonly #rates = new Median();

  /** `bytes` of data sent over the link were acknowledged. */
  onDelivered(bytes: number, now: Micros): void {
    const elapsed = now - this.#since;
    if (elapsed > 2_000_000) {
      this.#since = now;
      this.#bytes = 0;
      return;
    }
    this.#bytes += bytes;
    if (elapsed < SAMPLE_INTERVAL) return;
    const sample = this.#rates.add(this.#bytes / elapsed);
    // A link's capacity changes slowly; application silence must not shrink the estimate quickly.
    this.rate = sample > this.rate ? sample : this.rate * 0.98 + sample * 0.02;
    this.#since = now;
    this.#bytes = 0;
  }

  /** Whether a packet may be sent now. */
  canSend(now: Micros): boolean {
    return this.nextSendAt <= now;
  }

  /** A packet of `bytes` was sent. */
  onSent(bytes: number, now: Micros): void {
    this.nextSendAt = Math.max(this.nextSendAt, now - CATCH_UP) + bytes / Math.max(this.rate, RATE_UNKNOWN);
  }
}
