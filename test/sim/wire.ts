/**
 * One direction of a link: a drop-tail queue in front of a transmitter, then delay, jitter (hence reordering), loss
 * and duplication. A cut swallows what is queued and in transit, and everything sent until the link is restored.
 */
import type { Prng } from '../../src/base/prng.ts';
import { MICROS_PER_SECOND, type Micros } from '../../src/base/time.ts';
import type { EchoRequest } from '../../src/link/events.ts';
import type { EventQueue } from './queue.ts';

export interface WireConfig {
  /** One way. */
  readonly delay: Micros;
  /** 0: no limit. */
  readonly bytesPerSecond: number;
  readonly queuePackets: number;
  /** Probabilities, 0 to 1. */
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  /** A reordered packet comes up to this much later. */
  readonly jitter: Micros;
}

export const CLEAN: WireConfig = {
  delay: 1_000,
  bytesPerSecond: 0,
  queuePackets: 400,
  loss: 0,
  duplicate: 0,
  reorder: 0,
  jitter: 0,
};

export interface SimPacket {
  readonly bytes: Uint8Array;
  /** Made by the gateway, not forwarded. */
  readonly synthesized: boolean;
  /** An echo request or its reply, instead of a segment. */
  readonly echo?: EchoRequest;
}

export class Wire {
  readonly config: WireConfig;
  isCut = false;
  /** Drop that many of the next packets whatever the probabilities say; for tests of single losses. */
  dropNext = 0;
  sent = 0;
  dropped = 0;
  delivered = 0;

  readonly #queue: EventQueue;
  readonly #prng: Prng;
  readonly #deliver: (packet: SimPacket) => void;
  #freeAt: Micros = 0;
  #queued = 0;
  #era = 0;

  constructor(config: WireConfig, queue: EventQueue, prng: Prng, deliver: (packet: SimPacket) => void) {
    this.config = config;
    this.#queue = queue;
    this.#prng = prng;
    this.#deliver = deliver;
  }

  /** Whether packets arrive in the order in which they were sent. */
  get keepsOrder(): boolean {
    return this.config.reorder === 0 && this.config.duplicate === 0;
  }

  cut(): void {
    this.isCut = true;
    this.#era++;
    this.#queued = 0;
    this.#freeAt = 0;
  }

  restore(): void {
    this.isCut = false;
  }

  send(packet: SimPacket): void {
    const { config } = this;
    const { now } = this.#queue;
    this.sent++;
    if (this.isCut || this.dropNext > 0 || this.#queued >= config.queuePackets) {
      if (!this.isCut && this.dropNext > 0) this.dropNext--;
      this.dropped++;
      return;
    }
    const start = Math.max(now, this.#freeAt);
    const time = config.bytesPerSecond === 0 ? 0 : (packet.bytes.length * MICROS_PER_SECOND) / config.bytesPerSecond;
    this.#freeAt = start + time;
    this.#queued++;
    const era = this.#era;
    this.#queue.schedule(this.#freeAt, () => {
      if (era === this.#era) this.#queued--;
    });
    if (this.#chance(config.loss)) {
      this.dropped++;
      return;
    }
    this.#transit(packet, era);
    if (this.#chance(config.duplicate)) this.#transit(packet, era);
  }

  #transit(packet: SimPacket, era: number): void {
    const extra = this.#chance(this.config.reorder) ? this.#prng.nextFloat() * this.config.jitter : 0;
    this.#queue.schedule(this.#freeAt + this.config.delay + extra, () => {
      if (era !== this.#era) return;
      this.delivered++;
      this.#deliver(packet);
    });
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#prng.nextFloat() < probability;
  }
}
