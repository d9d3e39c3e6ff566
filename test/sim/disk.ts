/**
 * The journal's disk: what is written is at first only in memory, then synced. A crash leaves everything that was synced and any part of
 * the rest; a file that replaces another one (`fresh`) is there whole or not at all.
 */
import type { JournalBatch } from '../../src/freeze/journal.ts';
import { readFrames, sealFrames } from '../../src/journal/frames.ts';

interface Write {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly fresh: boolean;
  synced: boolean;
}

export class Disk {
  #writes: Write[] = [];

  write({ number, buffer, length, fresh }: JournalBatch): void {
    const bytes = new Uint8Array(buffer, 0, length);
    sealFrames(bytes);
    this.#writes.push({ number, bytes, fresh, synced: false });
  }

  /** Everything up to `number` has reached the disk. */
  sync(number: number): void {
    for (const write of this.#writes) if (write.number <= number) write.synced = true;
    const freshAt = this.#writes.findLastIndex((write) => write.fresh && write.synced);
    if (freshAt > 0) this.#writes.splice(0, freshAt);
  }

  /**
   * What the next process finds.
   * @param share 0..1: how much of what was not synced survived
   */
  crash(share: number): readonly Uint8Array[] {
    const firstLost = this.#writes.findIndex((write) => !write.synced);
    const unsynced = firstLost < 0 ? [] : this.#writes.slice(firstLost);
    let left = Math.round(share * unsynced.reduce((sum, { bytes }) => sum + bytes.length + 1, 0));
    const kept = firstLost < 0 ? [...this.#writes] : this.#writes.slice(0, firstLost);
    for (const write of unsynced) {
      const whole = left > write.bytes.length;
      if (!whole && write.fresh) break;
      kept.push({ ...write, bytes: write.bytes.subarray(0, left) });
      left -= write.bytes.length + 1;
      if (!whole) break;
    }
    const from = Math.max(
      0,
      kept.findLastIndex((write) => write.fresh),
    );
    const file = Buffer.concat(kept.slice(from).map(({ bytes }) => bytes));
    const { records, end } = readFrames(new Uint8Array(file));
    // The next process writes everything anew before anything else: never behind a record that is not whole.
    this.#writes = [{ number: 0, bytes: new Uint8Array(file.subarray(0, end)), fresh: true, synced: true }];
    return records;
  }
}
