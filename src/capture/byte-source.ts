/** A file as a window that moves over its bytes: sequential, in bounded memory, and always knowing its offset. */

const CHUNK = 1 << 20;

export class ByteSource {
  /** Offset in the file of the next byte that `take` delivers. */
  offset = 0;
  /** Bytes of the whole file; 0 where nobody knows. */
  readonly size: number;
  readonly #read: (target: Uint8Array) => number;
  #buffer = new Uint8Array(CHUNK);
  #view = new DataView(this.#buffer.buffer);
  #from = 0;
  #to = 0;
  #ended = false;

  /**
   * @param read fills the start of its argument, returns the number of bytes, 0 at the end
   * @param size of the whole, where it is known
   */
  constructor(read: (target: Uint8Array) => number, size = 0) {
    this.#read = read;
    this.size = size;
  }

  /** Bytes that are in memory and not yet taken; after a `has` that failed, all that the file has left. */
  get available(): number {
    return this.#to - this.#from;
  }

  /** Over the whole window; `at` says where the bytes of the last `has` or `take` begin. */
  get view(): DataView {
    return this.#view;
  }

  at = 0;

  /**
   * Whether the next `count` bytes are there; `at` says where in `view` they begin, until the next call. The caller bounds
   * `count`: the window grows to it.
   */
  has(count: number): boolean {
    if (this.#to - this.#from < count && !this.#fill(count)) return false;
    this.at = this.#from;
    return true;
  }

  /** As `has`, and moves on behind them when they are there. */
  take(count: number): boolean {
    if (!this.has(count)) return false;
    this.#from += count;
    this.offset += count;
    return true;
  }

  /** Whatever comes next, at least one byte; null at the end. */
  takeSome(): Uint8Array | null {
    const count = this.has(1) ? this.#to - this.#from : 0;
    return this.take(count) && count > 0 ? new Uint8Array(this.#view.buffer, this.at, count) : null;
  }

  #fill(count: number): boolean {
    if (this.#from > 0) {
      this.#buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    if (count > this.#buffer.length) {
      const grown = new Uint8Array(count);
      grown.set(this.#buffer.subarray(0, this.#to));
      this.#buffer = grown;
      this.#view = new DataView(grown.buffer);
    }
    while (this.#to < count && !this.#ended) {
      const got = this.#read(this.#buffer.subarray(this.#to));
      if (got === 0) this.#ended = true;
      this.#to += got;
    }
    return this.#to >= count;
  }
}
