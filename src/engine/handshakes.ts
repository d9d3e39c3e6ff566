/**
 * Handshakes: what only the handshake of a connection tells, kept so that it survives the process. A gateway that is started anew
 * while connections flow learns sequence numbers, timestamps and windows from what passes, but a window scale is said once.
 *
 * Written.  When a handshake is complete and a second old (most connections of the web never get there), again when the connection has
 *           moved on by MOVED bytes, and all of them when the process is told to end. In batches of a second, never synced: what a
 *           power cut would take is of no use in another boot. Without a journal nothing is kept.
 * Size.     One record per tracked connection; when as many are void as are valid, the file is written anew.
 * Believed. A segment from the middle of a connection whose SEG.SEQ and SEG.ACK both lie where this connection can have got to: ports
 *           used again for another one meanwhile fit by chance once in 64 times, and then only where its SYN was not seen.
 *           A SYN voids what is remembered of its ports.
 * References. RFC 7323 2.2 (window scale is said in SYN segments alone); freeze/record.ts for the frames.
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import type { FlowTable } from '../flow/table.ts';
import {
  closeFrame,
  FieldReader,
  type FieldWalk,
  FieldWriter,
  FRAME_BYTES,
  RECORD_HANDSHAKE,
} from '../freeze/record.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';

/** How long what was said is gathered. */
const GATHER: Micros = seconds(1);
/** After a failure it is tried again. */
const RETRY: Micros = seconds(60);
/** Bytes after which a connection is written again; looked at by the table's sweep, every 30 s. */
const MOVED = 2 ** 26;
/** Most that it may have moved since: MOVED, what passes at 100 Mb/s between two sweeps, and some. */
const AHEAD = 2 ** 29;
/** Late retransmissions, keepalives and probes. */
const BEHIND = 2 ** 24;
/** Void records beside valid ones, before the file is written anew. */
const SLACK_RECORDS = 4_096;
/** Room of one framed record. */
const RECORD_BYTES = FRAME_BYTES + 1 + 4 * KEY_WORDS + 8 + 2 * 24;
/** Idle for longer, a connection is no longer tracked either (engine/admission.ts). */
const LIFETIME: Micros = seconds(432_000);

/** One write of the table; the checksums are still 0. */
export interface HandshakeBatch {
  readonly buffer: ArrayBuffer;
  readonly length: number;
  /** It says everything: what was written before is void. */
  readonly fresh: boolean;
}

/** State of a flow here, in `Flow.handshake`. */
const UNKNOWN = 0;
const MARKED = 1;
const WRITTEN = 2;

/** What is kept of one end. */
interface Said {
  sndNxt: number;
  rcvWndShift: number;
  mss: number;
  sackPermitted: boolean;
  timestamps: boolean;
  accurateEcn: boolean;
  userTimeout: number;
}

function walkSaid(walk: FieldWalk, said: Said): void {
  said.sndNxt = walk.int(said.sndNxt);
  said.rcvWndShift = walk.byte(said.rcvWndShift);
  said.mss = walk.int(said.mss);
  said.sackPermitted = walk.flag(said.sackPermitted);
  said.timestamps = walk.flag(said.timestamps);
  said.accurateEcn = walk.flag(said.accurateEcn);
  said.userTimeout = walk.float(said.userTimeout);
}

const emptySaid = (): Said => ({
  sndNxt: 0,
  rcvWndShift: 0,
  mss: -1,
  sackPermitted: false,
  timestamps: false,
  accurateEcn: false,
  userTimeout: 0,
});

/** A connection of an earlier process that was not heard of since. */
interface Remembered {
  readonly key: Int32Array;
  readonly lastSeenAt: Micros;
  readonly ends: readonly [Said, Said];
}

export class Handshakes {
  readonly #table: FlowTable;
  readonly #isOff: boolean;
  /** By the hash of both endpoints; where two connections share one, the newer stays. */
  readonly #remembered = new Map<number, Remembered>();
  #marked: Flow[] = [];
  /** Tracked connections that are written, or about to be. */
  #live = 0;
  /** Records in the file. */
  #records = 0;
  #wantsFresh = true;
  #isDue = false;
  /** When `run` has something to do. */
  deadline: Micros = NEVER;

  /** @param isKept whether there is a place to keep them: a journal */
  constructor(table: FlowTable, isKept: boolean) {
    this.#table = table;
    this.#isOff = !isKept;
  }

  /** Connections of earlier processes that were not heard of since. */
  get remembered(): number {
    return this.#remembered.size;
  }

  /** The handshake of `flow` is known now, or the flow has got on. */
  mark(flow: Flow, now: Micros): void {
    const [a, b] = flow.halves;
    if (this.#isOff || flow.handshake === MARKED || a.rcvWndShift < 0 || b.rcvWndShift < 0) return;
    if (flow.handshake === UNKNOWN) this.#live++;
    flow.handshake = MARKED;
    this.#marked.push(flow);
    if (this.deadline === NEVER) this.deadline = now + GATHER;
  }

  /** Now and then: whether `flow` has moved so far that what is written no longer describes it. */
  look(flow: Flow, now: Micros): void {
    if (flow.handshake === WRITTEN && (hasMoved(flow.halves[0]) || hasMoved(flow.halves[1]))) this.mark(flow, now);
  }

  /** The flow is about to be forgotten. */
  forget(flow: Flow): void {
    if (flow.handshake === UNKNOWN) return;
    flow.handshake = UNKNOWN;
    this.#live--;
  }

  /** A new connection between the endpoints of `flow`, or one that is known better from elsewhere: what is remembered is void. */
  discard(flow: Flow): void {
    if (this.#remembered.size > 0) this.#remembered.delete(this.#table.fingerprint(flow));
  }

  /**
   * `flow` was just made for a segment from the middle of a connection. If it is one that is remembered, its ends get back what they said,
   * and the originator its place.
   * @returns whether it is
   */
  recognise(flow: Flow, packet: Packet, now: Micros): boolean {
    if (this.#remembered.size === 0) return false;
    const name = this.#table.fingerprint(flow);
    const found = this.#remembered.get(name);
    if (found === undefined) return false;
    const from = this.#table.orientation(flow, found.key);
    if (from < 0) return false;
    this.#remembered.delete(name);
    const sender = found.ends[from === 0 ? 0 : 1];
    const receiver = found.ends[from === 0 ? 1 : 0];
    // Both had agreed on timestamps; one end may not have been heard since it was recognised last.
    const hadTimestamps = sender.timestamps || receiver.timestamps;
    if (!canBe(packet.seq, sender) || !canBe(packet.ack, receiver) || packet.tsAt >= 0 !== hadTimestamps) return false;
    if (from === 1) this.#table.turn(flow);
    for (const half of [0, 1] as const) restore(flow.halves[half], found.ends[half]);
    this.mark(flow, now);
    return true;
  }

  /** When due: what was gathered may be polled. */
  run(now: Micros): void {
    if (this.deadline > now) return;
    this.deadline = NEVER;
    this.#isDue = true;
  }

  /**
   * The next write, or null when nothing is due.
   * @param isLast the process ends: everything is written as it is now
   */
  poll(isLast: boolean): HandshakeBatch | null {
    if (this.#isOff || (!this.#isDue && !isLast)) return null;
    this.#isDue = false;
    if (isLast || this.#records > 2 * (this.#live + this.#remembered.size) + SLACK_RECORDS) this.#wantsFresh = true;
    const fresh = this.#wantsFresh;
    if (fresh) this.#markAll();
    const count = this.#marked.length + (fresh ? this.#remembered.size : 0);
    if (count === 0 && !fresh) return null;
    const buffer = new ArrayBuffer(count * RECORD_BYTES);
    const view = new DataView(buffer);
    let at = 0;
    // What is remembered comes first: of two records of one connection the last counts.
    if (fresh)
      for (const { key, lastSeenAt, ends } of this.#remembered.values()) at = write(view, at, key, 0, lastSeenAt, ends);
    for (const flow of this.#marked) {
      // It was forgotten meanwhile, or is in the list twice.
      if (flow.handshake !== MARKED) continue;
      flow.handshake = WRITTEN;
      for (const half of flow.halves) half.writtenNxt = half.sndNxt;
      at = write(view, at, this.#table.keys, flow.index * KEY_WORDS, flow.lastSeenAt, flow.halves);
    }
    this.#marked = [];
    this.#wantsFresh = false;
    this.#records = (fresh ? 0 : this.#records) + Math.round(at / RECORD_BYTES);
    return { buffer, length: at, fresh };
  }

  #markAll(): void {
    this.#marked = [];
    this.#table.forEach((flow) => {
      if (flow.handshake === UNKNOWN) return;
      flow.handshake = MARKED;
      this.#marked.push(flow);
    });
  }

  /** The file could not be written, and nothing in it counts. */
  onLost(now: Micros): void {
    this.#wantsFresh = true;
    this.deadline = now + RETRY;
  }

  /**
   * Takes up what an earlier process wrote. Call once, before the first packet.
   * @param records bodies of the intact records, oldest first; malformed ones are left out
   * @returns how many connections are remembered
   */
  remember(records: readonly Uint8Array[], now: Micros): number {
    if (this.#isOff) return 0;
    for (const record of records) {
      const entry = parse(record);
      if (entry === null || now - entry.lastSeenAt > LIFETIME) continue;
      const name = this.#table.fingerprintOf(entry.key);
      // Deleted first, so that the order is that of the last word.
      this.#remembered.delete(name);
      this.#remembered.set(name, entry);
    }
    // The oldest give way.
    for (const name of this.#remembered.keys()) {
      if (this.#remembered.size <= this.#table.capacity) break;
      this.#remembered.delete(name);
    }
    return this.#remembered.size;
  }
}

function hasMoved(half: Half): boolean {
  const moved = seqDiff(half.sndNxt, half.writtenNxt);
  return moved < 0 || moved > MOVED;
}

function canBe(seq: number, said: Said): boolean {
  const distance = seqDiff(seq, said.sndNxt);
  return distance >= -BEHIND && distance <= AHEAD;
}

function restore(half: Half, said: Said): void {
  half.rcvWndShift = said.rcvWndShift;
  half.mss = said.mss;
  half.sackPermitted = said.sackPermitted;
  half.accurateEcn = said.accurateEcn;
  half.userTimeout = said.userTimeout;
}

/** Writes one record with its frame, the checksum left 0. @returns offset after it */
function write(
  view: DataView,
  at: number,
  keys: Int32Array,
  keyAt: number,
  lastSeenAt: Micros,
  ends: readonly [Said, Said],
): number {
  const walk = new FieldWriter(view, at + FRAME_BYTES);
  walk.byte(RECORD_HANDSHAKE);
  for (let i = 0; i < KEY_WORDS; i++) walk.int(keys[keyAt + i]!);
  walk.float(lastSeenAt);
  walkSaid(walk, ends[0]);
  walkSaid(walk, ends[1]);
  return closeFrame(view, at, walk.at);
}

function parse(record: Uint8Array): Remembered | null {
  try {
    const walk = new FieldReader(record, 0);
    if (walk.byte() !== RECORD_HANDSHAKE) return null;
    const key = new Int32Array(KEY_WORDS);
    for (let i = 0; i < KEY_WORDS; i++) key[i] = walk.int();
    const lastSeenAt = walk.float();
    const ends: [Said, Said] = [emptySaid(), emptySaid()];
    for (const said of ends) walkSaid(walk, said);
    const isWhole = walk.at === record.length && (key[9] === 4 || key[9] === 6);
    // RFC 7323 2.3: 14 is the largest shift.
    return isWhole && ends.every(({ rcvWndShift }) => rcvWndShift <= 14) ? { key, lastSeenAt, ends } : null;
  } catch {
    return null;
  }
}
