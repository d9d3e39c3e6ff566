/**
 * Recall: the held flows that the journal of an earlier process describes, put back into the table. Nothing is sent here: the links
 * decide next what happens to them, and both ends have to prove themselves first (proof.ts).
 */
import { COUNTER } from '../base/counters.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { FROZEN } from '../flow/phase.ts';
import { Custody, type CustodyBudget } from '../freeze/custody.ts';
import { Frozen } from '../freeze/frozen.ts';
import { emptyHead, peekRecord, RECORD_ENDED, RECORD_HELD, readHead, readHeld } from '../freeze/record.ts';
import { seqDiff, seqLt } from '../wire/seq.ts';
import type { EngineParts } from './assembly.ts';

/** Both ends, as `Frozen.unproven` has them. */
const BOTH_ENDS = 3;

/** A newer record of the connection has been taken up. */
const SUPERSEDED = -2;

export interface Recalled {
  readonly flows: number;
  readonly bytes: number;
  /** Flows that could not be restored: no room in the table or in the budget, or records that contradict each other. */
  readonly dropped: number;
}

/**
 * @param records bodies of all intact records, oldest first; a malformed one is dropped with its flow
 */
export function recall(parts: EngineParts, records: readonly Uint8Array[], now: Micros): Recalled {
  const chains = new Map<number, Uint8Array[]>();
  let dropped = 0;
  for (const record of records) {
    const peeked = peekRecord(record);
    if (peeked === null) continue;
    const { kind, id } = peeked;
    if (kind === RECORD_ENDED) chains.delete(id);
    else if (kind === RECORD_HELD) {
      const chain = chains.get(id);
      if (chain === undefined) chains.set(id, [record]);
      else chain.push(record);
    }
  }
  let flows = 0;
  let bytes = 0;
  // The newest first: an older record of the same connection is of a freeze that was over (freeze/journal.ts, LINGER).
  for (const [id, chain] of [...chains].sort(([a], [b]) => b - a)) {
    const taken = recallOne(parts, id, chain, now);
    if (taken === SUPERSEDED) continue;
    if (taken < 0) dropped++;
    else {
      flows++;
      bytes += taken;
    }
  }
  if (chains.size > 0) parts.context.journal.startFresh();
  parts.counters[COUNTER.flowsRecalled]! += flows;
  if (flows > 0) {
    const message = `${flows} connections that an earlier run held are held again, ${bytes} bytes in custody`;
    parts.events.push({ at: now, name: 'journal-recalled', message, figures: { flows, bytes } });
  }
  if (dropped > 0) {
    const message = `${dropped} connections of an earlier run could not be taken up`;
    parts.events.push({ at: now, name: 'journal-dropped', message, figures: { flows: dropped, bytes: 0 } });
  }
  return { flows, bytes, dropped };
}

/** @returns bytes in custody; -1 when the flow cannot be restored; SUPERSEDED */
function recallOne(parts: EngineParts, id: number, chain: readonly Uint8Array[], now: Micros): number {
  const { table, context, monitor } = parts;
  const head = emptyHead();
  try {
    readHead(chain[0]!, head);
  } catch {
    return -1;
  }
  const flow = table.restore(head.key, now);
  if (flow === null) return table.size < table.capacity ? SUPERSEDED : -1;
  for (const half of [0, 1] as const) flow.halves[half].port = monitor.byName(head.ports[half])?.port ?? -1;
  parts.admission.readmit(flow, now);
  parts.handshakes.discard(flow);
  const frozen = new Frozen(new Custody(context.budget, 0, flow.host), 0);
  const { custody } = frozen;
  try {
    let isFirst = true;
    for (const record of chain) {
      const held = readHeld(record, head, flow, frozen);
      if (isFirst) custody.restart(held.from);
      isFirst = false;
      custody.fin = false;
      if (!append(custody, context.budget, held.base, held.from, held.bytes)) throw new RangeError('a gap in custody');
      custody.fin = held.fin;
    }
  } catch {
    custody.discard();
    parts.admission.forget(flow);
    return -1;
  }
  flow.phase = FROZEN;
  flow.near = head.near;
  // What was forgotten or happened meanwhile is learnt from what passes (flow/tracker.ts treats such flows with indulgence).
  flow.adopted = true;
  flow.mayTalkPast = true;
  flow.frozenSince = Math.min(head.frozenSince, now);
  flow.heldSince = flow.frozenSince;
  flow.lastSeenAt = Math.min(head.lastSeenAt, now);
  flow.frozen = frozen;
  frozen.isHeld = true;
  frozen.unproven = BOTH_ENDS;
  frozen.flightSentAt = now;
  frozen.owedTsEcr = flow.halves[head.near].tsVal;
  context.journal.adopt(frozen, id);
  parts.handshakes.mark(flow, now);
  frozen.shown = custody.end;
  // The near endpoint hears at once that somebody is there; a probe of its own may be two minutes away.
  frozen.refreshAt = frozen.denied || frozen.nearReset ? NEVER : now;
  parts.freezer.resume(flow, frozen);
  return custody.length;
}

/** Cuts custody to [base, from) and puts `bytes` behind. False when there is a gap or no room. */
function append(custody: Custody, budget: CustodyBudget, base: number, from: number, bytes: Uint8Array): boolean {
  if (seqLt(custody.base, base)) custody.release(base);
  if (custody.isEmpty && seqLt(custody.base, from)) custody.restart(from);
  const keep = seqDiff(from, custody.base);
  if (keep < 0 || keep > custody.length || !budget.canHold(custody.length, bytes.length)) return false;
  custody.cut(keep);
  if (bytes.length === 0) return true;
  const target = custody.extend(bytes.length);
  target.bytes.set(bytes, target.at);
  return true;
}

/** The connection of a recalled flow is over: what was in its custody can never be delivered. */
export function dropRecalled(
  parts: Pick<EngineParts, 'counters' | 'events' | 'settler' | 'admission'>,
  flow: Flow,
  why: string,
  now: Micros,
): void {
  const bytes = flow.frozen?.custodyBytes ?? 0;
  parts.counters[COUNTER.undeliverableBytes]! += bytes;
  const message = `${why}; ${bytes} bytes of an earlier run are dropped`;
  parts.events.push({ at: now, name: 'journal-dropped', message, flow: flow.id, figures: { flows: 1, bytes } });
  parts.settler.endHandback(flow, now);
  parts.admission.forget(flow);
}
