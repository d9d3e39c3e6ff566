/**
 * One direction of an emulated link: a drop-tail queue in front of a transmitter of fixed rate, then a wire of fixed
 * delay. Pure arithmetic over times and slots; link.ts moves the bytes.
 *
 * Packets leave in the order they came, so one ring holds both the queue and the wire: `#head` is the next to arrive at the
 * far end, `#queued` the first that has not left the transmitter yet.
 */
import { Prng } from '../base/prng.ts';
import { type Micros, NEVER } from '../base/time.ts';

export interface DirectionSettings {
  /** Bits per second of whole Ethernet frames; 0 is unlimited. */
  readonly rateBps: number;
  /** Time on the wire, microseconds. */
  readonly delayMicros: Micros;
  /** Packets that may wait for the transmitter, the one being sent included. */
  readonly queuePackets: number;
  /** Probability that a packet is lost on the wire, 0..1. */
  readonly loss: number;
  /** Seed of the loss pattern. */
  readonly seed: number;
}

export interface DirectionStatistics {
  /** Frames and bytes that came out at the far end. */
  packets: number;
  bytes: number;
  /** Dropped because the queue was full. */
  queueDrops: number;
  /** Dropped by the loss probability. */
  lossDrops: number;
  /** Dropped by a cut: what came in while cut, and what was under way when it happened. */
  cutDrops: number;
  /** Frames longer than a slot: the sending end has offloads on, which the lab must not allow here. */
  oversize: number;
  /** Frames that the kernel refused to take at the far end. */
  sendErrors: number;
  /** Most packets that waited at once. */
  queuePeak: number;
}

export class LinkDirection {
  readonly statistics: DirectionStatistics = {
    packets: 0,
    bytes: 0,
    queueDrops: 0,
    lossDrops: 0,
    cutDrops: 0,
    oversize: 0,
    sendErrors: 0,
    queuePeak: 0,
  };
  readonly #settings: DirectionSettings;
  readonly #random: Prng;
  readonly #mask: number;
  readonly #length: Uint16Array;
  /** When the last bit leaves the transmitter, and when it arrives. */
  readonly #sentAt: Float64Array;
  readonly #arrivesAt: Float64Array;
  #head = 0;
  #queued = 0;
  #tail = 0;
  #busyUntil = 0;
  #open = true;

  /** @param slots ring size, a power of two: the most packets in queue and on the wire together */
  constructor(settings: DirectionSettings, slots: number) {
    this.#settings = settings;
    this.#random = new Prng(settings.seed);
    this.#mask = slots - 1;
    this.#length = new Uint16Array(slots);
    this.#sentAt = new Float64Array(slots);
    this.#arrivesAt = new Float64Array(slots);
  }

  /** Slot into which the next incoming frame is to be read. Always usable: one slot is kept free. */
  get readSlot(): number {
    return this.#tail & this.#mask;
  }

  /** A frame of `length` bytes was read into `readSlot` at `now`: queue it, or leave the slot for the next one. */
  accept(length: number, now: Micros): void {
    if (!this.#open) {
      this.statistics.cutDrops++;
      return;
    }
    while (this.#queued !== this.#tail && this.#sentAt[this.#queued & this.#mask]! <= now) this.#queued++;
    const waiting = this.#tail - this.#queued;
    if (waiting >= this.#settings.queuePackets || this.#tail - this.#head >= this.#mask) {
      this.statistics.queueDrops++;
      return;
    }
    if (waiting + 1 > this.statistics.queuePeak) this.statistics.queuePeak = waiting + 1;
    const { rateBps, delayMicros, loss } = this.#settings;
    const start = this.#busyUntil > now ? this.#busyUntil : now;
    const sentAt = rateBps > 0 ? start + (length * 8e6) / rateBps : start;
    this.#busyUntil = sentAt;
    if (loss > 0 && this.#random.nextFloat() < loss) {
      // It took its time on the transmitter; only the wire lost it.
      this.statistics.lossDrops++;
      return;
    }
    const slot = this.#tail & this.#mask;
    this.#length[slot] = length;
    this.#sentAt[slot] = sentAt;
    this.#arrivesAt[slot] = sentAt + delayMicros;
    this.#tail++;
  }

  /** When the next frame arrives at the far end, or NEVER. */
  nextArrival(): Micros {
    return this.#head === this.#tail ? NEVER : this.#arrivesAt[this.#head & this.#mask]!;
  }

  /** Slot and length of the frame that arrives next; only where `nextArrival` is not NEVER. */
  get headSlot(): number {
    return this.#head & this.#mask;
  }

  get headLength(): number {
    return this.#length[this.#head & this.#mask]!;
  }

  /** The head frame was handed to the far end (or refused there). */
  pop(delivered: boolean): void {
    if (delivered) {
      this.statistics.packets++;
      this.statistics.bytes += this.headLength;
    } else {
      this.statistics.sendErrors++;
    }
    this.#head++;
    if (this.#queued < this.#head) this.#queued = this.#head;
  }

  /** Cuts the direction: what is under way is lost, what comes is dropped. */
  cut(): void {
    this.statistics.cutDrops += this.#tail - this.#head;
    this.#head = this.#queued = this.#tail;
    this.#busyUntil = 0;
    this.#open = false;
  }

  restore(): void {
    this.#open = true;
  }
}
