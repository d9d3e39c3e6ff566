/**
 * Silence: does a link still answer, judged by the connections that use it? No packet is sent for it.
 *
 * Purpose.  A link can swallow packets while its interface looks healthy. What is then seen is that segments go out, are
 *           repeated, and nothing at all comes back. Any packet from beyond the link is proof of life and outranks everything,
 *           so one connection with a dead peer beside living ones is no loss of a link, and neither is a slow queue.
 * Model.    Segments sent since just before the last sign of life are questions. Each would have been answered, if the link
 *           worked, unless it or its answer was lost; with the link's own loss ratio p that happens to n questions in a
 *           row with probability (2p)^n. A verdict needs that to be below 1e-7, and a silence several times the longest round
 *           trip seen, so that neither 5 % loss nor a bloated queue is taken for an outage.
 *           Questions close together share their fate (one burst, one full queue), so a slice of time counts few of them.
 * Limits.   Fixed size per link. A link on which only the far side sends is not judged by its silence, which may be the end of
 *           what there was to say; keepalives then ask (engine/suspicion.ts) and are questions like any other.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';

/** Width of a slice of time, and how many are remembered: two seconds. */
const SLICE: Micros = millis(32);
const SLICES = 64;
/** Questions of one slice that count. */
const PER_SLICE = 3;
/** Questions of the last round trip before the silence, which was clocked by answers: at most so many count. */
const BEFORE_MAX = 9;
/** Questions that must have been asked after the silence became noticeable, in different slices. */
const AFTER_MIN = 2;
const SILENCE_MIN: Micros = millis(600);
/** After a pause the first questions may meet a queue that nobody could have seen growing: 1.5 s of it are not rare. */
const IDLE_MIN: Micros = seconds(2);
/** What was not heard for this long before the first question had paused. */
const PAUSE: Micros = seconds(1);
/** A silence must be this many times the longest round trip of late. */
const ROUND_TRIPS = 3;
/** Round trip of a link of which none is known. */
const RTT_UNKNOWN: Micros = seconds(1);
/** How long a round trip is remembered, at least. */
const RTT_MEMORY: Micros = seconds(60);
/** Natural logarithm of the accepted probability of a false alarm per silence. */
const LOG_FALSE = Math.log(1e-7);
/** Ratio of repeats that is assumed even where none was seen. */
const LOSS_FLOOR = 0.01;
/** Ratio of a link that is not known yet. */
const LOSS_UNKNOWN = 0.05;
const LOSS_CEILING = 0.3;
/** Weight of one segment in the loss ratio. */
const LOSS_WEIGHT = 1 / 300;
const CHECK_INTERVAL: Micros = millis(50);

export class Silence {
  /** When `check` wants to be called, NEVER while nothing is open. */
  checkAt: Micros = NEVER;
  heardAt: Micros = -NEVER;
  #askedAt: Micros = -NEVER;
  /** First question since anything was heard, and whether it came after a pause. */
  #openSince: Micros = -NEVER;
  #isAfterPause = false;
  /** Number of each remembered slice since time 0, and its questions. */
  readonly #slices = new Float64Array(SLICES).fill(-1);
  readonly #questions = new Float64Array(SLICES);
  #loss = LOSS_UNKNOWN;
  #rttMax: Micros = 0;
  #rttBefore: Micros = 0;
  #rttSince: Micros = 0;
  /** Of the last verdict, for the evidence: unanswered questions. */
  unanswered = 0;

  /** A packet came from beyond the link. */
  onHeard(now: Micros): void {
    this.heardAt = now;
  }

  /**
   * Data was sent over the link.
   * @param isRepeat whether it had been sent before
   * @param rtt smoothed round trip of its connection (micros), 0 when unknown
   */
  onAsked(isRepeat: boolean, rtt: Micros, now: Micros): void {
    this.onQuestion(now);
    // While nothing is heard, repeats tell of the outage, not of the ratio.
    if (now - this.heardAt < SILENCE_MIN / 2) {
      this.#loss += ((isRepeat ? 1 : 0) - this.#loss) * LOSS_WEIGHT;
    }
    this.onRoundTrip(rtt, now);
  }

  /** A round trip over the link is known (micros; 0: not). */
  onRoundTrip(rtt: Micros, now: Micros): void {
    if (rtt > this.#rttMax) this.#rttMax = rtt;
    if (now - this.#rttSince > RTT_MEMORY) {
      this.#rttBefore = this.#rttMax;
      this.#rttMax = rtt;
      this.#rttSince = now;
    }
  }

  /** Something was sent that the other side has to answer: a segment, a keepalive. */
  onQuestion(now: Micros): void {
    const slice = Math.floor(now / SLICE);
    const at = slice % SLICES;
    if (this.#slices[at] !== slice) {
      this.#slices[at] = slice;
      this.#questions[at] = 0;
    }
    this.#questions[at]! += 1;
    this.#askedAt = now;
    if (this.#openSince <= this.heardAt) {
      this.#openSince = now;
      this.#isAfterPause = now - this.heardAt > PAUSE;
    }
    if (this.checkAt === NEVER) this.checkAt = now + CHECK_INTERVAL;
  }

  /** Longest smoothed round trip of the last one or two RTT_MEMORYs. */
  get rtt(): Micros {
    const known = Math.max(this.#rttMax, this.#rttBefore);
    return known === 0 ? RTT_UNKNOWN : known;
  }

  /** Silence that a verdict needs at least. */
  get threshold(): Micros {
    return Math.max(SILENCE_MIN, ROUND_TRIPS * this.rtt);
  }

  /** Questions that a verdict needs to be without an answer. */
  get needed(): number {
    const ratio = Math.min(LOSS_CEILING, Math.max(LOSS_FLOOR, this.#loss));
    return Math.ceil(LOG_FALSE / Math.log(2 * ratio));
  }

  /**
   * Judges when due; sets `checkAt`.
   * @returns whether the link has fallen silent
   */
  check(now: Micros): boolean {
    if (this.checkAt > now) return false;
    if (this.heardAt >= this.#askedAt) {
      // Answered, as far as can be told; the next question opens a new one.
      this.checkAt = NEVER;
      return false;
    }
    this.checkAt = now + CHECK_INTERVAL;
    const heardAt = Math.max(this.heardAt, now - SLICE * (SLICES - 1));
    if (now - this.heardAt < this.threshold || this.heardAt === -NEVER) return false;
    if (this.#isAfterPause && now - this.#openSince < Math.max(IDLE_MIN, this.threshold)) return false;
    const { rtt } = this;
    let before = 0;
    let after = 0;
    let slicesAfter = 0;
    for (let i = 0; i < SLICES; i++) {
      const slice = this.#slices[i]!;
      const start = slice * SLICE;
      if (slice < 0 || start + SLICE <= heardAt - 0.75 * rtt) continue;
      const count = Math.min(PER_SLICE, this.#questions[i]!);
      if (start <= heardAt) before += count;
      else {
        after += count;
        slicesAfter++;
      }
    }
    this.unanswered = Math.min(BEFORE_MAX, before) + after;
    return slicesAfter >= AFTER_MIN && this.unanswered >= this.needed;
  }

  /** Begins anew: the verdict was acted upon, or other evidence changed the situation. */
  reset(now: Micros): void {
    this.checkAt = NEVER;
    this.heardAt = now;
    this.#questions.fill(0);
    this.#slices.fill(-1);
    this.#askedAt = -NEVER;
    this.#openSince = -NEVER;
  }
}
