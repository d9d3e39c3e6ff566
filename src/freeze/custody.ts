/**
 * Custody: bytes that the gateway has acknowledged in the far peer's name and must deliver (theory of operation 2, 5).
 * A contiguous piece of one direction's byte stream, [base, end), with an optional FIN behind it. Segment boundaries are
 * not kept: TCP promises a byte stream, and replay cuts it to the size that the path took before.
 */
import { type Host, shareOf } from '../flow/hosts.ts';
import { seqDiff } from '../wire/seq.ts';

/** Granularity of growth; small enough that a thousand idle flows cost nothing. */
const CHUNK = 4_096;

/** Sum of all custody, with the limits it must respect. */
export class CustodyBudget {
  /** May change while it is used; what is held already stays. */
  perFlow: number;
  total: number;
  /** Bytes are written to a journal before they may be acknowledged (journal.ts). */
  readonly journalled: boolean;
  used = 0;
  /** The journal cannot be written: nothing is taken. */
  closed = false;

  /**
   * @param perFlow most bytes for one flow; 0 denies custody
   * @param total most bytes for all flows
   */
  constructor(perFlow: number, total: number, journalled = false) {
    this.perFlow = perFlow;
    this.total = total;
    this.journalled = journalled;
  }

  /**
   * Bytes that a flow holding `held` may still take.
   * @param host who is charged for it; null: nobody, then only the total limits
   */
  room(held: number, host: Host | null): number {
    if (this.closed) return 0;
    const share = host === null ? this.total - this.used : shareOf(host.custodyBytes, this.used, this.total);
    return Math.max(0, Math.min(this.perFlow - held, share));
  }

  /**
   * Whether a flow holding `held` may have `count` bytes back that an earlier process has acknowledged. Shares do not count: they depend
   * on who came first, and what was acknowledged must not be lost.
   */
  canHold(held: number, count: number): boolean {
    return !this.closed && held + count <= this.perFlow && this.used + count <= this.total;
  }
}

export class Custody {
  readonly #budget: CustodyBudget;
  readonly #host: Host | null;
  /** Taking more is denied by policy. */
  isDenied = false;
  /** First byte not yet acknowledged by the far peer. */
  base: number;
  /** Bytes held from `base` on. */
  length = 0;
  /** A FIN follows the last byte; it takes one sequence number. */
  fin = false;
  #bytes: Uint8Array = new Uint8Array(0);
  /** Where `base` lies in `#bytes`. */
  #start = 0;
  #synced: number;

  /** @param host who is charged for it */
  constructor(budget: CustodyBudget, base: number, host: Host | null = null) {
    this.#budget = budget;
    this.#host = host;
    this.base = base;
    this.#synced = base;
  }

  /** Sequence number up to which the gateway may acknowledge: what the far peer has, or the journal. FIN included. */
  get durable(): number {
    if (!this.#budget.journalled) return this.end;
    return seqDiff(this.#synced, this.base) < 0 ? this.base : this.#synced;
  }

  /** The journal holds everything below `end`. */
  sync(end: number): void {
    if (seqDiff(end, this.#synced) > 0) this.#synced = end;
  }

  /** Begins anew, empty, at `base`. */
  restart(base: number): void {
    this.discard();
    this.base = base;
    this.#synced = base;
  }

  /** Keeps the first `count` bytes; what follows comes again. */
  cut(count: number): void {
    if (count >= this.length) return;
    this.#charge(count - this.length);
    this.length = count;
  }

  /** Gives back to the sender what is not durable. @returns bytes given up */
  truncate(): number {
    const kept = Math.max(0, seqDiff(this.durable, this.base));
    const dropped = Math.max(0, this.length - kept);
    if (this.durable !== this.end) this.fin = false;
    this.length -= dropped;
    this.#charge(-dropped);
    return dropped;
  }

  /** CE: sequence number up to which the gateway has acknowledged, FIN included. */
  get end(): number {
    return (this.base + this.length + (this.fin ? 1 : 0)) | 0;
  }

  /** Sequence number after the last data byte. */
  get dataEnd(): number {
    return (this.base + this.length) | 0;
  }

  get isEmpty(): boolean {
    return this.length === 0 && !this.fin;
  }

  /** How many more bytes may be taken. */
  get room(): number {
    return this.isDenied ? 0 : this.#budget.room(this.length, this.#host);
  }

  /**
   * Makes room for `count` bytes at the end and returns where to write them; the caller fills all of them.
   * Precondition: `count <= room`.
   */
  extend(count: number): { readonly bytes: Uint8Array; readonly at: number } {
    const needed = this.#start + this.length + count;
    if (needed > this.#bytes.length) {
      const kept = this.#bytes.subarray(this.#start, this.#start + this.length);
      const size = Math.ceil((this.length + count) / CHUNK) * CHUNK;
      // Doubling keeps trickled appends linear; the budget counts bytes held, not spare room.
      const grown = new Uint8Array(this.#bytes.length === 0 ? size : Math.max(size, this.length * 2));
      grown.set(kept);
      this.#bytes = grown;
      this.#start = 0;
    }
    const at = this.#start + this.length;
    this.length += count;
    this.#charge(count);
    return { bytes: this.#bytes, at };
  }

  /** The far peer acknowledged up to `ack`; frees what it covers. */
  release(ack: number): void {
    const acked = seqDiff(ack, this.base);
    if (acked <= 0) return;
    const data = Math.min(acked, this.length);
    this.#start += data;
    this.length -= data;
    this.#charge(-data);
    this.base = (this.base + data) | 0;
    if (acked > data && this.fin) {
      this.fin = false;
      this.base = (this.base + 1) | 0;
    }
    if (this.length === 0) {
      this.#bytes = new Uint8Array(0);
      this.#start = 0;
    }
  }

  #charge(bytes: number): void {
    this.#budget.used += bytes;
    if (this.#host !== null) this.#host.custodyBytes += bytes;
  }

  /** The memory in which the bytes lie; `offsetOf` says where. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Index in `bytes` of sequence number `seq`, which lies in [base, dataEnd]. */
  offsetOf(seq: number): number {
    return this.#start + seqDiff(seq, this.base);
  }

  /** Gives everything back to the budget. */
  discard(): number {
    const held = this.length;
    this.#charge(-held);
    this.length = 0;
    this.fin = false;
    this.#bytes = new Uint8Array(0);
    this.#start = 0;
    return held;
  }
}
