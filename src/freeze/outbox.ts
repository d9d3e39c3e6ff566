/**
 * Packets that the gateway itself makes, waiting to be written. A ring of records in memory that the shell owns, so
 * that it can hand their addresses to the kernel. When it is full a sender is told so and tries again later; nothing
 * that must be delivered depends on one particular packet.
 */

/** Records start at multiples of this. */
const ALIGN = 8;

export class Outbox {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #size: number;
  /** Offset and length pairs of waiting packets. */
  readonly #records: Int32Array;
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
    this.#records = new Int32Array(records * 2);
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
    const oldest = this.#records[(this.#first & this.#recordMask) * 2]!;
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

  /** The packet at the reserved offset is complete. */
  commit(offset: number, length: number): void {
    const record = (this.#next & this.#recordMask) * 2;
    this.#records[record] = offset;
    this.#records[record + 1] = length;
    this.#next++;
    this.#writeAt = offset + Math.ceil(length / ALIGN) * ALIGN;
  }

  /** Offset of the next packet to write; meaningful when `take` returned a length. */
  offset = 0;

  /** Takes the oldest packet; returns its length, 0 when there is none. Its bytes stay until the next `commit`. */
  take(): number {
    if (this.pending === 0) return 0;
    const record = (this.#first & this.#recordMask) * 2;
    this.offset = this.#records[record]!;
    const length = this.#records[record + 1]!;
    this.#first++;
    return length;
  }
}
