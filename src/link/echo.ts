/**
 * Echo, active: asks targets beyond a link whether they are there (RFC 792, RFC 4443 4.1).
 *
 * Purpose.  A link with nothing but idle connections shows nothing by itself. One echo per second at most is asked while all is
 *           well, and none while traffic proves the link anyway; fast when something looks wrong; ever more slowly in a
 *           long outage.
 * Rules.    Anything from beyond the link outranks lost echoes. A target that never answered is no evidence. The verdict
 *           needs ASKS_MIN unanswered echoes over SILENCE_MIN or three round trips, so that neither 5 % loss (0.1^8) nor
 *           a queue of 1.5 s is taken for an outage. A target proves the path to itself and nothing beyond.
 * Limits.   MAX_TARGETS per link.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { isSameBytes } from './next-hops.ts';

const MAX_TARGETS = 8;
/** Pace while something looks wrong. */
const FAST: Micros = millis(200);
/** How long a suspicion is followed up when nothing comes of it. */
const SUSPICION: Micros = seconds(5);
/** An echo is overdue after this long, or two of its target's round trips. */
const OVERDUE: Micros = seconds(1);
const ASKS_MIN = 8;
const SILENCE_MIN: Micros = seconds(2.5);
const ROUND_TRIPS = 3;
/** While traffic proves the link, a target is asked this often to know whether it answers. */
const REFRESH: Micros = seconds(30);
/** Pace in an outage by its age. */
const BACKOFF: readonly (readonly [Micros, Micros])[] = [
  [seconds(10), millis(500)],
  [seconds(60), seconds(1)],
  [seconds(300), seconds(2)],
];
const BACKOFF_LAST: Micros = seconds(5);
/** Weight of a sample in the largest round trip, which falls slowly. */
const RTT_DECAY = 0.98;

export interface EchoTarget {
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  /** Named by the configuration, not discovered. */
  readonly isConfigured: boolean;
  hasAnswered: boolean;
  askedAt: Micros;
  answeredAt: Micros;
  /** Largest round trip of late (micros); 0 unknown. */
  rtt: Micros;
}

export class EchoProbe {
  /** When `run` has something to do; NEVER while there is nobody to ask. */
  deadline: Micros = NEVER;
  readonly #interval: Micros;
  #targets: EchoTarget[] = [];
  #turn = 0;
  /** Last packet of a connection from beyond the link. */
  #trafficAt: Micros = -NEVER;
  /** First echo to a target that has answered before, since anything was heard; and how many of them. */
  #unansweredSince: Micros = NEVER;
  #unanswered = 0;
  #suspectUntil: Micros = -NEVER;
  #lostAt: Micros = NEVER;

  /** @param interval between echoes while all is well (micros, >= 1 s) */
  constructor(interval: Micros) {
    this.#interval = interval;
  }

  get targets(): readonly EchoTarget[] {
    return this.#targets;
  }

  /** @param now when to begin asking */
  add(family: 4 | 6, address: Uint8Array, isConfigured: boolean, now: Micros): void {
    if (this.#targets.some((target) => isSameBytes(target.address, address))) return;
    if (this.#targets.length >= MAX_TARGETS) return;
    const bytes = Uint8Array.from(address);
    const never = { hasAnswered: false, askedAt: -NEVER, answeredAt: -NEVER, rtt: 0 };
    this.#targets.push({ family, address: bytes, isConfigured, ...never });
    this.wake(now);
  }

  /** Keeps those discovered targets that are in `addresses`. */
  retain(addresses: readonly Uint8Array[]): void {
    this.#targets = this.#targets.filter(
      (target) => target.isConfigured || addresses.some((address) => isSameBytes(address, target.address)),
    );
    if (this.#targets.length === 0) this.deadline = NEVER;
  }

  /** A packet came from beyond the link. Called for every packet: nothing but a few stores. */
  onHeard(now: Micros): void {
    this.#trafficAt = now;
    this.#unanswered = 0;
    this.#unansweredSince = NEVER;
  }

  /** There is a connection to protect again. */
  wake(now: Micros): void {
    if (this.deadline === NEVER && this.#targets.length > 0) this.deadline = now;
  }

  /** Something looks wrong: ask fast for a while. */
  suspect(now: Micros): void {
    if (this.#targets.length === 0) return;
    const isNew = !this.isSuspecting(now);
    this.#suspectUntil = now + SUSPICION;
    if (isNew) this.deadline = Math.min(this.deadline, now);
  }

  /** @returns whether the echo was one of this link's targets */
  onReply(address: Uint8Array, askedAt: Micros, now: Micros): boolean {
    const target = this.#targets.find((one) => isSameBytes(one.address, address));
    if (target === undefined) return false;
    target.hasAnswered = true;
    target.answeredAt = now;
    target.rtt = Math.max(target.rtt * RTT_DECAY, now - askedAt);
    this.#suspectUntil = -NEVER;
    this.#unanswered = 0;
    this.#unansweredSince = NEVER;
    return true;
  }

  /** The kernel could not send it: says nothing about the link. */
  onUnsendable(): void {
    if (this.#unanswered > 0) this.#unanswered--;
  }

  /** The link is held for lost, for whatever reason, or not any more. */
  onVerdict(isLost: boolean, now: Micros): void {
    this.#lostAt = isLost ? now : NEVER;
    this.#suspectUntil = -NEVER;
    this.#unanswered = 0;
    this.#unansweredSince = NEVER;
    if (this.#targets.length > 0) this.deadline = Math.min(this.deadline, now + this.#interval);
  }

  /** Whether something looks wrong at `now`: echoes are overdue, or other evidence said so. */
  isSuspecting(now: Micros): boolean {
    return this.#suspectUntil > now || this.#isOverdue(now);
  }

  /** Text of the verdict when the link has to be held for lost by echoes alone, else null. */
  verdict(now: Micros): string | null {
    if (this.#lostAt !== NEVER || this.#unanswered < ASKS_MIN) return null;
    const silent = now - this.#unansweredSince;
    if (silent < Math.max(SILENCE_MIN, ROUND_TRIPS * this.#rtt)) return null;
    return `${this.#unanswered} echoes unanswered in ${(silent / 1e6).toFixed(1)} s`;
  }

  /**
   * When due: the targets to be asked now, and the next deadline.
   * @param isNeeded whether there is a connection to protect
   */
  run(isNeeded: boolean, now: Micros): readonly EchoTarget[] {
    if (this.deadline > now) return [];
    if (this.#targets.length === 0) {
      this.deadline = NEVER;
      return [];
    }
    this.deadline = now + this.#interval;
    if (!isNeeded) {
      this.deadline = NEVER;
      this.#unanswered = 0;
      this.#unansweredSince = NEVER;
      return [];
    }
    if (this.#lostAt !== NEVER) {
      const age = now - this.#lostAt;
      this.deadline = now + (BACKOFF.find(([until]) => age < until)?.[1] ?? BACKOFF_LAST);
      return this.#targets.map((target) => this.#ask(target, now));
    }
    if (this.isSuspecting(now)) {
      this.deadline = now + FAST;
      // Those that do not answer are asked too, at the slow pace, because nothing else is known of them.
      return this.#targets
        .filter((target) => target.hasAnswered || now - target.askedAt >= this.#interval)
        .map((target) => this.#ask(target, now));
    }
    // An echo is out: its answer is due before the interval is over.
    const next = this.#targets[this.#turn % this.#targets.length]!;
    const isProven = now - this.#trafficAt < this.#interval;
    const isKnown = next.hasAnswered ? now - next.answeredAt < REFRESH : now - next.askedAt < REFRESH / 3;
    if (isProven && isKnown) {
      this.#turn++;
      return [];
    }
    this.#turn++;
    // Looked at again when it is overdue, if that is sooner.
    this.deadline = now + Math.min(this.#interval, this.#overdue);
    return [this.#ask(next, now)];
  }

  #ask(target: EchoTarget, now: Micros): EchoTarget {
    target.askedAt = now;
    if (target.hasAnswered) {
      this.#unanswered++;
      if (this.#unansweredSince === NEVER) this.#unansweredSince = now;
    }
    return target;
  }

  get #rtt(): Micros {
    let largest = 0;
    for (const { rtt } of this.#targets) largest = Math.max(largest, rtt);
    return largest;
  }

  get #overdue(): Micros {
    return Math.max(OVERDUE, 2 * this.#rtt);
  }

  #isOverdue(now: Micros): boolean {
    return this.#unansweredSince !== NEVER && now - this.#unansweredSince >= this.#overdue;
  }
}
