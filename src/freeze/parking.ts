/**
 * Parking: SYNs that wait for a lost link, so that a connection opens the moment the link is back instead of at its sender's next
 * retransmission. Bounded in total and per host (flow/hosts.ts); what finds no place is dropped, and its sender repeats it.
 */
import { COUNTER } from '../base/counters.ts';
import type { Flow } from '../flow/flow.ts';
import { shareOf } from '../flow/hosts.ts';
import type { Packet } from '../wire/packet.ts';
import type { FreezeContext } from './context.ts';
import type { Frozen } from './frozen.ts';

/** Largest SYN of which a copy is kept: all options and some data (TCP Fast Open). */
const SYN_COPY_MAX = 2_048;

export class Parking {
  /** Most SYNs; may change while it is used. */
  limit: number;
  used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /**
   * A copy of a SYN, if the flow's terms and the bounds allow one.
   * @returns null when it is not kept
   */
  copy(flow: Flow, frozen: Frozen, packet: Packet): Uint8Array<ArrayBuffer> | null {
    if (!flow.terms.parkSyn || packet.length > SYN_COPY_MAX) return null;
    if (!frozen.parked) {
      const { host } = flow;
      const room = host === null ? this.limit - this.used : shareOf(host.parkedSyns, this.used, this.limit);
      if (room < 1) return null;
      frozen.parked = true;
      this.used++;
      if (host !== null) host.parkedSyns++;
    }
    return packet.bytes.slice(packet.start, packet.start + packet.length);
  }

  /** The flow's place is free again. */
  leave(flow: Flow, frozen: Frozen): void {
    if (!frozen.parked) return;
    frozen.parked = false;
    this.used--;
    if (flow.host !== null) flow.host.parkedSyns--;
  }
}

/** The old connection has said what it had to say: the SYN of the one that wants its ports goes out (RFC 9293 3.6.1). */
export function succeed(context: FreezeContext, flow: Flow, frozen: Frozen): Uint8Array<ArrayBuffer> | null {
  context.parking.leave(flow, frozen);
  const { nextSyn } = frozen;
  if (nextSyn === null) return null;
  flow.straySyn = nextSyn;
  frozen.nextSyn = null;
  if (context.synthesizer.copy(flow, flow.near, nextSyn)) context.counters[COUNTER.headReplays]! += 1;
  return nextSyn;
}
