/**
 * One TCP connection between two endpoints, as two half connections. `halves[0]` is the originator (who sent the SYN, or, for
 * a connection adopted mid-stream, who was heard first); `halves[1]` the responder.
 */
import type { BypassReason } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { Half } from './half.ts';
import type { Host } from './hosts.ts';
import { OPENING, type Phase } from './phase.ts';
import { NO_TERMS, type Terms } from './terms.ts';

/** Words per flow in the table's key array: originator (4), responder (4), ports (1), family (1). */
export const KEY_WORDS = 10;

/** Why a flow is passed through untouched (theory of operation 6.8). */
export type { BypassReason };

/** Work that a higher layer hangs on a flow while it is frozen or being handed back; opaque here. */
export interface Attachment {
  /** Bytes acknowledged in the far peer's name and not yet delivered. */
  readonly custodyBytes: number;
}

export class Flow {
  /** Index in the table, and with `generation` the public identifier. */
  readonly index: number;
  /** Counts the connections that used this index. */
  generation = 0;
  family: 4 | 6 = 4;
  originatorPort = 0;
  responderPort = 0;
  readonly halves: readonly [Half, Half] = [new Half(), new Half()];
  phase: Phase = OPENING;
  /** Whether it was adopted mid-stream: window scales are unknown, only scale-free windows may be sent. */
  adopted = false;
  /**
   * Both ends may have been told a window of zero while each had data in flight: a planned freeze has begun, or another process may have
   * begun one. Two Linux hosts then answer each other below what the other expects (flow/tracker.ts, STALE_SEQ).
   */
  mayTalkPast = false;
  bypassReason: BypassReason | null = null;
  /** Whether its handshake is known and kept (engine/handshakes.ts). */
  handshake = 0;
  /** Index of the endpoint on the surviving side; meaningful in FROZEN and HANDBACK. */
  near: 0 | 1 = 0;
  /** Endpoint known to be unreachable, as a bit per half (1 originator, 2 responder). */
  lostMask = 0;
  frozenSince: Micros = NEVER;
  /** When it was frozen last, also after the thaw. */
  heldSince: Micros = NEVER;
  /** When it was thawed, until the first bytes after that were seen. */
  thawedAt: Micros = NEVER;
  /** What the rules grant it, and the edition of the rules that said so (engine/rulebook.ts). */
  terms: Terms = NO_TERMS;
  edition = 0;
  /** Who is charged for it, and which half that is. */
  host: Host | null = null;
  hostHalf: 0 | 1 = 0;
  createdAt: Micros = 0;
  lastSeenAt: Micros = 0;
  /** Frozen state (freeze/), wake-up state (freeze/wakeup.ts). */
  frozen: Attachment | null = null;
  wakeup: object | null = null;
  /** A SYN that does not belong to this connection and may begin the next one (engine/reopen.ts). */
  straySyn: Uint8Array<ArrayBuffer> | null = null;
  /** Earliest timer of this flow and its place in the timer heap (engine/timers.ts). */
  deadline: Micros = NEVER;
  heapIndex = -1;

  constructor(index: number) {
    this.index = index;
  }

  /** Prepares a recycled flow for a new connection. */
  reset(now: Micros): void {
    this.generation++;
    this.halves[0].reset();
    this.halves[1].reset();
    this.phase = OPENING;
    this.adopted = false;
    this.handshake = 0;
    this.mayTalkPast = false;
    this.bypassReason = null;
    this.near = 0;
    this.lostMask = 0;
    this.frozenSince = NEVER;
    this.heldSince = NEVER;
    this.thawedAt = NEVER;
    this.terms = NO_TERMS;
    this.edition = 0;
    this.host = null;
    this.hostHalf = 0;
    this.createdAt = now;
    this.lastSeenAt = now;
    this.frozen = null;
    this.wakeup = null;
    this.straySyn = null;
    this.deadline = NEVER;
  }

  /** Public identifier: unique among all connections of a run. */
  get id(): string {
    return `${this.index}.${this.generation}`;
  }
}
