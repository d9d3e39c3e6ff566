/** The counters' home is base/, because every layer counts; this is the name by which the shell knows them. */
export { COUNTER, COUNTER_NAMES, type CounterName, readCounters } from '../base/counters.ts';
export { COUNTERS_BYTES } from '../base/figures.ts';
