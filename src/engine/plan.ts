/** A freeze that was announced ahead of the loss: what for, and when it comes. */
import { type Micros, seconds } from '../base/time.ts';
import type { Lead } from '../freeze/drain.ts';
import type { Selector } from './commands.ts';

/** Longest lead: connections are shut meanwhile although the link works. */
export const LEAD_MAX: Micros = seconds(60);
/** Most announcements at a time; a lead looks at every new flow. */
export const LEADS_MAX = 16;

export interface Plan extends Lead {
  readonly selector: Selector;
  /** How long the freeze lasts, from its beginning; NEVER: until resumed. */
  readonly duration: Micros;
  readonly at: Micros;
}
