/**
 * Damping of what comes and goes, after RFC 2439: every loss adds to a penalty that halves with time. From a level on, what
 * comes back is not believed before the penalty has fallen to another, so whatever blinks is not given back at every
 * blink. A loss long ago, or a single one, delays nothing.
 */
import { type Micros, seconds } from '../base/time.ts';

export interface DampingSettings {
  /** Time in which the penalty halves (micros, > 0). */
  readonly halfLife: Micros;
  /** Penalty from which a return is held back, in losses (> 1). */
  readonly suppress: number;
  /** Penalty to which it must have fallen to be believed (> 0, below `suppress`). */
  readonly reuse: number;
  /** Longest time that a return is held back after the last loss (micros). */
  readonly longest: Micros;
}

/**
 * Two losses that begin within 3 s are one too many; the next return then waits until 2 to 3 s after the second began, at most
 * 15 s where the link has been blinking for long. Outages of some seconds each are thus never held back, however many. RFC 2439 4.2 names the parameters; its own values (minutes) are those of inter-domain routes.
 */
export const DEFAULT_DAMPING: DampingSettings = Object.freeze({
  halfLife: seconds(3),
  suppress: 1.5,
  reuse: 1,
  longest: seconds(15),
});

/** What one loss adds. */
const PENALTY = 1;

export class Penalty {
  readonly #settings: DampingSettings | null;
  /** RFC 2439 4.2: no level above the one that takes `longest` to decay. */
  readonly #ceiling: number;
  #level = 0;
  #at: Micros = 0;
  #isSuppressed = false;
  /** Losses since the penalty was last without effect. */
  losses = 0;

  /** @param settings null: nothing is ever held back */
  constructor(settings: DampingSettings | null) {
    this.#settings = settings;
    this.#ceiling = settings === null ? 0 : settings.reuse * 2 ** (settings.longest / settings.halfLife);
  }

  /** Penalty that is left at `now`, in losses. */
  level(now: Micros): number {
    return this.#settings === null ? 0 : this.#level * 2 ** ((this.#at - now) / this.#settings.halfLife);
  }

  /** Something was lost. */
  onLoss(now: Micros): void {
    if (this.#settings === null) return;
    const left = this.level(now);
    this.losses = left < this.#settings.reuse / 2 ? 1 : this.losses + 1;
    this.#level = Math.min(this.#ceiling, left + PENALTY);
    this.#at = now;
    if (this.#level >= this.#settings.suppress) this.#isSuppressed = true;
  }

  /** When a return may be believed: `now` unless it is held back. */
  reuseAt(now: Micros): Micros {
    if (!this.#isSuppressed || this.#settings === null) return now;
    const left = this.level(now);
    const delay = this.#settings.halfLife * Math.log2(left / this.#settings.reuse);
    // Whole microseconds, so that waiting for it comes to an end.
    if (delay > 1) return Math.ceil(now + delay);
    this.#isSuppressed = false;
    return now;
  }

  /** Forgets everything: a person has said how things are. */
  clear(): void {
    this.#level = 0;
    this.#isSuppressed = false;
    this.losses = 0;
  }
}
