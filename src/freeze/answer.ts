/** What a frozen endpoint is told: the ACK and window in the far peer's name, as they stand. */
import { COUNTER } from '../base/counters.ts';
import type { Flow } from '../flow/flow.ts';
import { NOTE } from '../flow/note.ts';
import { seqDiff, seqMax } from '../wire/seq.ts';
import type { FreezeContext } from './context.ts';
import type { Frozen } from './frozen.ts';
import { isTrickling } from './trickle.ts';

/**
 * Raw window to show the near endpoint while frozen.
 * @param ack the ACK number that goes with it
 */
export function frozenWindow(flow: Flow, frozen: Frozen, ack: number): number {
  const endpoint = flow.halves[flow.near];
  const peer = flow.halves[flow.near === 0 ? 1 : 0];
  if (isTrickling(frozen)) {
    return Math.min(0xffff, Math.max(0, seqDiff(frozen.trickleEdge, ack)) >>> Math.max(0, peer.rcvWndShift));
  }
  // While bytes before the end of what was sent are missing, a closed window would bring one segment per RTO (Linux
  // retransmits nothing else beyond it); an open one lets the sender recover at the speed of the surviving side.
  if (frozen.lastResort || frozen.custody.end === endpoint.sndNxt || frozen.custody.room === 0 || peer.rcvWndShift < 0)
    return 0;
  return Math.min(0xffff, Math.max(0, seqDiff(peer.rightEdge, seqMax(ack, frozen.custody.end))) >>> peer.rcvWndShift);
}

/**
 * Sends the current ACK to the near endpoint.
 * @param tsEcr TSecr to carry (RFC 7323 4.3)
 * @param note why it is said now
 * @returns false when the near side cannot be reached either, or the outbox is full
 */
export function sayFrozen(
  context: FreezeContext,
  flow: Flow,
  tsEcr: number,
  note: number = NOTE['zero-window'],
): boolean {
  const frozen = flow.frozen as Frozen;
  if (!context.isReachable(flow, flow.near)) return false;
  const far = flow.near === 0 ? 1 : 0;
  const window = frozenWindow(flow, frozen, frozen.shown);
  const { rcvNxt } = flow.halves[flow.near];
  if (!context.synthesizer.ack(flow, far, rcvNxt, frozen.shown, window, tsEcr, note)) return false;
  // What waits for the journal, or finds no room, was not said.
  if (note === NOTE['custody-ack']) context.counters[COUNTER.custodyAcks]! += 1;
  else if (note === NOTE['zero-window']) context.counters[COUNTER.zeroWindowAcks]! += 1;
  return true;
}
