/** What crosses between the datapath's thread and the journal's: plain data, by structured clone; buffers are handed over. */
import type { HandshakeBatch } from '../engine/handshakes.ts';
import type { JournalBatch } from '../freeze/journal.ts';

/** Handed to the journal's thread at its start. */
export interface JournalStart {
  readonly directory: string;
  /** Wakes the datapath; belongs to the main thread. */
  readonly wakeFd: number;
}

/** From the datapath. */
export type JournalOrder = JournalBatch | { readonly handshakes: HandshakeBatch };

/** To the datapath. */
export type JournalReport =
  | { readonly kind: 'synced'; readonly number: number }
  /** Nothing can be written; batches are ignored until `mended`. */
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'mended' }
  /** What there was of the table of handshakes is gone. */
  | { readonly kind: 'handshakes-lost' };
