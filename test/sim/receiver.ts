/**
 * The receiving half of a model endpoint: reassembly, the window it advertises, SACK and D-SACK blocks.
 * Positions are offsets in the peer's stream as plain numbers (first data byte 0, SYN at -1, FIN at its length), so
 * nothing here wraps around. Bytes are judged on arrival and not kept.
 */
import type { Content } from './content.ts';

export interface Interval {
  from: number;
  to: number;
}

/** What one segment did to the stream. */
export interface Arrival {
  /** It filled or made a gap, or brought nothing new: RFC 5681 4.2 wants an ACK at once. */
  readonly ackNow: boolean;
  /** Bytes (and FIN) that became readable in order. */
  readonly advanced: number;
  /** A range that had been received before, for D-SACK (RFC 2883). */
  readonly duplicate: Interval | null;
  /** Offset of the first byte that is not what the peer's stream has there, or -1. */
  readonly corruptAt: number;
}

export class Receiver {
  /** RCV.NXT. */
  rcvNxt = 0;
  /** Offset of the peer's FIN once known. */
  finAt = -1;
  /** The right edge that was advertised furthest: RCV.NXT + RCV.WND as the peer knows it. */
  rightEdge = 0;
  /** How far the application has read. */
  readUpTo = 0;
  /** Bytes that came, in order or not, more than once. */
  duplicateBytes = 0;

  readonly #buffer: number;
  readonly #mss: number;
  readonly #content: Content;
  /** Received beyond RCV.NXT, disjoint and ascending. */
  readonly #pieces: Interval[] = [];
  /** The pieces' left edges, most recently touched first (RFC 2018 section 4). */
  #recent: number[] = [];

  constructor(buffer: number, mss: number, content: Content) {
    this.#buffer = buffer;
    this.#mss = mss;
    this.#content = content;
  }

  get isFinished(): boolean {
    return this.finAt >= 0 && this.rcvNxt > this.finAt;
  }

  /** Data bytes received in order. */
  get received(): number {
    return this.isFinished ? this.rcvNxt - 1 : this.rcvNxt;
  }

  /**
   * Take a segment that begins at `from`, already cut to the window.
   * @param fin whether a FIN follows the payload
   */
  accept(bytes: Uint8Array, at: number, length: number, from: number, fin: boolean): Arrival {
    const corruptAt = this.#content.mismatch(bytes, at, length, from);
    if (fin) this.finAt = from + length;
    const to = from + length + (fin ? 1 : 0);
    const before = this.rcvNxt;
    const hadPieces = this.#pieces.length > 0;
    const duplicate = this.#duplicateOf(from, to);
    if (to > this.rcvNxt) this.#insert(Math.max(from, this.rcvNxt), to);
    const first = this.#pieces[0];
    if (first !== undefined && first.from <= this.rcvNxt) {
      this.rcvNxt = first.to;
      this.#pieces.shift();
    }
    return {
      ackNow: from > before || duplicate !== null || hadPieces || this.isFinished,
      advanced: this.rcvNxt - before,
      duplicate,
      corruptAt,
    };
  }

  /** Up to `limit` SACK blocks, most recent first; a D-SACK block, if given, leads. */
  sackBlocks(limit: number, duplicate: Interval | null): Interval[] {
    const blocks: Interval[] = duplicate === null ? [] : [duplicate];
    for (const left of this.#recent) {
      const piece = this.#pieces.find((candidate) => candidate.from <= left && left < candidate.to);
      if (piece === undefined || blocks.some((block) => block !== duplicate && block.from === piece.from)) continue;
      blocks.push({ from: piece.from, to: piece.to });
    }
    return blocks.slice(0, limit);
  }

  /**
   * The raw window field to advertise now, remembering the edge. Never moves the edge back (RFC 9293 3.8.6), and
   * moves it forward only by a segment or half the buffer (silly window avoidance, RFC 9293 3.8.6.2.2).
   */
  advertise(shift: number): number {
    const free = Math.max(0, this.#buffer - (this.received - this.readUpTo));
    let edge = this.rcvNxt + free;
    if (edge < this.rightEdge || edge - this.rightEdge < Math.min(this.#mss, this.#buffer / 2)) edge = this.rightEdge;
    let field = Math.floor((edge - this.rcvNxt) / 2 ** shift);
    if (this.rcvNxt + field * 2 ** shift < this.rightEdge) field++;
    field = Math.max(0, Math.min(0xffff, field));
    this.rightEdge = Math.max(this.rightEdge, this.rcvNxt + field * 2 ** shift);
    return field;
  }

  /** Whether reading has opened enough window to be worth telling the peer. */
  get wantsWindowUpdate(): boolean {
    const edge = this.rcvNxt + Math.max(0, this.#buffer - (this.received - this.readUpTo));
    const known = this.rightEdge - this.rcvNxt;
    return edge - this.rightEdge >= Math.min(2 * this.#mss, this.#buffer / 2) && known < this.#buffer / 2;
  }

  #duplicateOf(from: number, to: number): Interval | null {
    if (to <= from) return null;
    let found: Interval | null = null;
    if (from < this.rcvNxt) found = { from, to: Math.min(to, this.rcvNxt) };
    else {
      const piece = this.#pieces.find((candidate) => candidate.from < to && from < candidate.to);
      if (piece !== undefined) found = { from: Math.max(from, piece.from), to: Math.min(to, piece.to) };
    }
    if (found !== null) this.duplicateBytes += found.to - found.from;
    return found;
  }

  #insert(from: number, to: number): void {
    const pieces = this.#pieces;
    let index = 0;
    while (index < pieces.length && pieces[index]!.to < from) index++;
    let left = from;
    let right = to;
    let end = index;
    while (end < pieces.length && pieces[end]!.from <= to) {
      left = Math.min(left, pieces[end]!.from);
      right = Math.max(right, pieces[end]!.to);
      end++;
    }
    pieces.splice(index, end - index, { from: left, to: right });
    this.#recent = [left, ...this.#recent.filter((edge) => edge < left || edge >= right)].slice(0, 8);
  }
}
