import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RECORD_HEADER, Ring } from '../../src/capture/ring.ts';
import { COUNT_DROPPED, COUNT_SEEN, counterAt, total } from '../../src/capture/ring-counters.ts';

/** Writes one record whose bytes are all `value`. @returns whether there was room */
function put(ring: Ring, length: number, value: number): boolean {
  if (!ring.reserve(RECORD_HEADER + length)) return false;
  ring.bytes.fill(value, ring.at + RECORD_HEADER, ring.at + RECORD_HEADER + length);
  ring.publish(RECORD_HEADER + length, 1 + (value & 1));
  return true;
}

describe('ring', () => {
  test('gives out what was put in, in order and whole, and says no instead of overwriting', () => {
    const step = fc.oneof(
      { arbitrary: fc.record({ put: fc.integer({ min: 0, max: 3_000 }) }), weight: 4 },
      { arbitrary: fc.record({ take: fc.integer({ min: 1, max: 12 }) }), weight: 1 },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
        const memory = Ring.allocate(1 << 16);
        const writer = new Ring(memory);
        const reader = new Ring(memory);
        const twin: { length: number; value: number }[] = [];
        const take = (most: number): void => {
          for (let i = 0; i < most; i++) {
            const type = reader.next();
            const expected = twin.shift();
            expect(type).toBe(expected === undefined ? 0 : 1 + (expected.value & 1));
            if (expected === undefined) break;
            const { at, bytes } = reader;
            const body = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + expected.length);
            expect(body.every((byte) => byte === expected.value)).toBe(true);
            reader.release();
          }
          reader.giveBack();
        };
        steps.forEach((one, i) => {
          if ('take' in one) take(one.take);
          else if (put(writer, one.put, i & 0xff)) twin.push({ length: one.put, value: i & 0xff });
          // Half of it may be taken by what cannot be split at the end.
          else expect(twin.reduce((sum, { length }) => sum + length + 16, 0)).toBeGreaterThan((1 << 15) - 3_100);
        });
        take(twin.length + 1);
      }),
      { numRuns: 60 },
    );
  });

  test('a record that could block the ring for long is refused', () => {
    const ring = new Ring(Ring.allocate(1 << 16));
    expect(ring.reserve((1 << 14) + 8)).toBe(false);
    expect(ring.reserve(1 << 14)).toBe(true);
  });

  test('used memory that was cleared is a new ring', () => {
    const memory = Ring.allocate(1 << 16);
    const used = new Ring(memory);
    for (let i = 0; i < 100; i++) put(used, 100, 1);
    used.count(COUNT_SEEN, 2);
    used.addUnderWay(5);
    used.end();
    Ring.clear(memory);
    const [writer, reader] = [new Ring(memory), new Ring(memory)];
    expect([reader.next(), reader.isEnded, reader.underWay, total(reader.counters, COUNT_SEEN)]).toEqual([
      0,
      false,
      0,
      0,
    ]);
    for (let i = 0; put(writer, 1000, i & 0xff); i++) {
      expect(reader.next()).toBe(1 + (i & 1));
      expect(reader.bytes[reader.at + RECORD_HEADER]).toBe(i & 0xff);
      reader.release();
    }
    reader.giveBack();
    expect(put(writer, 1000, 1)).toBe(true);
  });

  test('counters are shared and summed', () => {
    const memory = Ring.allocate(1 << 16);
    const writer = new Ring(memory);
    writer.count(COUNT_SEEN, 0);
    writer.count(COUNT_DROPPED, 31);
    writer.count(COUNT_DROPPED, 2);
    const reader = new Ring(memory);
    expect([total(reader.counters, COUNT_SEEN), total(reader.counters, COUNT_DROPPED)]).toEqual([1, 2]);
    expect(reader.counters[counterAt(COUNT_DROPPED, 31)]).toBe(1);
  });

  test('across threads nothing is torn, lost or doubled', async () => {
    // The other end in plain words, so that an error of the code under test cannot hide in it.
    const memory = Ring.allocate(1 << 16);
    const source = `
      const { workerData, parentPort } = require('node:worker_threads');
      const control = new Int32Array(workerData, 0, 16);
      const dataAt = workerData.byteLength - (1 << 16);
      const words = new Int32Array(workerData, dataAt);
      let tail = 0, expected = 0, wrong = 0;
      while (expected < 200000) {
        const head = Atomics.load(control, 0);
        while (tail !== head) {
          const at = (tail & 0xffff) >> 2;
          const length = words[at], type = words[at + 1];
          if (type !== 0) {
            const count = words[at + 2];
            for (let i = 0; i < count; i++) if (words[at + 3 + i] !== expected) wrong++;
            expected++;
          }
          tail = (tail + length) | 0;
        }
        Atomics.store(control, 1, tail);
      }
      parentPort.postMessage(wrong);`;
    const worker = new Worker(source, { eval: true, workerData: memory });
    const wrong = new Promise<number>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    const ring = new Ring(memory);
    for (let sent = 0; sent < 200_000; ) {
      const count = (sent * 7) % 60;
      const length = RECORD_HEADER + 4 + 4 * count;
      if (!ring.reserve(length)) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const at = (ring.at >> 2) + 2;
      ring.words[at] = count;
      ring.words.fill(sent, at + 1, at + 1 + count);
      ring.publish(length, 1);
      sent++;
    }
    expect(await wrong).toBe(0);
    await worker.terminate();
  });
});
