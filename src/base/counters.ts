/**
 * Counters of the datapath, the first part of one Float64Array that the shell may place in shared memory: the worker counts, the main
 * thread reads without asking. Doubles are exact up to 2^53, and a torn read is impossible for an aligned 64-bit value.
 */
export const COUNTER_NAMES = [
  'packets',
  'bytes',
  'forwarded',
  'dropped',
  'consumed',
  'malformed',
  'notTcp',
  'fragments',
  'transmits',
  'transmitBytes',
  'flowsCreated',
  'flowsExpired',
  'flowsRefused',
  'flowsBypassed',
  'freezes',
  'thaws',
  'zeroWindowAcks',
  'probesAnswered',
  'custodyAcks',
  'custodyBytesTaken',
  'custodyRefused',
  'replayedBytes',
  'retransmittedBytes',
  'handbacks',
  'undeliverableBytes',
  'flowsRecalled',
  'journalBatches',
  'journalBytes',
  'refreshes',
  'icmpToNear',
  'headReplays',
  'wakeups',
  'wakeupsAnswered',
  'lateFromFar',
  'absorbed',
  'outOfWindow',
  'unsound',
  'arenaWraps',
  'icmpHeard',
  'dhcpHeard',
  'tapPauses',
  'echoRequests',
  'echoReplies',
  'turns',
  'readErrors',
  'writeErrors',
  'writeDropped',
  'flowsGivenUp',
  'nearTimeouts',
  'nearResets',
  'trickles',
  'trickledBytes',
  'synsParked',
  'synsRefused',
  'hostFlowsRefused',
  'newcomersDeferred',
  'recuts',
  'captured',
  'captureDropped',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Index of each counter in the array. */
export const COUNTER: Readonly<Record<CounterName, number>> = Object.freeze(
  Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, index])) as Record<CounterName, number>,
);

/** All counters by name, for status and metrics. */
export function readCounters(array: Float64Array): Record<CounterName, number> {
  return Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, array[index] ?? 0])) as Record<
    CounterName,
    number
  >;
}
