/**
 * Terms: what a connection is granted while it is frozen. One record per rule of the configuration, shared by all flows it
 * applies to, so a flow carries one reference and nothing is evaluated per packet.
 */
import type { Micros } from '../base/time.ts';

/** Classes in the order in which they are given up when resources are short. */
export const CLASS_TEMPORARY = 0;
export const CLASS_SUSPENSION = 1;
export const CLASS_CRITICAL = 2;

export interface Terms {
  /** Position of the rule in the configuration, from 0; -1: no rule matched. */
  readonly rule: number;
  /** False: the connection is left alone. */
  readonly freeze: boolean;
  readonly rank: typeof CLASS_TEMPORARY | typeof CLASS_SUSPENSION | typeof CLASS_CRITICAL;
  /** Name of the class, for people. */
  readonly class: string;
  /** Place in the order of handback: 0 first. */
  readonly turn: number;
  readonly priority: string;
  /** NEVER: no limit. */
  readonly maxOutage: Micros;
  readonly keep: Micros;
  readonly custody: boolean;
  readonly wakeup: boolean;
  /** Interval of the trickle; 0 off, -1 where a limit is known or suspected. */
  readonly trickle: Micros;
  readonly parkSyn: boolean;
  /** Giving up sends no RST to the near endpoint. */
  readonly silent: boolean;
}

/** Terms of a flow that is not admitted yet. */
export const NO_TERMS: Terms = Object.freeze({
  rule: -1,
  freeze: true,
  rank: CLASS_TEMPORARY,
  class: 'temporary',
  turn: 1,
  priority: 'normal',
  maxOutage: Number.POSITIVE_INFINITY,
  keep: 0,
  custody: true,
  wakeup: true,
  trickle: -1,
  parkSyn: true,
  silent: false,
});
