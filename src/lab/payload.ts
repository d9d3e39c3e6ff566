/** What a bulk transfer carries: bytes that depend on a seed only, and their digest. */
import { Buffer } from 'node:buffer';
import { createCipheriv, createHash } from 'node:crypto';

/** Bytes per piece: one write to the socket. */
const PIECE_BYTES = 65_536;
const ZEROES = Buffer.alloc(PIECE_BYTES);

/**
 * Pseudo-random bytes: an AES-128-CTR key stream, fast and without any repetition that could hide a misplaced segment.
 * For tests of transport only, no secrecy is meant.
 */
export class DataSource {
  readonly #cipher;
  #left: number;

  /** @param bytes how many there are; absent: no end */
  constructor(seed: number, bytes?: number) {
    const key = Buffer.alloc(16);
    key.writeUInt32BE(seed >>> 0);
    this.#cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
    this.#left = bytes ?? Number.POSITIVE_INFINITY;
  }

  /** The next piece, or undefined at the end. */
  next(): Buffer | undefined {
    if (this.#left <= 0) return undefined;
    const length = Math.min(this.#left, PIECE_BYTES);
    this.#left -= length;
    return this.#cipher.update(length === PIECE_BYTES ? ZEROES : ZEROES.subarray(0, length));
  }
}

/** SHA-256 and count of the bytes that passed. */
export class Digest {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  add(data: Uint8Array): void {
    this.#hash.update(data);
    this.#bytes += data.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Once only. */
  hex(): string {
    return this.#hash.digest('hex');
  }
}
