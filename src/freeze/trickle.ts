/**
 * Trickle: keeping alive a frozen sender that counts the time without progress. Linux ends a connection with TCP_USER_TIMEOUT in
 * persist state when that expires, although every probe is answered (tcp_probe_timer, net/ipv4/tcp_timer.c; measured: set to
 * 10 s, dead 10.0 s after the freeze). So from time to time a window below one MSS is offered: too little for the
 * sender's silly window avoidance to send by itself (RFC 9293 3.8.6.2.1), enough for its next probe to carry bytes. They
 * are taken into custody, the window shuts again, and the sender's count begins anew. It has to be the probe: Linux clears
 * the count when a probe carries bytes (tcp_send_probe0), not when a window update lets some of a larger buffer go.
 * When.     The offer is made in the answer to a probe, never unasked: every ACK to a sender in persist state puts its next
 *           probe off by a whole back-off (tcp_ack_probe; measured: an offer repeated unasked put it off again and again, until the
 *           limit came first). Probes come at intervals that double, so the offer goes out with the last answer after which the
 *           piece is still taken within the trickle's interval, which is well within the limit.
 * Price.    The sender's congestion window restarts and its round-trip estimate suffers; so only by policy, or where a limit is
 *           known (RFC 5482) or suspected (an earlier connection of that host to that port died of it).
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { FlowTable } from '../flow/table.ts';
import { seqDiff } from '../wire/seq.ts';
import type { Frozen } from './frozen.ts';

/** Largest piece that is offered at a time (measured: 1024 bytes every 4 s carried a limit of 10 s). */
const PIECE = 1_024;
/** Share of a known limit within which the next piece is taken; what is left is the margin for a probe that is late. */
const SHARE = 0.4;
const INTERVAL_MIN: Micros = seconds(0.1);
const INTERVAL_MAX: Micros = seconds(4);
/** The next probe comes after twice the interval before this one, the one behind that after twice as much again. */
const TWO_PROBES = 2 + 4;
/** A dribble ends after this share of the interval: it lengthens the sender's RTO, with which its probes begin. */
const DRIBBLE_SHARE = 0.25;
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
 * Decides whether the answer to a probe opens the window by one piece, and opens it. Call for every probe that brought nothing.
 * @param gap time since the probe before it, or since bytes were taken last (micros)
 * @param segment payload bytes of one wire segment of the near endpoint, 0 when unknown
 * @param rightEdge right edge of the far peer's window
 * @param shift its window scale; -1, not known: nothing but 0 is safe to promise
 * @returns whether this probe opened it
 */
export function openTrickle(
  frozen: Frozen,
  gap: Micros,
  segment: number,
  rightEdge: number,
  shift: number,
  now: Micros,
): boolean {
  if (frozen.trickleEvery === 0 || shift < 0 || frozen.denied || frozen.dribbleAt !== NEVER) return false;
  if (isTrickling(frozen)) return false;
  if (now - frozen.takenAt + TWO_PROBES * gap < frozen.trickleEvery) return false;
  const unit = 2 ** shift;
  const wanted = Math.max(unit, Math.floor(Math.min(PIECE, Math.max(1, segment - 1)) / unit) * unit);
  // Never beyond what the far peer itself has offered.
  const piece = Math.min(wanted, Math.floor(seqDiff(rightEdge, frozen.custody.end) / unit) * unit);
  if (piece <= 0) return false;
  if (frozen.custody.room < piece || frozen.custody.fin) return false;
  frozen.trickleEdge = (frozen.custody.end + piece) | 0;
  frozen.trickleOpen = true;
  return true;
}

/** Whether the dribble of a sender that has to be trickled has to end now. */
export function mustEndDribble(frozen: Frozen, frozenSince: Micros, now: Micros): boolean {
  return frozen.trickleEvery > 0 && now - frozenSince >= frozen.trickleEvery * DRIBBLE_SHARE;
}

/** Whether a piece is on offer that has not been taken. */
export function isTrickling(frozen: Frozen): boolean {
  const { custody } = frozen;
  if (frozen.trickleOpen && (custody.fin || seqDiff(frozen.trickleEdge, custody.end) <= 0)) frozen.trickleOpen = false;
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
