/**
 * Doorkeeper: under a flood of made-up connections, only those that show a second segment get a place in the flow table. A real one does
 * at once; a made-up one never answers itself.
 *
 * Crowd. NEWCOMERS_PER_SECOND connections a second enter as they come; the flood begins beyond that.
 * SYN.   Waits in a slot, as it is (SYN cache, RFC 4987 3.4), and passes untracked. The SYN-ACK that answers it lets both enter, and nothing
 *        that the handshake told is lost.
 * Other. The first segment from the middle of a connection leaves its hash; the second one, either way, enters.
 * Limits. One slot per hash of 16 bits: a later SYN takes it. At 50,000 a second, half are taken after 0.9 s; whose SYN-ACK comes later is met
 *        like a connection whose handshake was not seen. 8.5 MB, from the first flood on.
 */
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';
import { KIND_TCP, Packet } from '../wire/packet.ts';
import { isAnsweredBy } from './reopen.ts';

/** New connections a second that are no flood. */
export const NEWCOMERS_PER_SECOND = 1_000;
/** Seconds' worth of them that may come at once: a page full of pictures for every host, all of them after a restart. */
const SAVED_SECONDS = 4;
const SLOTS = 2 ** 16;
/** Headers with all options, IPv6 and virtio-net included; a SYN with data (RFC 7413) does not fit. */
const SLOT_BYTES = 128;

export class Doorkeeper {
  readonly #vnetLength: 0 | 10;
  readonly #perSecond: number;
  #allowance: number;
  #allowanceAt: Micros = 0;
  /** Hash of the connection that a slot is of; the lower half is the slot's number. */
  #hashes: Int32Array | null = null;
  /** Bytes of the SYN in a slot; 0: a segment from the middle. */
  #lengths: Uint8Array | null = null;
  #syns: Packet | null = null;

  /** @param perSecond new connections a second that enter as they come, more than 0 */
  constructor(vnetLength: 0 | 10, perSecond: number = NEWCOMERS_PER_SECOND) {
    this.#vnetLength = vnetLength;
    this.#perSecond = perSecond;
    this.#allowance = SAVED_SECONDS * perSecond;
  }

  /** Whether there is a flood; counts one newcomer. */
  isCrowded(now: Micros): boolean {
    const earned = ((now - this.#allowanceAt) / MICROS_PER_SECOND) * this.#perSecond;
    this.#allowance = Math.min(SAVED_SECONDS * this.#perSecond, this.#allowance + earned);
    this.#allowanceAt = now;
    if (this.#allowance < 1) return true;
    this.#allowance -= 1;
    return false;
  }

  /**
   * In a flood: lets a SYN, or a segment from the middle of a connection, wait for the next one.
   * @param hash of the packet's connection, the same either way
   * @returns whether it may enter: it is the second one
   */
  mayEnter(packet: Packet, hash: number, isSyn: boolean): boolean {
    if (this.#hashes === null) {
      this.#hashes = new Int32Array(SLOTS);
      this.#lengths = new Uint8Array(SLOTS);
      this.#syns = new Packet();
      this.#syns.attach(new ArrayBuffer(SLOTS * SLOT_BYTES));
    }
    const slot = hash & (SLOTS - 1);
    const isKnown = this.#hashes[slot] === hash;
    if (!isSyn && isKnown) return true;
    this.#hashes[slot] = hash;
    const fits = isSyn && packet.length <= SLOT_BYTES;
    this.#lengths![slot] = fits ? packet.length : 0;
    if (fits) copy(packet, this.#syns!.bytes, slot * SLOT_BYTES);
    return false;
  }

  /** The SYN that waits for this SYN-ACK, parsed, or null. Valid until the next call. */
  answered(packet: Packet, hash: number): Packet | null {
    const slot = hash & (SLOTS - 1);
    if (this.#hashes === null || this.#hashes[slot] !== hash) return null;
    const length = this.#lengths![slot]!;
    const syn = this.#syns!;
    if (length === 0 || syn.parse(slot * SLOT_BYTES, length, this.#vnetLength) !== KIND_TCP) return null;
    if (!isAnsweredBy(syn, packet)) return null;
    this.#lengths![slot] = 0;
    return syn;
  }
}

function copy(packet: Packet, to: Uint8Array, at: number): void {
  const { bytes, start, length } = packet;
  for (let i = 0; i < length; i++) to[at + i] = bytes[start + i]!;
}
