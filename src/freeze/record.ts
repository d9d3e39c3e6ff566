/**
 * What the journal says of one held flow: everything a new process needs to go on where the old one ended. One function walks the
 * fields for writing and for reading, so the two cannot differ.
 *
 * A record is framed by its length and a checksum that the shell fills in (FRAME_BYTES in front of each). All numbers are
 * little-endian. Records are private to one version: another FORMAT is not read.
 */
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { seqDiff } from '../wire/seq.ts';
import type { Frozen } from './frozen.ts';

/** Changes with every change of the fields below. */
export const FORMAT = 1;
/** Length of the record (u32) and its CRC-32 (u32). */
export const FRAME_BYTES = 8;
/** Upper bound of a record without its custody bytes. */
export const STATE_BYTES_MAX = 512;

/** A flow is held; bytes of its custody follow. */
export const RECORD_HELD = 1;
/** A flow is no longer held. */
export const RECORD_ENDED = 2;
/** What cannot be learnt mid-stream of a connection; in a file of its own (engine/handshakes.ts). */
export const RECORD_HANDSHAKE = 3;

/** Key words of a flow: table.KEY_WORDS, repeated here as a part of the format. */
const KEY_WORDS = 10;

/** Writes fields, or reads them: each call returns the value that the field has afterwards. */
export interface FieldWalk {
  byte(value: number): number;
  /** 32 bits, signed: sequence numbers, timestamps, windows. */
  int(value: number): number;
  float(value: number): number;
  flag(value: boolean): boolean;
  /** At most 255 characters of ASCII. */
  text(value: string): string;
}

export class FieldWriter implements FieldWalk {
  readonly #view: DataView;
  at: number;

  /** @param at where to begin; the caller made sure of the room */
  constructor(view: DataView, at: number) {
    this.#view = view;
    this.at = at;
  }

  byte(value: number): number {
    this.#view.setUint8(this.at, value);
    this.at += 1;
    return value;
  }

  int(value: number): number {
    this.#view.setInt32(this.at, value, true);
    this.at += 4;
    return value;
  }

  float(value: number): number {
    this.#view.setFloat64(this.at, value, true);
    this.at += 8;
    return value;
  }

  flag(value: boolean): boolean {
    this.byte(value ? 1 : 0);
    return value;
  }

  text(value: string): string {
    this.byte(value.length);
    for (let i = 0; i < value.length; i++) this.byte(value.charCodeAt(i) & 0x7f);
    return value;
  }
}

/** @throws RangeError when the record is shorter than its fields, or a number is none; the caller drops it */
export class FieldReader implements FieldWalk {
  readonly #view: DataView;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  byte(): number {
    this.at += 1;
    return this.#view.getUint8(this.at - 1);
  }

  int(): number {
    this.at += 4;
    return this.#view.getInt32(this.at - 4, true);
  }

  float(): number {
    this.at += 8;
    const value = this.#view.getFloat64(this.at - 8, true);
    // All that is kept are durations, rates and times: one that is none would make a deadline that never comes, or always.
    if (!(value >= 0)) throw new RangeError('not a number from 0 on');
    return value;
  }

  flag(): boolean {
    return this.byte() !== 0;
  }

  text(): string {
    const length = this.byte();
    let value = '';
    for (let i = 0; i < length; i++) value += String.fromCharCode(this.byte());
    return value;
  }
}

function walkHalf(walk: FieldWalk, half: Half): void {
  half.sndNxt = walk.int(half.sndNxt);
  half.sndKnown = walk.flag(half.sndKnown);
  half.finSeq = walk.int(half.finSeq);
  half.finSent = walk.flag(half.finSent);
  half.tsVal = walk.int(half.tsVal);
  half.timestamps = walk.flag(half.timestamps);
  half.segmentSize = walk.int(half.segmentSize);
  half.ttl = walk.byte(half.ttl);
  half.trafficClass = walk.byte(half.trafficClass);
  half.flowLabel = walk.int(half.flowLabel);
  half.aceFlags = walk.int(half.aceFlags);
  half.accurateEcn = walk.flag(half.accurateEcn);
  half.rcvNxt = walk.int(half.rcvNxt);
  half.rcvKnown = walk.flag(half.rcvKnown);
  half.rcvWnd = walk.int(half.rcvWnd);
  half.rcvWndShift = walk.int(half.rcvWndShift);
  half.wl1 = walk.int(half.wl1);
  half.wl2 = walk.int(half.wl2);
  half.synEnd = walk.int(half.synEnd);
  half.synSeen = walk.flag(half.synSeen);
  half.scaleOffered = walk.flag(half.scaleOffered);
  half.mss = walk.int(half.mss);
  half.sackPermitted = walk.flag(half.sackPermitted);
  half.rightEdge = walk.int(half.rightEdge);
  half.userTimeout = walk.float(half.userTimeout);
  half.srtt = walk.float(half.srtt);
  half.minRtt = walk.float(half.minRtt);
  half.deliveryRate = walk.float(half.deliveryRate);
}

function walkFrozen(walk: FieldWalk, frozen: Frozen): void {
  frozen.inFlight = walk.int(frozen.inFlight);
  frozen.denied = walk.flag(frozen.denied);
  frozen.mute = walk.flag(frozen.mute);
  frozen.advanced = walk.flag(frozen.advanced);
  frozen.nearReset = walk.flag(frozen.nearReset);
  frozen.lastResort = walk.flag(frozen.lastResort);
  frozen.ended = walk.flag(frozen.ended);
  frozen.flightTsVal = walk.int(frozen.flightTsVal);
}

/** The fields of a flow that are not in its halves; `ports` are the names of the interfaces, '' where none is known. */
export interface HeldHead {
  /** Names the held flow among all that this journal has seen. */
  id: number;
  near: 0 | 1;
  frozenSince: Micros;
  lastSeenAt: Micros;
  readonly key: Int32Array;
  readonly ports: [string, string];
}

function walkHead(walk: FieldWalk, head: HeldHead): void {
  head.id = walk.float(head.id);
  head.near = walk.byte(head.near) === 1 ? 1 : 0;
  head.frozenSince = walk.float(head.frozenSince);
  head.lastSeenAt = walk.float(head.lastSeenAt);
  for (let i = 0; i < KEY_WORDS; i++) head.key[i] = walk.int(head.key[i]!);
  head.ports[0] = walk.text(head.ports[0]);
  head.ports[1] = walk.text(head.ports[1]);
}

export function emptyHead(): HeldHead {
  return { id: 0, near: 0, frozenSince: 0, lastSeenAt: 0, key: new Int32Array(KEY_WORDS), ports: ['', ''] };
}

/** Fills in the frame of a record that ends at `end`; the checksum is left 0. @returns offset after the record */
export function closeFrame(view: DataView, at: number, end: number): number {
  view.setUint32(at, end - at - FRAME_BYTES, true);
  view.setUint32(at + 4, 0, true);
  return end;
}

/**
 * Writes one record with its frame; the checksum is left 0.
 * @param from first sequence number whose byte is written: custody from there to its end
 * @returns offset after the record
 */
export function writeHeld(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  head: HeldHead,
  flow: Flow,
  frozen: Frozen,
  from: number,
): number {
  const walk = new FieldWriter(view, at + FRAME_BYTES);
  walk.byte(RECORD_HELD);
  walkHead(walk, head);
  walkHalf(walk, flow.halves[0]);
  walkHalf(walk, flow.halves[1]);
  walkFrozen(walk, frozen);
  const { custody } = frozen;
  const count = seqDiff(custody.dataEnd, from);
  walk.int(custody.base);
  walk.flag(custody.fin);
  walk.int(from);
  walk.int(count);
  const source = custody.offsetOf(from);
  bytes.set(custody.bytes.subarray(source, source + count), walk.at);
  return closeFrame(view, at, walk.at + count);
}

/** Writes the record that ends `id`, with its frame; returns the offset after it. */
export function writeEnded(view: DataView, at: number, id: number): number {
  const walk = new FieldWriter(view, at + FRAME_BYTES);
  walk.byte(RECORD_ENDED);
  walk.float(id);
  return closeFrame(view, at, walk.at);
}

/** Where the custody bytes of a record lie. */
export interface HeldBytes {
  readonly base: number;
  readonly fin: boolean;
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** Kind and identifier of a record (without its frame), null when it has none; the head is read by `readHeld`. */
export function peekRecord(record: Uint8Array): { readonly kind: number; readonly id: number } | null {
  const walk = new FieldReader(record, 0);
  try {
    return { kind: walk.byte(), id: walk.float() };
  } catch {
    return null;
  }
}

/** Reads the head alone. @throws RangeError when the record is too short */
export function readHead(record: Uint8Array, head: HeldHead): void {
  walkHead(new FieldReader(record, 1), head);
}

/** Reads the custody bytes alone, and applies state to `flow` and `frozen`. @throws RangeError when it is too short */
export function readHeld(record: Uint8Array, head: HeldHead, flow: Flow, frozen: Frozen): HeldBytes {
  const walk = new FieldReader(record, 1);
  walkHead(walk, head);
  walkHalf(walk, flow.halves[0]);
  walkHalf(walk, flow.halves[1]);
  walkFrozen(walk, frozen);
  const base = walk.int();
  const fin = walk.flag();
  const from = walk.int();
  const count = walk.int();
  if (count < 0 || walk.at + count !== record.length) throw new RangeError('record length');
  return { base, fin, from, bytes: record.subarray(walk.at, walk.at + count) };
}
