/** Ending connections by command. */
import type { Micros } from '../base/time.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Reply, Selector } from './commands.ts';
import type { Ending } from './ending.ts';
import type { EventQueue } from './event-queue.ts';
import type { Selection } from './selection.ts';

export interface AbortParts {
  readonly table: FlowTable;
  readonly ending: Ending;
  readonly events: EventQueue;
}

/**
 * Ends connections now: RST to both ends; a far end beyond a loss is told when it is back.
 * @param className only those of this class; undefined: whatever their class
 */
export function abort(
  parts: AbortParts,
  selection: Selection,
  selector: Selector,
  className: string | undefined,
  now: Micros,
): Reply {
  const matches = selection.matcher(selector);
  if (typeof matches !== 'function') return matches;
  const { table, ending, events } = parts;
  let count = 0;
  let undelivered = 0;
  table.forEach((flow) => {
    if (!matches(flow) || !ending.isAlive(flow)) return;
    if (className !== undefined && flow.terms.class !== className) return;
    count++;
    undelivered += ending.abort(flow, now);
  });
  if (count > 0) {
    const message = `${count} connections ended by command, ${undelivered} bytes undelivered`;
    events.push({ at: now, name: 'flows-aborted', message, figures: { flows: count, bytes: undelivered } });
  }
  return { kind: 'done', flows: count, message: `${count} connections ended` };
}
