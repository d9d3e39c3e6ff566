/**
 * Trickle: keeping alive a frozen sender that counts the time without progress. Linux ends a connection with TCP_USER_TIMEOUT in
 * persist state when that expires, although every probe is answered (tcp_probe_timer, net/ipv4/tcp_timer.c; measured: set to
 * 10 s, dead 10.0 s after the freeze). So from time to time a window below one MSS is offered: too little for the
 * sender's silly window avoidance to send by itself (RFC 9293 3.8.6.2.1), enough for its next probe to carry bytes. They
 * are taken into custody, the window shuts again, and the sender's count begins anew.
 * Price: the sender's congestion window restarts and its round-trip estimate suffers; so only by policy, or where a limit is
 * known (RFC 5482) or suspected (an earlier connection of that host to that port died of it).
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { FlowTable } from '../flow/table.ts';
import { seqDiff } from '../wire/seq.ts';
import type { Frozen } from './frozen.ts';

/** Largest piece that is offered at a time (measured: 1024 bytes every 4 s carried a limit of 10 s). */
const PIECE = 1_024;
/** Share of a known limit after which the next piece is offered; the probe that takes it may be as late again. */
const SHARE = 0.4;
const INTERVAL_MIN: Micros = seconds(0.1);
const INTERVAL_MAX: Micros = seconds(4);
/** Deaths that are remembered. */
const SUSPECTS_MAX = 256;

/**
 * Interval of the trickle in micros; 0: none.
 * @param terms 0 off, above 0 on at that interval, -1 where a limit is known or suspected
 * @param known user timeout that the near endpoint has announced (micros), 0: none
 * @param suspected limit inferred from an earlier death (micros), 0: none
 */
export function trickleInterval(terms: Micros, known: Micros, suspected: Micros): Micros {
  if (terms === 0) return 0;
  const limit = known > 0 && suspected > 0 ? Math.min(known, suspected) : Math.max(known, suspected);
  if (limit === 0) return Math.max(0, terms);
  const byLimit = Math.max(INTERVAL_MIN, Math.min(INTERVAL_MAX, limit * SHARE));
  return terms > 0 ? Math.min(terms, byLimit) : byLimit;
}

/**
 * Opens the window by one piece, if the near endpoint has shown that it has something to send. Call when `trickleAt` is due.
 * @param segment payload bytes of one wire segment of the near endpoint, 0 when unknown
 * @param rightEdge right edge of the far peer's window
 * @param shift its window scale
 * @returns whether the near endpoint has to be told
 */
export function openTrickle(frozen: Frozen, segment: number, rightEdge: number, shift: number, now: Micros): boolean {
  frozen.trickleAt = now + frozen.trickleEvery;
  if (frozen.dribbleAt !== NEVER) return false;
  if (isTrickling(frozen)) return true;
  if (!frozen.probed) return false;
  const unit = 2 ** shift;
  const wanted = Math.max(unit, Math.floor(Math.min(PIECE, Math.max(1, segment - 1)) / unit) * unit);
  // Never beyond what the far peer itself has offered.
  const piece = Math.min(wanted, Math.floor(seqDiff(rightEdge, frozen.custody.end) / unit) * unit);
  if (piece <= 0) return false;
  if (frozen.custody.room < piece || frozen.custody.fin) return false;
  frozen.probed = false;
  frozen.trickleEdge = (frozen.custody.end + piece) | 0;
  frozen.trickleOpen = true;
  return true;
}

/** Whether a piece is on offer that has not been taken. */
export function isTrickling(frozen: Frozen): boolean {
  if (frozen.trickleOpen && seqDiff(frozen.trickleEdge, frozen.custody.end) <= 0) frozen.trickleOpen = false;
  return frozen.trickleOpen;
}

interface Suspect {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly port: number;
  limit: Micros;
}

/** Hosts whose connections to a port died while they were frozen. */
export class Suspects {
  #suspects: Suspect[] = [];

  get size(): number {
    return this.#suspects.length;
  }

  /** The near endpoint of `flow` has given up after `limit`, at most. */
  add(flow: Flow, table: FlowTable, limit: Micros): void {
    const known = this.#find(flow, table);
    if (known !== undefined) {
      known.limit = Math.min(known.limit, limit);
      return;
    }
    const at = flow.index * KEY_WORDS + 4 * flow.near;
    const words = table.keys.slice(at, at + 4);
    this.#suspects.push({ family: flow.family, words, port: flow.responderPort, limit });
    if (this.#suspects.length > SUSPECTS_MAX) this.#suspects.shift();
  }

  /** Limit that the endpoint `near` of `flow` is suspected of, 0: none. */
  limitOf(flow: Flow, near: 0 | 1, table: FlowTable): Micros {
    return this.#suspects.length === 0 ? 0 : (this.#find(flow, table, near)?.limit ?? 0);
  }

  #find(flow: Flow, table: FlowTable, near: 0 | 1 = flow.near): Suspect | undefined {
    const at = flow.index * KEY_WORDS + 4 * near;
    const { keys } = table;
    return this.#suspects.find(
      ({ family, words, port }) =>
        family === flow.family &&
        port === flow.responderPort &&
        words[0] === keys[at] &&
        words[1] === keys[at + 1] &&
        words[2] === keys[at + 2] &&
        words[3] === keys[at + 3],
    );
  }
}
