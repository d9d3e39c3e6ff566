/** What the shell's reports on the journal mean for the flows: durable, failed, mended. */
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { FLOWING, HANDBACK } from '../flow/phase.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { EngineParts } from './assembly.ts';

/** All batches up to `number` are on stable storage: what waited for them is said. */
export function onSynced(parts: EngineParts, number: number, now: Micros): void {
  parts.context.journal.synced(number, (flow, frozen) => {
    if (flow.phase === HANDBACK) parts.handback.deadline = now;
    else parts.freezer.onDurable(flow, frozen, now);
  });
}

/**
 * The journal cannot be written. Custody that is not durable has not been acknowledged: its senders still have it, and keep it.
 * What is durable stays in custody; new losses are met without (theory of operation 3.3).
 */
export function onJournalFailed(parts: EngineParts, reason: string, now: Micros): void {
  const { journal } = parts.context;
  if (journal.isOff || journal.isBroken) return;
  journal.fail();
  let flows = 0;
  let bytes = 0;
  parts.table.forEach((flow) => {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null || !frozen.isHeld) return;
    const dropped = parts.freezer.onJournalFailed(flow, frozen, now);
    if (dropped === 0) return;
    flows++;
    bytes += dropped;
    if (flow.phase === HANDBACK && frozen.custody.isEmpty) handOver(parts, flow, now);
  });
  const message = `custody is off: the journal cannot be written (${reason})`;
  parts.events.push({ at: now, name: 'journal-failed', message, reason, figures: { flows, bytes } });
}

/** Nothing is in custody any more: the connection goes on by itself. */
function handOver(parts: EngineParts, flow: Flow, now: Micros): void {
  const since = (flow.frozen as Frozen).thawedAt;
  parts.freezer.release(flow);
  flow.phase = FLOWING;
  parts.settler.handedBack(flow, since, now);
}

/** The journal can be written again: custody is taken as before. */
export function onJournalMended(parts: EngineParts, now: Micros): void {
  const { journal } = parts.context;
  if (journal.isOff || !journal.isBroken) return;
  journal.mend();
  parts.events.push({ at: now, name: 'journal-mended', message: 'custody is on again: the journal can be written' });
}
