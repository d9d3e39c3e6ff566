/** The shared figures: every place has one meaning, and a histogram equals its obvious twin. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COUNTER_NAMES } from '../../src/base/counters.ts';
import {
  COUNTERS_BYTES,
  FAMILIES,
  FAMILY,
  type FamilyName,
  HISTOGRAM,
  HISTOGRAM_BOUNDS,
  type HistogramName,
  LOSS_CAUSES,
  lossCause,
  observe,
  readFamily,
  readHistogram,
} from '../../src/base/figures.ts';
import { Link } from '../../src/link/monitor.ts';

const LENGTH = COUNTERS_BYTES / 8;
const HISTOGRAMS = Object.keys(HISTOGRAM_BOUNDS) as HistogramName[];

describe('layout', () => {
  test('counters, families and histograms fill the array without overlap', () => {
    const places = COUNTER_NAMES.map((_, at) => at);
    for (const labels of Object.values(FAMILY)) places.push(...Object.values(labels));
    for (const name of HISTOGRAMS) {
      const { start, bounds } = HISTOGRAM[name];
      for (let at = start; at < start + bounds.length + 2; at++) places.push(at);
    }
    expect(places).toEqual(Array.from({ length: LENGTH }, (_, at) => at));
  });

  test('every label of a family reads back by its name', () => {
    const array = new Float64Array(LENGTH).map((_, at) => at);
    for (const family of Object.keys(FAMILIES) as FamilyName[])
      expect(readFamily(array, family)).toEqual(FAMILY[family]);
  });

  test('every detector of the link monitor is a cause of its own', () => {
    for (const detector of Object.keys(new Link('wan0', 'wan', 0, 0).evidence))
      expect(lossCause(detector)).toBe(detector);
    expect(lossCause('nonsense')).toBe('other');
    expect(new Set(LOSS_CAUSES).size).toBe(LOSS_CAUSES.length);
  });
});

describe('histograms', () => {
  test.each(HISTOGRAMS)('%s: bounds rise', (name) => {
    const bounds: readonly number[] = HISTOGRAM_BOUNDS[name];
    expect(bounds).toEqual([...bounds].sort((a, b) => a - b));
    expect(new Set(bounds).size).toBe(bounds.length);
  });

  test('buckets equal a count over all values, bounds included', () => {
    const name = fc.constantFrom(...HISTOGRAMS);
    const value = fc.oneof(
      fc.nat(100_000_000),
      fc.constantFrom(...HISTOGRAMS.flatMap((one): readonly number[] => HISTOGRAM_BOUNDS[one])),
    );
    fc.assert(
      fc.property(name, fc.array(value, { maxLength: 50 }), (histogram, values) => {
        const array = new Float64Array(LENGTH);
        for (const micros of values) observe(array, histogram, micros);
        const { cumulative, count, sumMicros } = readHistogram(array, histogram);
        const bounds: readonly number[] = HISTOGRAM_BOUNDS[histogram];
        expect(cumulative).toEqual(bounds.map((bound) => values.filter((micros) => micros <= bound).length));
        expect(count).toBe(values.length);
        expect(sumMicros).toBe(values.reduce((sum, micros) => sum + micros, 0));
      }),
    );
  });

  test('an array that has no room for them is left alone', () => {
    const short = new Float64Array(COUNTER_NAMES.length);
    observe(short, 'turnTime', 5);
    expect(short.every((one) => one === 0)).toBe(true);
    expect(readHistogram(short, 'turnTime')).toMatchObject({ count: 0, sumMicros: 0 });
  });
});
