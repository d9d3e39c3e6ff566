/**
 * What a sender has outstanding: segments in order with their fate, as RFC 6675 wants to know it.
 * Offsets are positions in the own stream as plain numbers.
 */
import type { Micros } from '../../src/base/time.ts';
import type { Interval } from './receiver.ts';

export interface Segment {
  from: number;
  to: number;
  firstSentAt: Micros;
  lastSentAt: Micros;
  sends: number;
  sacked: boolean;
  /** Believed lost; counts as out of the network until sent again. */
  lost: boolean;
  /** Sent again since it was declared lost. */
  repaired: boolean;
}

export class Scoreboard {
  readonly segments: Segment[] = [];

  get isEmpty(): boolean {
    return this.segments.length === 0;
  }

  get head(): Segment | undefined {
    return this.segments[0];
  }

  /** Remember a first transmission. */
  add(from: number, to: number, now: Micros): void {
    this.segments.push({
      from,
      to,
      firstSentAt: now,
      lastSentAt: now,
      sends: 1,
      sacked: false,
      lost: false,
      repaired: false,
    });
  }

  /**
   * Drop what is acknowledged.
   * @returns the send time of the newest dropped segment that was sent only once (Karn), or -1
   */
  acknowledge(ack: number): Micros {
    let sample = -1;
    while (this.segments.length > 0) {
      const segment = this.segments[0]!;
      if (segment.to > ack) {
        if (segment.from < ack) segment.from = ack;
        break;
      }
      if (segment.sends === 1 && !segment.sacked) sample = segment.lastSentAt;
      this.segments.shift();
    }
    return sample;
  }

  /** Mark what the blocks cover. Returns bytes newly known to have arrived. */
  sack(blocks: readonly Interval[]): number {
    let bytes = 0;
    for (const segment of this.segments) {
      if (segment.sacked) continue;
      if (blocks.some((block) => block.from <= segment.from && segment.to <= block.to)) {
        segment.sacked = true;
        segment.lost = false;
        bytes += segment.to - segment.from;
      }
    }
    return bytes;
  }

  /** RFC 6675 IsLost: more than two segments' worth above it has arrived. Returns whether anything became lost. */
  markLost(mss: number): boolean {
    let above = 0;
    let found = false;
    for (let index = this.segments.length - 1; index >= 0; index--) {
      const segment = this.segments[index]!;
      if (segment.sacked) above += segment.to - segment.from;
      else if (above > 2 * mss && !segment.lost && segment.sends === 1) {
        segment.lost = true;
        segment.repaired = false;
        found = true;
      }
    }
    return found;
  }

  /** The head is lost, whatever was thought before (partial ACK, three duplicates). */
  markHeadLost(): void {
    const head = this.head;
    if (head === undefined || head.sacked) return;
    head.lost = true;
    head.repaired = false;
  }

  /** After a retransmission timeout nothing is believed to be in the network (RFC 5681 3.1). */
  markAllLost(): void {
    for (const segment of this.segments) {
      if (segment.sacked) continue;
      segment.lost = true;
      segment.repaired = false;
    }
  }

  /** The timeout was spurious: what it declared lost is on its way after all. */
  unmark(): void {
    for (const segment of this.segments) segment.lost = false;
  }

  /** The next one to send again, if any. */
  nextLost(): Segment | undefined {
    return this.segments.find((segment) => segment.lost && !segment.repaired);
  }

  /** Bytes believed to be in the network. */
  pipe(): number {
    let bytes = 0;
    for (const segment of this.segments) {
      if (!segment.sacked && (!segment.lost || segment.repaired)) bytes += segment.to - segment.from;
    }
    return bytes;
  }
}
