/**
 * Packets that the gateway itself makes, waiting to be written. A ring of records in memory that the shell owns, so
 * that it can hand their addresses to the kernel. When it is full a sender is told so and tries again later; nothing
 * that must be delivered depends on one particular packet.
 */

import type { Flow } from '../flow/flow.ts';
import type { Note } from '../flow/note.ts';

/** Records start at multiples of this. */
const ALIGN = 8;
/** Words of a record: offset, length, note, half in whose name it was made, phase and custody of the flow. */
const RECORD_WORDS = 6;

export class Outbox {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #size: number;
  /** Of waiting packets; RECORD_WORDS each. */
  readonly #records: Int32Array;
  readonly #flows: (Flow | null)[];
  readonly #recordMask: number;
  #first = 0;
  #next = 0;
  #writeAt = 0;

  constructor(buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#size = buffer.byteLength;
    let records = 1;
    while (records * 64 < buffer.byteLength) records *= 2;
    this.#records = new Int32Array(records * RECORD_WORDS);
    this.#flows = new Array<Flow | null>(records).fill(null);
    this.#recordMask = records - 1;
  }

  /** Number of waiting packets. */
  get pending(): number {
    return this.#next - this.#first;
  }

  /**
   * Offset at which a packet of at most `length` bytes may be built, or -1 when there is no room now.
   */
  reserve(length: number): number {
    if (this.pending > this.#recordMask) return -1;
    if (this.pending === 0) {
      this.#writeAt = 0;
      return length <= this.#size ? 0 : -1;
    }
    const oldest = this.#records[(this.#first & this.#recordMask) * RECORD_WORDS]!;
    if (this.#writeAt > oldest) {
      if (this.#writeAt + length <= this.#size) return this.#writeAt;
      if (length < oldest) {
        this.#writeAt = 0;
        return 0;
      }
      return -1;
    }
    return this.#writeAt + length < oldest ? this.#writeAt : -1;
  }

  /**
   * The packet at the reserved offset is complete.
   * @param flow what it is about
   * @param from half in whose name it was made
   * @param note NOTE number (flow/note.ts)
   */
  commit(offset: number, length: number, flow: Flow | null, from: 0 | 1, note: number): void {
    const at = this.#next & this.#recordMask;
    const record = at * RECORD_WORDS;
    this.#flows[at] = flow;
    this.#records[record] = offset;
    this.#records[record + 1] = length;
    this.#records[record + 2] = note;
    this.#records[record + 3] = from;
    this.#records[record + 4] = flow === null ? 0 : flow.phase;
    this.#records[record + 5] = flow === null || flow.frozen === null ? 0 : flow.frozen.custodyBytes;
    this.#next++;
    this.#writeAt = offset + Math.ceil(length / ALIGN) * ALIGN;
  }

  /** Offset of the next packet to write; meaningful when `take` returned a length. */
  offset = 0;

  /**
   * Takes the oldest packet. Its bytes stay until the next `commit`.
   * @param note gets what was done, and how the flow stood then
   * @returns its length, 0 when there is none
   */
  take(note: Note): number {
    if (this.pending === 0) return 0;
    const at = this.#first & this.#recordMask;
    const record = at * RECORD_WORDS;
    this.offset = this.#records[record]!;
    const length = this.#records[record + 1]!;
    note.code = this.#records[record + 2]!;
    note.from = this.#records[record + 3] === 0 ? 0 : 1;
    note.phase = this.#records[record + 4]!;
    note.custodyBytes = this.#records[record + 5]! >>> 0;
    note.flow = this.#flows[at]!;
    this.#first++;
    return length;
  }
}
