/** A file as a window that moves over its bytes: sequential, in bounded memory, and always knowing its offset. */

const CHUNK = 1 << 20;

export class ByteSource {
  /** Offset in the file of the next byte that `take` delivers. */
  offset = 0;
  readonly #read: (target: Uint8Array) => number;
  #buffer = new Uint8Array(CHUNK);
  #view = new DataView(this.#buffer.buffer);
  #from = 0;
  #to = 0;
  #ended = false;

  /** @param read fills the start of its argument, returns the number of bytes, 0 at the end */
  constructor(read: (target: Uint8Array) => number) {
    this.#read = read;
  }

  /** Bytes that are in memory and not yet taken; after a `peek` that failed, all that the file has left. */
  get available(): number {
    return this.#to - this.#from;
  }

  /** Over the whole window; `at` says where the bytes of the last `peek` or `take` begin. */
  get view(): DataView {
    return this.#view;
  }

  at = 0;

  /**
   * The next `count` bytes without taking them; null when the file ends before. Valid until the next call.
   * The caller bounds `count`: the window grows to it.
   */
  peek(count: number): Uint8Array | null {
    if (this.#to - this.#from < count && !this.#fill(count)) return null;
    this.at = this.#from;
    return this.#buffer.subarray(this.#from, this.#from + count);
  }

  /** As `peek`, and moves on. */
  take(count: number): Uint8Array | null {
    const bytes = this.peek(count);
    if (bytes !== null) {
      this.#from += count;
      this.offset += count;
    }
    return bytes;
  }

  /** Whatever comes next, at least one byte; null at the end. */
  takeSome(): Uint8Array | null {
    return this.peek(1) === null ? null : this.take(this.#to - this.#from);
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
