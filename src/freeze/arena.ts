/**
 * The arena: the fixed memory into which packets are read, and the retransmission buffer in one (theory of operation 4).
 *
 * Purpose.  Loss is noticed after segments were already lost, so whatever heads for a link that may fail has to be kept
 *           from the moment it passes. Nothing is copied: a packet is read into the next slot of a ring, worked on and
 *           written out from there, and simply not overwritten until the ring comes round.
 * Layout.   A slot is a header of SLOT_HEADER bytes and the packet as read. Slots are aligned to ALIGN bytes and never cross
 *           the end of the ring. Slots of one half connection form a list in sequence order, linked through the headers,
 *           so the descriptors need no memory of their own and are bounded by the ring.
 * Names.    A slot is known by its virtual offset: bytes ever allotted before it. Whether it still holds what it held is one
 *           comparison (`isIntact`), and stale references are harmless.
 * Limits.   Retention time is arena size / rate: 64 MiB hold 0.5 s at 1 Gb/s, which is many round trips.
 */
import { type Micros, NEVER } from '../base/time.ts';
import { type Half, NO_SLOT } from '../flow/half.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';

const ALIGN = 64;
/** next (f64), sentAt (f64), seq, end, TSval (i32 each), payload offset in the slot and packet length (15 + 17 bits). */
export const SLOT_HEADER = 32;
const AT_NEXT = 0;
const AT_SENT = 8;
const AT_SEQ = 16;
const AT_END = 20;
const AT_TSVAL = 24;
const AT_PLACE = 28;
const LENGTH_BITS = 17;
const LENGTH_MASK = (1 << LENGTH_BITS) - 1;

/** Most list entries looked at to place a segment that arrived out of order; beyond that it is not retained. */
const MAX_INSERT_WALK = 256;

export class Arena {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #size: number;
  /** Room that must stay free at the head: one slot of the largest packet. */
  readonly #reserve: number;
  #head = 0;
  #lapBase = 0;
  laps = 0;

  /**
   * @param buffer the ring's memory
   * @param readMax largest packet one read may deliver, virtio-net header included
   */
  constructor(buffer: ArrayBuffer, readMax: number) {
    this.#size = Math.floor(buffer.byteLength / ALIGN) * ALIGN;
    this.#reserve = Math.ceil((SLOT_HEADER + readMax) / ALIGN) * ALIGN;
    if (this.#size < 4 * this.#reserve) throw new RangeError('arena smaller than four packets');
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** Where the next packet has to be read. */
  get readOffset(): number {
    return this.#head - this.#lapBase + SLOT_HEADER;
  }

  /** Whether the slot has not been overwritten, nor will be by the next read. */
  isIntact(slot: number): boolean {
    return slot + this.#size >= this.#head + this.#reserve;
  }

  /**
   * Keeps the packet that was just read at `readOffset` as data of `half`, and moves on to the next slot.
   * @returns whether it was retained (it is not when the list already holds these bytes)
   */
  retain(half: Half, packet: Packet, now: Micros): boolean {
    const syn = packet.segLength > packet.payloadLength && (packet.flags & 0x02) !== 0 ? 1 : 0;
    const seq = (packet.seq + syn) | 0;
    const end = (seq + packet.payloadLength) | 0;
    const slot = this.#head;
    const at = slot - this.#lapBase;
    const { view } = this;
    // After out-of-order arrivals the last in sequence may be older than the first; both ends are touched below.
    if (half.heldHead !== NO_SLOT && !(this.isIntact(half.heldHead) && this.isIntact(half.heldTail))) this.forget(half);
    if (half.heldHead === NO_SLOT) {
      half.heldHead = slot;
      half.heldTail = slot;
      view.setFloat64(at + AT_NEXT, NO_SLOT);
    } else {
      const tail = this.#position(half.heldTail);
      if (seqGe(seq, view.getInt32(tail + AT_END))) {
        view.setFloat64(tail + AT_NEXT, slot);
        view.setFloat64(at + AT_NEXT, NO_SLOT);
        half.heldTail = slot;
      } else {
        half.ambiguous = true;
        half.ambiguousTo = half.sndNxt;
        if (!this.#insert(half, slot, seq, end)) return false;
      }
    }
    view.setFloat64(at + AT_SENT, now);
    view.setInt32(at + AT_SEQ, seq);
    view.setInt32(at + AT_END, end);
    view.setInt32(at + AT_TSVAL, packet.tsVal);
    view.setInt32(at + AT_PLACE, ((packet.payloadAt - at) << LENGTH_BITS) | packet.length);
    this.#advance(packet.start + packet.length - at);
    return true;
  }

  /** Places a segment that starts before the end of the list; false when its bytes are there already. */
  #insert(half: Half, slot: number, seq: number, end: number): boolean {
    const { view } = this;
    let previous = NO_SLOT;
    let current = half.heldHead;
    let covered = seq;
    for (let steps = 0; current !== NO_SLOT; steps++) {
      if (steps > MAX_INSERT_WALK || !this.isIntact(current)) return false;
      const at = this.#position(current);
      const currentSeq = view.getInt32(at + AT_SEQ);
      const currentEnd = view.getInt32(at + AT_END);
      if (seqLe(currentSeq, covered) && seqGt(currentEnd, covered)) covered = currentEnd;
      if (seqGe(covered, end)) return false;
      if (seqGt(currentSeq, seq)) break;
      previous = current;
      current = view.getFloat64(at + AT_NEXT);
    }
    view.setFloat64(slot - this.#lapBase + AT_NEXT, current);
    if (previous === NO_SLOT) half.heldHead = slot;
    else view.setFloat64(this.#position(previous) + AT_NEXT, slot);
    if (current === NO_SLOT) half.heldTail = slot;
    return true;
  }

  /**
   * Drops what the peer acknowledged, and takes a round-trip sample from the newest packet that it covers.
   * @param ack the peer's RCV.NXT
   */
  release(half: Half, ack: number, now: Micros): void {
    const { view } = this;
    let slot = half.heldHead;
    let sentAt = -1;
    while (slot !== NO_SLOT) {
      if (!this.isIntact(slot)) {
        this.forget(half);
        return;
      }
      const at = this.#position(slot);
      if (seqGt(view.getInt32(at + AT_END), ack)) break;
      sentAt = view.getFloat64(at + AT_SENT);
      slot = view.getFloat64(at + AT_NEXT);
    }
    half.heldHead = slot;
    if (slot === NO_SLOT) half.heldTail = NO_SLOT;
    // Karn: after a retransmission it is unknown which copy was acknowledged (RFC 6298 3).
    if (sentAt < 0) return;
    if (half.ambiguous && seqLe(ack, half.ambiguousTo)) return;
    half.ambiguous = false;
    half.onRoundTrip(now - sentAt, now);
  }

  /** Forgets everything retained of `half`; the memory itself comes round by itself. */
  forget(half: Half): void {
    half.heldHead = NO_SLOT;
    half.heldTail = NO_SLOT;
  }

  /**
   * Unlinks retained packets that `isSound` rejects. A router forwards what fails its TCP checksum and leaves it to the
   * endpoints; custody must not put a good checksum on it.
   * @param isSound gets the offset in the arena and the length of a packet as it was read
   */
  discardUnsound(half: Half, isSound: (offset: number, length: number) => boolean): void {
    const { view } = this;
    let previous = NO_SLOT;
    for (let slot = half.heldHead; slot !== NO_SLOT; ) {
      if (!this.isIntact(slot)) return;
      const at = this.#position(slot);
      const next = view.getFloat64(at + AT_NEXT);
      if (isSound(at + SLOT_HEADER, view.getInt32(at + AT_PLACE) & LENGTH_MASK)) previous = slot;
      else {
        if (previous === NO_SLOT) half.heldHead = next;
        else view.setFloat64(this.#position(previous) + AT_NEXT, next);
        if (next === NO_SLOT) half.heldTail = previous;
      }
      slot = next;
    }
  }

  /**
   * First sequence number from `from` on that is not retained: `to` or later when [from, to) is complete.
   */
  coveredTo(half: Half, from: number, to: number): number {
    const { view } = this;
    let covered = from;
    for (let slot = half.heldHead; slot !== NO_SLOT && seqLt(covered, to); ) {
      if (!this.isIntact(slot)) break;
      const at = this.#position(slot);
      if (seqGt(view.getInt32(at + AT_SEQ), covered)) break;
      const end = view.getInt32(at + AT_END);
      if (seqGt(end, covered)) covered = end;
      slot = view.getFloat64(at + AT_NEXT);
    }
    return covered;
  }

  /**
   * Copies retained bytes [from, to), which `coveredTo` found complete, to `target` at `targetAt`.
   */
  copy(half: Half, from: number, to: number, target: Uint8Array, targetAt: number): void {
    const { view, bytes } = this;
    let covered = from;
    let at = targetAt;
    for (let slot = half.heldHead; slot !== NO_SLOT && seqLt(covered, to); ) {
      const position = this.#position(slot);
      const seq = view.getInt32(position + AT_SEQ);
      const end = view.getInt32(position + AT_END);
      if (seqGt(end, covered)) {
        const skip = seqDiff(covered, seq);
        const count = Math.min(seqDiff(end, covered), seqDiff(to, covered));
        const payload = position + (view.getInt32(position + AT_PLACE) >>> LENGTH_BITS) + skip;
        target.set(bytes.subarray(payload, payload + count), at);
        at += count;
        covered = (covered + count) | 0;
      }
      slot = view.getFloat64(position + AT_NEXT);
    }
  }

  /** When the first retained packet was sent; NEVER when nothing is. */
  headSentAt(half: Half): Micros {
    const slot = half.heldHead;
    return slot === NO_SLOT || !this.isIntact(slot) ? NEVER : this.view.getFloat64(this.#position(slot) + AT_SENT);
  }

  /** TSval of the retained packet that was the first to carry `seq`, or `fallback`. */
  firstTsVal(half: Half, seq: number, fallback: number): number {
    const { view } = this;
    let tsVal = fallback;
    let sentAt = Number.POSITIVE_INFINITY;
    for (let slot = half.heldHead; slot !== NO_SLOT && this.isIntact(slot); ) {
      const at = this.#position(slot);
      if (seqGt(view.getInt32(at + AT_SEQ), seq)) break;
      if (seqGt(view.getInt32(at + AT_END), seq) && view.getFloat64(at + AT_SENT) < sentAt) {
        sentAt = view.getFloat64(at + AT_SENT);
        tsVal = view.getInt32(at + AT_TSVAL);
      }
      slot = view.getFloat64(at + AT_NEXT);
    }
    return tsVal;
  }

  #advance(length: number): void {
    this.#head += Math.ceil(length / ALIGN) * ALIGN;
    if (this.#head - this.#lapBase + this.#reserve > this.#size) {
      this.#lapBase += this.#size;
      this.#head = this.#lapBase;
      this.laps++;
    }
  }

  /** Byte position of an intact slot: it is of this lap or of the one before. */
  #position(slot: number): number {
    return slot >= this.#lapBase ? slot - this.#lapBase : slot - this.#lapBase + this.#size;
  }
}
