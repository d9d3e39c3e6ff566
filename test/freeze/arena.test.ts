import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Half, NO_SLOT } from '../../src/flow/half.ts';
import { Arena, SLOT_HEADER } from '../../src/freeze/arena.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { SYN } from '../../src/wire/tcp-flags.ts';
import { type PacketSketch, write } from '../flow/packets.ts';

const READ_MAX = 1_000;

/** Byte `seq` of stream `salt`; differs from its neighbours and from other streams. */
function byteAt(salt: number, seq: number): number {
  return (Math.imul(seq ^ (salt * 0x5bd1), 0x9e37_79b1) >>> 24) & 0xff;
}

function bytesOf(salt: number, seq: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => byteAt(salt, (seq + i) | 0));
}

class Bench {
  readonly arena: Arena;
  readonly packet = new Packet();
  lastOffset = 0;

  constructor(packets: number) {
    const buffer = new ArrayBuffer(packets * 1_088 + 40);
    this.arena = new Arena(buffer, READ_MAX);
    this.packet.attach(buffer);
  }

  /** Reads a packet as the shell would and retains it. */
  retain(half: Half, sketch: PacketSketch, now = 0): boolean {
    this.lastOffset = this.arena.readOffset;
    const length = write(sketch, this.arena.bytes, this.lastOffset);
    expect(length).toBeLessThanOrEqual(READ_MAX);
    expect(this.packet.parse(this.lastOffset, length, 0)).toBe(KIND_TCP);
    return this.arena.retain(half, this.packet, now);
  }

  /** What can be copied of [from, to), also after the next packet was read and not retained. */
  content(half: Half, from: number, to: number): Uint8Array {
    const { readOffset } = this.arena;
    this.arena.bytes.fill(0xdd, readOffset, readOffset + READ_MAX);
    const end = this.arena.coveredTo(half, from, to);
    const count = Math.max(0, Math.min((end - from) | 0, (to - from) | 0));
    const target = new Uint8Array(count + 2).fill(0xee);
    this.arena.copy(half, from, (from + count) | 0, target, 1);
    expect([target[0], target[count + 1]]).toEqual([0xee, 0xee]);
    return target.slice(1, count + 1);
  }
}

interface Piece {
  readonly seq: number;
  readonly end: number;
  readonly offset: number;
}

/** First number from `from` on that no piece holds. */
function reach(pieces: readonly Piece[], from: number): number {
  let at = from;
  for (let moved = true; moved; ) {
    moved = false;
    for (const { seq, end } of pieces) {
      if (seq <= at && end > at) {
        at = end;
        moved = true;
      }
    }
  }
  return at;
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('next', 'next', 'next', 'skip', 'again', 'ack', 'discard'),
    half: fc.nat(2),
    length: fc.integer({ min: 1, max: 300 }),
    back: fc.integer({ min: 0, max: 1_500 }),
  }),
  { minLength: 1, maxLength: 90 },
);

describe('arena against a list of everything ever retained', () => {
  // The sequence numbers of each stream start shortly before 2^32 or 2^31; the twin counts from 0.
  const isns = [-700, 0x7fff_ffff - 500, 12_345] as const;

  it.each([
    { packets: 400, exact: true },
    { packets: 6, exact: false },
  ])('$packets slots', ({ packets, exact }) => {
    fc.assert(
      fc.property(steps, (schedule) => {
        const bench = new Bench(packets);
        const halves = isns.map(() => new Half());
        const twins = isns.map(() => ({ pieces: [] as Piece[], next: 0, acked: 0 }));
        let now = 0;
        for (const { kind, half: h, length, back } of schedule) {
          now += 1_000;
          const half = halves[h]!;
          const twin = twins[h]!;
          const isn = isns[h]!;
          if (kind === 'ack') {
            twin.acked = Math.max(twin.acked, Math.min(twin.next, twin.acked + length * 3));
            bench.arena.release(half, (isn + twin.acked) | 0, now);
            // Whole segments at the front go; others stay, and may answer for what is repeated below the ACK.
            twin.pieces = twin.pieces.filter((piece) => piece.end > twin.acked);
          } else if (kind === 'discard') {
            const isUnsound = (offset: number): boolean => (offset >> 6) % 5 === back % 5;
            bench.arena.discardUnsound(half, (offset) => !isUnsound(offset));
            twin.pieces = twin.pieces.filter((piece) => !isUnsound(piece.offset));
          } else {
            const seq =
              kind === 'next' ? twin.next : kind === 'skip' ? twin.next + back : Math.max(0, twin.next - back);
            const end = seq + length;
            const absolute = (isn + seq) | 0;
            const kept = bench.retain(half, { seq: absolute, payload: bytesOf(h, absolute, length) }, now);
            // What is missing is kept; keeping what an overlapping neighbour holds already would only cost memory.
            if (exact && seq >= twin.acked && reach(twin.pieces, seq) < end) expect(kept).toBe(true);
            if (kept) twin.pieces.push({ seq, end, offset: bench.lastOffset });
            twin.next = Math.max(twin.next, end);
          }
          for (let check = 0; check < 3; check++) {
            const from = (isns[check]! + twins[check]!.acked) | 0;
            const to = (isns[check]! + twins[check]!.next) | 0;
            const content = bench.content(halves[check]!, from, to);
            expect(Buffer.compare(content, bytesOf(check, from, content.length))).toBe(0);
            const known = reach(twins[check]!.pieces, twins[check]!.acked) - twins[check]!.acked;
            if (exact) expect(content.length).toBe(known);
            else expect(content.length).toBeLessThanOrEqual(known);
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe('arena', () => {
  it('keeps the newest packets when it wraps: at least its size less three reads', () => {
    const bench = new Bench(10);
    const half = new Half();
    for (let i = 0; i < 200; i++) {
      const seq = (i * 500 - 50_000) | 0;
      expect(bench.retain(half, { seq, payload: bytesOf(1, seq, 500) })).toBe(true);
      bench.arena.release(half, (seq - 2_500) | 0, i);
      if (i >= 6) expect(bench.content(half, (seq - 2_500) | 0, (seq + 500) | 0)).toHaveLength(3_000);
    }
    expect(bench.arena.laps).toBeGreaterThan(10);
  });

  it('counts as gone what the next read will overwrite', () => {
    const bench = new Bench(10);
    const half = new Half();
    let seen = 0;
    for (let i = 0; i < 60; i++) {
      const seq = i * 500;
      bench.retain(half, { seq, payload: bytesOf(2, seq, 500) });
      // Nothing is ever acknowledged: the oldest packets are always close to being overwritten.
      for (let from = 0; from <= seq; from += 500) {
        const content = bench.content(half, from, seq + 500);
        expect(Buffer.compare(content, bytesOf(2, from, content.length))).toBe(0);
        seen += content.length;
      }
    }
    expect(seen).toBeGreaterThan(100_000);
  });

  it('always leaves room for a whole read, within the ring', () => {
    const bench = new Bench(5);
    const half = new Half();
    for (let i = 0; i < 300; i++) {
      expect(bench.arena.readOffset).toBeGreaterThanOrEqual(SLOT_HEADER);
      expect(bench.arena.readOffset + READ_MAX).toBeLessThanOrEqual(bench.arena.bytes.length);
      bench.retain(half, { seq: i * 960, payload: 1 + ((i * 37) % 960) });
    }
  });

  it('does not move on for what it holds already', () => {
    const bench = new Bench(20);
    const half = new Half();
    bench.retain(half, { seq: 0, payload: 100 });
    bench.retain(half, { seq: 100, payload: 100 });
    const { readOffset } = bench.arena;
    for (const seq of [0, 50, 100]) expect(bench.retain(half, { seq, payload: 100 })).toBe(false);
    expect(bench.arena.readOffset).toBe(readOffset);
  });

  it('counts the data of a SYN from the number after it', () => {
    const bench = new Bench(20);
    const half = new Half();
    bench.retain(half, { seq: 9, flags: SYN, payload: bytesOf(1, 10, 20) });
    expect(bench.content(half, 10, 30)).toEqual(bytesOf(1, 10, 20));
    expect(bench.arena.coveredTo(half, 9, 30)).toBe(9);
  });

  it('tells the TSval of the first transmission, also after a repetition', () => {
    const bench = new Bench(20);
    const half = new Half();
    bench.retain(half, { seq: 0, payload: 100, ts: [70, 1] });
    bench.retain(half, { seq: 100, payload: 100, ts: [71, 1] });
    bench.retain(half, { seq: 0, payload: 100, ts: [98, 1] });
    expect(bench.arena.firstTsVal(half, 150, -1)).toBe(71);
    // A retransmission may be larger than what it repeats.
    expect(bench.retain(half, { seq: 0, payload: 250, ts: [99, 1] })).toBe(true);
    expect(bench.arena.firstTsVal(half, 0, -1)).toBe(70);
    expect(bench.arena.firstTsVal(half, 220, -1)).toBe(99);
    expect(bench.arena.firstTsVal(half, 250, -1)).toBe(-1);
  });

  it('takes the round trip of the newest packet acknowledged, and none while a repetition makes it ambiguous (Karn)', () => {
    const bench = new Bench(20);
    const half = new Half();
    bench.retain(half, { seq: 0, payload: 100 }, 1_000);
    bench.retain(half, { seq: 100, payload: 100 }, 2_000);
    bench.arena.release(half, 200, 10_000);
    expect(half.srtt).toBe(8_000);
    half.sndNxt = 400;
    bench.retain(half, { seq: 200, payload: 100 }, 20_000);
    bench.retain(half, { seq: 300, payload: 100 }, 20_000);
    bench.retain(half, { seq: 200, payload: 100 }, 90_000);
    bench.arena.release(half, 300, 91_000);
    expect(half.srtt).toBe(8_000);
    half.sndNxt = 500;
    bench.retain(half, { seq: 400, payload: 100 }, 100_000);
    bench.arena.release(half, 500, 108_000);
    expect([half.srtt, half.ambiguous]).toEqual([8_000, false]);
  });

  it('forgets on demand, and a list that is gone is no list', () => {
    const bench = new Bench(20);
    const half = new Half();
    bench.retain(half, { seq: 0, payload: 100 });
    bench.arena.forget(half);
    expect([half.heldHead, half.heldTail]).toEqual([NO_SLOT, NO_SLOT]);
    expect(bench.arena.coveredTo(half, 0, 100)).toBe(0);
    expect(bench.retain(half, { seq: 0, payload: 100 })).toBe(true);
  });

  it('refuses memory for fewer than four packets', () => {
    expect(() => new Arena(new ArrayBuffer(4 * 1_088 - 1), READ_MAX)).toThrow(RangeError);
    expect(new Arena(new ArrayBuffer(4 * 1_088), READ_MAX).readOffset).toBe(SLOT_HEADER);
  });
});
