/**
 * Ending connections before their endpoints do: by command, because their time is over, or because resources are short. Both
 * ends are told; one that is beyond a loss is told when it is back.
 */
import { COUNTER } from '../base/counters.ts';
import type { EventName } from '../base/event-table.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { BYPASS, CLOSING, FROZEN } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { CLASS_SUSPENSION, CLASS_TEMPORARY } from '../flow/terms.ts';
import type { Freezer } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Synthesizer } from '../freeze/synthesis.ts';
import type { Chronicle } from './chronicle.ts';

export interface EndingParts {
  readonly table: FlowTable;
  readonly synthesizer: Synthesizer;
  readonly freezer: Freezer;
  readonly chronicle: Chronicle;
  readonly counters: Float64Array;
  /** A flow in handback ends now. */
  onEnded(flow: Flow, now: Micros): void;
  /** A held flow has nothing in custody any more. */
  onRelieved(flow: Flow): void;
  reschedule(flow: Flow): void;
}

export class Ending {
  readonly #parts: EndingParts;

  constructor(parts: EndingParts) {
    this.#parts = parts;
  }

  /** Whether there is something to end. */
  isAlive(flow: Flow): boolean {
    return flow.phase !== BYPASS && flow.phase !== CLOSING && (flow.frozen as Frozen | null)?.ended !== true;
  }

  /** By command. @returns bytes that will not be delivered */
  abort(flow: Flow, now: Micros): number {
    return this.#end(flow, now, 'flow-aborted', 'aborted by command', false);
  }

  /** Because it has been frozen for too long, or makes room. @param why in words, for the event */
  giveUp(flow: Flow, why: string, now: Micros): void {
    this.#parts.counters[COUNTER.flowsGivenUp]! += 1;
    this.#end(flow, now, 'flow-given-up', `given up: ${why}`, flow.terms.silent);
  }

  /**
   * Gives up connections of the same host that are worth less, until `bytes` of custody are free; none, if that cannot be reached: temporary
   * ones first, then suspended ones beyond the time they are kept for, of these the largest first. Critical ones never.
   */
  relieve(flow: Flow, bytes: number, now: Micros): void {
    const { host, terms } = flow;
    if (terms.rank === CLASS_TEMPORARY || host === null) return;
    const victims: Flow[] = [];
    this.#parts.table.forEach((other) => {
      if (other === flow || other.host !== host || other.phase !== FROZEN || !this.isAlive(other)) return;
      const { rank, keep } = other.terms;
      const isLapsed = rank === CLASS_SUSPENSION && now - other.frozenSince >= keep;
      if ((rank === CLASS_TEMPORARY || isLapsed) && other.frozen!.custodyBytes > 0) victims.push(other);
    });
    victims.sort((a, b) => a.terms.rank - b.terms.rank || b.frozen!.custodyBytes - a.frozen!.custodyBytes);
    // Nobody is given up for too little.
    if (victims.reduce((sum, victim) => sum + victim.frozen!.custodyBytes, 0) < bytes) return;
    let freed = 0;
    for (const victim of victims) {
      if (freed >= bytes) return;
      freed += victim.frozen!.custodyBytes;
      this.giveUp(victim, `room for a ${terms.class} connection of the same host`, now);
    }
  }

  #end(flow: Flow, now: Micros, name: EventName, what: string, isSilent: boolean): number {
    const { synthesizer, freezer, chronicle, counters } = this.#parts;
    const [a, b] = flow.halves;
    for (const half of [0, 1] as const) {
      const addressee = flow.halves[half];
      if ((flow.lostMask & (half + 1)) !== 0 || (isSilent && half === flow.near)) continue;
      if (addressee.rcvKnown) {
        synthesizer.reset(flow, half === 0 ? 1 : 0, addressee.rcvNxt, half === 0 ? b.rcvNxt : a.rcvNxt);
      } else if (addressee.sndKnown) {
        // In SYN-SENT only the ACK of the SYN makes a reset acceptable (RFC 9293 3.10.7.3).
        synthesizer.reset(flow, half === 0 ? 1 : 0, 0, addressee.sndNxt);
      }
    }
    const bytes = flow.frozen?.custodyBytes ?? 0;
    const durationMicros = flow.frozenSince === NEVER ? 0 : now - flow.frozenSince;
    chronicle.report(name, flow, `${what}, ${bytes} bytes undelivered`, { bytes, durationMicros }, now);
    counters[COUNTER.undeliverableBytes]! += bytes;
    this.#parts.onEnded(flow, now);
    const frozen = flow.frozen as Frozen | null;
    if (flow.phase === FROZEN && frozen !== null) {
      // Stays known until the far peer can be told.
      frozen.end();
      this.#parts.onRelieved(flow);
      this.#parts.reschedule(flow);
    } else {
      freezer.release(flow);
      flow.phase = CLOSING;
    }
    return bytes;
  }
}
