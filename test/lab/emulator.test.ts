import { describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { type DirectionSettings, LinkDirection } from '../../src/lab/emulator.ts';

/** 100 Mb/s: a frame of 1250 bytes takes 100 microseconds. */
const SETTINGS: DirectionSettings = { rateBps: 100e6, delayMicros: 20_000, queuePackets: 4, loss: 0, seed: 1 };
const FRAME = 1250;
const FRAME_MICROS = 100;

function drain(direction: LinkDirection): number[] {
  const arrivals: number[] = [];
  while (direction.nextArrival() !== NEVER) {
    arrivals.push(direction.nextArrival());
    direction.pop(true);
  }
  return arrivals;
}

describe('link direction', () => {
  test('a frame arrives after its serialisation and the delay', () => {
    const direction = new LinkDirection(SETTINGS, 16);
    direction.accept(FRAME, 1000);
    expect(drain(direction)).toEqual([1000 + FRAME_MICROS + 20_000]);
    expect(direction.statistics).toMatchObject({ packets: 1, bytes: FRAME });
  });

  test('a burst is spread by the rate', () => {
    const direction = new LinkDirection(SETTINGS, 16);
    for (let i = 0; i < 3; i++) direction.accept(FRAME, 0);
    expect(drain(direction)).toEqual([20_100, 20_200, 20_300]);
  });

  test('the transmitter idles between frames that are far apart', () => {
    const direction = new LinkDirection(SETTINGS, 16);
    direction.accept(FRAME, 0);
    direction.accept(FRAME, 5000);
    expect(drain(direction)).toEqual([20_100, 25_100]);
  });

  test('the queue drops what exceeds its length, and takes more once a frame was sent', () => {
    const direction = new LinkDirection(SETTINGS, 16);
    for (let i = 0; i < 6; i++) direction.accept(FRAME, 0);
    expect(direction.statistics).toMatchObject({ queueDrops: 2, queuePeak: 4 });
    direction.accept(FRAME, FRAME_MICROS - 1);
    expect(direction.statistics.queueDrops).toBe(3);
    direction.accept(FRAME, FRAME_MICROS);
    expect(direction.statistics.queueDrops).toBe(3);
    expect(drain(direction)).toHaveLength(5);
  });

  test('frames on the wire do not count as queued', () => {
    const direction = new LinkDirection(SETTINGS, 64);
    for (let i = 0; i < 20; i++) direction.accept(FRAME, i * FRAME_MICROS);
    expect(direction.statistics).toMatchObject({ queueDrops: 0, queuePeak: 1 });
    expect(drain(direction)).toHaveLength(20);
  });

  test('without a rate there is only delay', () => {
    const direction = new LinkDirection({ ...SETTINGS, rateBps: 0 }, 64);
    for (let i = 0; i < 20; i++) direction.accept(FRAME, 7);
    expect(new Set(drain(direction))).toEqual(new Set([20_007]));
  });

  test('a cut loses what is under way and what comes; after it the transmitter is idle', () => {
    const direction = new LinkDirection(SETTINGS, 16);
    for (let i = 0; i < 3; i++) direction.accept(FRAME, 0);
    direction.cut();
    expect(direction.nextArrival()).toBe(NEVER);
    direction.accept(FRAME, 10);
    expect(direction.statistics.cutDrops).toBe(4);
    direction.restore();
    direction.accept(FRAME, 20);
    expect(drain(direction)).toEqual([20 + FRAME_MICROS + 20_000]);
  });

  test('the ring never overruns: a full one drops', () => {
    const direction = new LinkDirection({ ...SETTINGS, queuePackets: 1000 }, 8);
    for (let i = 0; i < 20; i++) direction.accept(FRAME, 0);
    expect(drain(direction)).toHaveLength(7);
    expect(direction.statistics.queueDrops).toBe(13);
  });

  test('slots follow the frames around the ring', () => {
    const direction = new LinkDirection(SETTINGS, 4);
    const read: number[] = [];
    const sent: number[] = [];
    for (let i = 0; i < 10; i++) {
      read.push(direction.readSlot);
      direction.accept(FRAME + i, i * 30_000);
      sent.push(direction.headSlot);
      expect(direction.headLength).toBe(FRAME + i);
      direction.pop(true);
    }
    expect(sent).toEqual(read);
    expect(new Set(read).size).toBe(4);
  });

  test('loss is near its probability and repeats with its seed', () => {
    const lost = (seed: number): number => {
      const direction = new LinkDirection({ ...SETTINGS, loss: 0.1, seed }, 16);
      for (let i = 0; i < 10_000; i++) {
        direction.accept(FRAME, i * FRAME_MICROS);
        drain(direction);
      }
      return direction.statistics.lossDrops;
    };
    expect(lost(1)).toBe(lost(1));
    expect(lost(1)).not.toBe(lost(2));
    // Ten standard deviations of the binomial distribution are 300.
    expect(Math.abs(lost(1) - 1000)).toBeLessThan(300);
  });
});
