/**
 * Forgeries: segments in the name of a tracked connection whose numbers cannot be of it (flow/tracker.ts, IMPLAUSIBLE). They are
 * forwarded, because the endpoints know better; but each draws an answer (RFC 9293 3.10.7.4; Linux limits the rate of those to segments
 * without data only, tcp_oow_rate_limited), and 50,000 of them a second became 100,000 packets, which was more than the datapath's thread
 * carries. So beyond FORGERIES_PER_SECOND, of all connections together, they are dropped, as the endpoint would do.
 *
 * The gateway itself may be what is wrong: when a connection went another way for a while, everything it sends looks impossible. It is then not
 * heard in step any more, and its segments follow one another; such a connection is never cut.
 */
import { MICROS_PER_SECOND, type Micros, seconds } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';
import { SYN } from '../wire/tcp-flags.ts';

/** More than any endpoint with a reason sends (after a restart: a keepalive, a probe, an answer), and nothing to carry. */
export const FORGERIES_PER_SECOND = 1_000;
/** A connection of which a segment that fits came this recently is in step. */
const IN_STEP: Micros = seconds(1);
/** Successive segments of one sender lie this close together. Of made-up numbers, 3 in 100 do. */
const SUCCESSIVE = 2 ** 26;

export class Forgeries {
  #allowance = FORGERIES_PER_SECOND;
  #allowanceAt: Micros = 0;

  /**
   * One segment of a flow that is not held, sent by half `direction`, that does not fit.
   * @returns whether to drop it
   */
  isExcess(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): boolean {
    const sender = flow.halves[direction];
    const isSuccessive = Math.abs(seqDiff(packet.seq, sender.straySeq)) < SUCCESSIVE;
    sender.straySeq = packet.seq;
    const earned = ((now - this.#allowanceAt) / MICROS_PER_SECOND) * FORGERIES_PER_SECOND;
    this.#allowance = Math.min(FORGERIES_PER_SECOND, this.#allowance + earned);
    this.#allowanceAt = now;
    if (this.#allowance >= 1) {
      this.#allowance -= 1;
      return false;
    }
    // A SYN may begin the next connection between these ports (reopen.ts).
    if ((packet.flags & SYN) !== 0) return false;
    return !isSuccessive || now - flow.lastSeenAt <= IN_STEP;
  }
}
