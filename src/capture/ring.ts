/**
 * The ring between the datapath and the thread that writes a capture: bytes in shared memory, one writer, one reader, no locks.
 *
 * Theory of operation
 *
 * Purpose. The datapath must never wait for a disk or a pipe. It copies what is captured into the ring and goes on; when there is
 *          no room it drops and counts.
 * Layout.  CONTROL int32 words (head, tail and flags), COUNTERS doubles, then the ring, whose size is a power of two. Records start
 *          at multiples of ALIGN and never cross the end; what is left there is skipped by a record of type SKIP.
 * Order.   The writer fills a record, then publishes it by storing the head; the reader loads the head before it reads, and stores the
 *          tail when it is done. Both are Atomics, so the record is seen whole. Head and tail count bytes modulo 2^32.
 * Limits.  One record is at most a quarter of the ring.
 */
import { COUNTERS_BYTES_OF_RING, counterAt, type RingCounter } from './ring-counters.ts';

const ALIGN = 8;
/** Words of control: head, tail, end flag, bytes under way to a reader elsewhere; the rest keeps them apart from the counters. */
const CONTROL_WORDS = 16;
const HEAD = 0;
const TAIL = 1;
const ENDED = 2;
const UNDER_WAY = 3;
const DATA_AT = CONTROL_WORDS * 4 + COUNTERS_BYTES_OF_RING;

/** Length of every record's own header: length, type. */
export const RECORD_HEADER = 8;
const SKIP = 0;

export class Ring {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly counters: Float64Array;
  readonly #control: Int32Array;
  readonly #size: number;
  /** Offset in `bytes` of the record that is being written or read. */
  at = 0;
  #head: number;
  #tail: number;

  /** Memory for a ring. @param size of the data, a power of two, at least 64 KiB */
  static allocate(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer(DATA_AT + size);
  }

  /** Makes used memory as good as new; what its records held stays, and is never read. Nobody may have a view of it any more. */
  static clear(memory: SharedArrayBuffer): void {
    new Uint8Array(memory, 0, DATA_AT).fill(0);
  }

  /** A view of a ring, for its writer or its reader. */
  constructor(memory: SharedArrayBuffer) {
    this.#size = memory.byteLength - DATA_AT;
    this.#control = new Int32Array(memory, 0, CONTROL_WORDS);
    this.counters = new Float64Array(memory, CONTROL_WORDS * 4, COUNTERS_BYTES_OF_RING / 8);
    this.bytes = new Uint8Array(memory, DATA_AT, this.#size);
    this.words = new Int32Array(memory, DATA_AT, this.#size >> 2);
    this.doubles = new Float64Array(memory, DATA_AT, this.#size >> 3);
    this.#head = Atomics.load(this.#control, HEAD);
    this.#tail = Atomics.load(this.#control, TAIL);
  }

  /** Counts one packet of an interface. */
  count(counter: RingCounter, interfaceIndex: number): void {
    this.counters[counterAt(counter, interfaceIndex)]! += 1;
  }

  /**
   * Writer: finds room for a record.
   * @param length of the record with its header
   * @returns false when there is none now; else `at` is where it goes, and `publish` makes it visible
   */
  reserve(length: number): boolean {
    const size = this.#size;
    const rounded = (length + ALIGN - 1) & ~(ALIGN - 1);
    if (rounded > size >> 2) return false;
    const offset = this.#head & (size - 1);
    const left = size - offset;
    const needed = rounded <= left ? rounded : left + rounded;
    if (needed > size - ((this.#head - this.#tail) | 0)) {
      this.#tail = Atomics.load(this.#control, TAIL);
      if (needed > size - ((this.#head - this.#tail) | 0)) return false;
    }
    if (rounded > left) {
      this.words[offset >> 2] = left;
      this.words[(offset >> 2) + 1] = SKIP;
      this.#head = (this.#head + left) | 0;
      this.at = 0;
    } else this.at = offset;
    return true;
  }

  /** Writer: the record at `at` is complete. @param type 1 or more */
  publish(length: number, type: number): void {
    const rounded = (length + ALIGN - 1) & ~(ALIGN - 1);
    this.words[this.at >> 2] = rounded;
    this.words[(this.at >> 2) + 1] = type;
    this.#head = (this.#head + rounded) | 0;
    Atomics.store(this.#control, HEAD, this.#head);
  }

  /** Reader: type of the next record, whose place is `at`; 0 when there is none. Call `release` when done with it. */
  next(): number {
    for (;;) {
      if (this.#head === this.#tail) {
        this.#head = Atomics.load(this.#control, HEAD);
        if (this.#head === this.#tail) return 0;
      }
      this.at = this.#tail & (this.#size - 1);
      const type = this.words[(this.at >> 2) + 1]!;
      if (type !== SKIP) return type;
      this.#tail = (this.#tail + this.words[this.at >> 2]!) | 0;
    }
  }

  /** Reader: the record is done with. Its room is given back by `giveBack`. */
  release(): void {
    this.#tail = (this.#tail + this.words[this.at >> 2]!) | 0;
  }

  /** Reader: the writer may use the room of all records released so far. */
  giveBack(): void {
    Atomics.store(this.#control, TAIL, this.#tail);
  }

  /** Says that nothing more will be written; wakes the reader. */
  end(): void {
    Atomics.store(this.#control, ENDED, 1);
    Atomics.notify(this.#control, ENDED);
  }

  get isEnded(): boolean {
    return Atomics.load(this.#control, ENDED) !== 0;
  }

  /** Reader: sleeps until `end` is called, at most for the time given. */
  sleep(millis: number): void {
    Atomics.wait(this.#control, ENDED, 0, millis);
  }

  /** Bytes that the reader has handed to somebody who has not yet taken them. */
  get underWay(): number {
    return Atomics.load(this.#control, UNDER_WAY);
  }

  addUnderWay(bytes: number): void {
    Atomics.add(this.#control, UNDER_WAY, bytes);
  }
}
