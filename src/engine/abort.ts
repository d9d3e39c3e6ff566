/** Ending connections by command. */
import { COUNTER } from '../base/counters.ts';
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { BYPASS, CLOSING, FROZEN } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Freezer } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Synthesizer } from '../freeze/synthesis.ts';
import type { Chronicle } from './chronicle.ts';
import type { Reply, Selector } from './commands.ts';
import type { EventQueue } from './event-queue.ts';
import type { Selection } from './selection.ts';

export interface AbortParts {
  readonly table: FlowTable;
  readonly synthesizer: Synthesizer;
  readonly freezer: Freezer;
  readonly events: EventQueue;
  readonly chronicle: Chronicle;
  readonly counters: Float64Array;
  /** A flow in handback ends now. */
  onEnded(flow: Flow, now: Micros): void;
}

/** Ends connections now: RST to both ends; a far end beyond a loss is told when it is back. */
export function abort(parts: AbortParts, selection: Selection, selector: Selector, now: Micros): Reply {
  const matches = selection.matcher(selector);
  if (typeof matches !== 'function') return matches;
  const { synthesizer, freezer, events } = parts;
  let count = 0;
  let undelivered = 0;
  parts.table.forEach((flow) => {
    if (!matches(flow) || flow.phase === BYPASS || flow.phase === CLOSING) return;
    count++;
    const [a, b] = flow.halves;
    for (const half of [0, 1] as const) {
      const addressee = flow.halves[half];
      if (addressee.rcvKnown && (flow.lostMask & (half + 1)) === 0) {
        synthesizer.reset(flow, half === 0 ? 1 : 0, addressee.rcvNxt, half === 0 ? b.rcvNxt : a.rcvNxt);
      } else if (addressee.sndKnown && (flow.lostMask & (half + 1)) === 0) {
        // In SYN-SENT only the ACK of the SYN makes a reset acceptable (RFC 9293 3.10.7.3).
        synthesizer.reset(flow, half === 0 ? 1 : 0, 0, addressee.sndNxt);
      }
    }
    const lost = flow.frozen?.custodyBytes ?? 0;
    const message = `aborted by command, ${lost} bytes undelivered`;
    undelivered += lost;
    parts.chronicle.report('flow-aborted', flow, message, { bytes: lost }, now);
    parts.counters[COUNTER.undeliverableBytes]! += lost;
    parts.onEnded(flow, now);
    if (flow.phase === FROZEN && flow.frozen !== null) {
      const frozen = flow.frozen as Frozen;
      frozen.custody.discard();
      frozen.nearReset = true;
    } else {
      freezer.release(flow);
      flow.phase = CLOSING;
    }
  });
  if (count > 0) {
    const message = `${count} connections ended by command, ${undelivered} bytes undelivered`;
    events.push({ at: now, name: 'flows-aborted', message, figures: { flows: count, bytes: undelivered } });
  }
  return { kind: 'done', flows: count, message: `${count} connections ended` };
}
