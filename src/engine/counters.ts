/** The counters' home is base/, because every layer counts; this is the name by which the shell knows them. */
export { COUNTER, COUNTER_NAMES, COUNTERS_BYTES, type CounterName, readCounters } from '../base/counters.ts';
