/**
 * Recorded time as the engine's time: microseconds from the first packet on, never decreasing. Fractions are kept, so that
 * nanoseconds survive.
 */
import { MICROS_PER_SECOND, type Micros, seconds } from '../base/time.ts';
import type { CapturedPacket } from './capture.ts';

/** A longer silence is taken for a clock that was set, and shortened to this. */
const MAX_GAP: Micros = seconds(86_400);

export class ReplayClock {
  /** The newest time that was handed out. */
  now: Micros = 0;
  /** Silences that were shortened, and time stamps that went backwards. */
  shortened = 0;
  backwards = 0;
  #seconds = 0;
  #nanos = 0;
  #hasBase = false;
  /** Time of the engine at the base. */
  #baseAt: Micros = 0;
  /** The first base, for the way back. */
  #startSeconds = 0n;
  #startNanos = 0n;

  /** When the packet passes; packets without a time follow the one before at once. */
  at(packet: CapturedPacket): Micros {
    if (!packet.hasTime) return this.now;
    if (!this.#hasBase) {
      this.#startSeconds = bigSeconds(packet.seconds);
      this.#startNanos = BigInt(packet.nanos);
      this.#hasBase = true;
      this.#rebase(packet);
    }
    const elapsed = (packet.seconds - this.#seconds) * MICROS_PER_SECOND + (packet.nanos - this.#nanos) / 1_000;
    const at = this.#baseAt + elapsed;
    if (at < this.now) {
      this.backwards++;
      return this.now;
    }
    if (at - this.now > MAX_GAP) {
      this.shortened++;
      this.now += MAX_GAP;
      this.#rebase(packet);
      return this.now;
    }
    this.now = at;
    return at;
  }

  #rebase(packet: CapturedPacket): void {
    this.#seconds = packet.seconds;
    this.#nanos = packet.nanos;
    this.#baseAt = this.now;
  }

  /** Nanoseconds since 1970 of a time of the engine; with shortened silences, earlier than recorded. */
  toNanos(at: Micros): bigint {
    return this.#startSeconds * 1_000_000_000n + this.#startNanos + BigInt(Math.round(at * 1_000));
  }
}

/** Seconds before 1970 or beyond what pcapng can say in nanoseconds (year 2554) count as 1970. */
function bigSeconds(value: number): bigint {
  return value >= 0 && value < 18_000_000_000 ? BigInt(Math.floor(value)) : 0n;
}
