/**
 * Flow table: from a packet's addresses and ports to its flow, in constant time and bounded memory.
 *
 * Purpose.   Both directions of a connection find the same `Flow`.
 * Limits.    `capacity` flows; the bucket array is twice that, open addressing with linear probing and backward-shift
 *            deletion, so there are no tombstones and no chains to follow through the heap. Keys live in one Int32Array.
 *            The hash is keyed (hash.ts): whoever does not know the key cannot aim at one bucket.
 * Direction. The key of a connection is stored as originator-responder. A look-up normalizes: the lower endpoint
 *            (address, then port, as signed words) comes first in the hashed words, whichever way the packet travels.
 * Expiry.    `sweep` looks at a few entries per call, like a clock hand, so no timer per flow is needed.
 * Flow of data.  packet -> findOrNull -> flow -> flow/tracker.ts; engine creates and removes.
 */
import type { Micros } from '../base/time.ts';
import type { Packet } from '../wire/packet.ts';
import { Flow, KEY_WORDS } from './flow.ts';
import { halfSipHash } from './hash.ts';

const EMPTY = -1;

export class FlowTable {
  readonly capacity: number;
  /** Key words by flow index; see KEY_WORDS. */
  readonly keys: Int32Array;
  readonly #flows: (Flow | null)[];
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #buckets: Int32Array;
  readonly #mask: number;
  readonly #k0: number;
  readonly #k1: number;
  /** Words of the packet being looked up, normalized. */
  readonly #probe = new Int32Array(KEY_WORDS);
  readonly #stored = new Int32Array(KEY_WORDS);
  /** Direction of the last look-up's packet: 0 originator to responder, 1 the other way. */
  direction: 0 | 1 = 0;
  /** Hash of the connection that was looked up last, the same either way; secret like the table's key. */
  sought = 0;
  size = 0;
  #hand = 0;
  #highest = 0;

  /**
   * @param capacity most flows at a time, 1..2^24
   * @param key two secret random 32-bit words
   */
  constructor(capacity: number, key: readonly [number, number]) {
    this.capacity = capacity;
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.#flows = new Array<Flow | null>(capacity).fill(null);
    this.#free = new Int32Array(capacity);
    this.#freeCount = 0;
    let buckets = 16;
    while (buckets < capacity * 2) buckets *= 2;
    this.#buckets = new Int32Array(buckets).fill(EMPTY);
    this.#mask = buckets - 1;
    this.#k0 = key[0];
    this.#k1 = key[1];
  }

  /** The flow of a parsed TCP packet, or null. Sets `direction`. */
  find(packet: Packet): Flow | null {
    const swapped = this.#load(packet);
    this.sought = this.#hash(this.#probe);
    let bucket = this.sought & this.#mask;
    for (;;) {
      const index = this.#buckets[bucket]!;
      if (index === EMPTY) return null;
      const match = this.#matches(index);
      if (match !== 0) {
        // The stored order is originator first; `match` says whether that order is the normalized one.
        const storedSwapped = match === 2;
        this.direction = swapped === storedSwapped ? 0 : 1;
        return this.#flows[index]!;
      }
      bucket = (bucket + 1) & this.#mask;
    }
  }

  /**
   * A new flow whose originator is the sender of this packet; the caller made sure that `find` knows none.
   * @returns null when the table is full
   */
  create(packet: Packet, now: Micros): Flow | null {
    const flow = this.#allot(now);
    if (flow === null) return null;
    const { index } = flow;
    flow.family = packet.family;
    flow.originatorPort = packet.srcPort;
    flow.responderPort = packet.dstPort;
    const at = index * KEY_WORDS;
    const { view, srcAt, dstAt } = packet;
    const words = packet.family === 4 ? 1 : 4;
    for (let i = 0; i < 4; i++) {
      this.keys[at + i] = i < words ? view.getInt32(srcAt + 4 * i) : 0;
      this.keys[at + 4 + i] = i < words ? view.getInt32(dstAt + 4 * i) : 0;
    }
    this.keys[at + 8] = (packet.srcPort << 16) | packet.dstPort;
    this.keys[at + 9] = packet.family;
    let bucket = this.#homeOf(index);
    while (this.#buckets[bucket] !== EMPTY) bucket = (bucket + 1) & this.#mask;
    this.#buckets[bucket] = index;
    this.size++;
    this.direction = 0;
    return flow;
  }

  /**
   * A flow with the key words of an earlier one (see KEY_WORDS).
   * @returns null when the table is full, or has a flow between these endpoints
   */
  restore(key: Int32Array, now: Micros): Flow | null {
    const family = key[9];
    if (family !== 4 && family !== 6) return null;
    const flow = this.#allot(now);
    if (flow === null) return null;
    const { index } = flow;
    this.keys.set(key.subarray(0, KEY_WORDS), index * KEY_WORDS);
    flow.family = family;
    flow.originatorPort = key[8]! >>> 16;
    flow.responderPort = key[8]! & 0xffff;
    this.#normalize(this.keys, index * KEY_WORDS, this.#probe);
    let bucket = this.#hash(this.#probe) & this.#mask;
    for (; this.#buckets[bucket] !== EMPTY; bucket = (bucket + 1) & this.#mask) {
      if (this.#matches(this.#buckets[bucket]!) === 0) continue;
      this.keys[index * KEY_WORDS + 9] = 0;
      this.#free[this.#freeCount++] = index;
      return null;
    }
    this.#buckets[bucket] = index;
    this.size++;
    return flow;
  }

  /** Hash of both endpoints of a flow, the same whoever opened it; secret like the table's key. */
  fingerprint(flow: Flow): number {
    return this.#fingerprint(this.keys, flow.index * KEY_WORDS);
  }

  /** As `fingerprint`, of key words that are in no table. */
  fingerprintOf(key: Int32Array): number {
    return this.#fingerprint(key, 0);
  }

  #fingerprint(keys: Int32Array, at: number): number {
    this.#normalize(keys, at, this.#stored);
    return this.#hash(this.#stored);
  }

  /** 0: the originator of `flow` is that of `key`; 1: it is its responder; -1: these are other endpoints. */
  orientation(flow: Flow, key: Int32Array): 0 | 1 | -1 {
    const at = flow.index * KEY_WORDS;
    const { keys } = this;
    if (keys[at + 9] !== key[9]) return -1;
    const ports = key[8]!;
    let [same, exchanged] = [keys[at + 8] === ports, keys[at + 8] === ((ports << 16) | (ports >>> 16))];
    for (let i = 0; i < 4; i++) {
      same &&= keys[at + i] === key[i] && keys[at + 4 + i] === key[4 + i];
      exchanged &&= keys[at + i] === key[4 + i] && keys[at + 4 + i] === key[i];
    }
    return same ? 0 : exchanged ? 1 : -1;
  }

  /** A flow that was just made is told to have been opened by its other end. Sets `direction`. */
  turn(flow: Flow): void {
    const at = flow.index * KEY_WORDS;
    const { keys } = this;
    for (let i = at; i < at + 4; i++) {
      const word = keys[i]!;
      keys[i] = keys[i + 4]!;
      keys[i + 4] = word;
    }
    keys[at + 8] = (flow.responderPort << 16) | flow.originatorPort;
    flow.originatorPort = keys[at + 8]! >>> 16;
    flow.responderPort = keys[at + 8]! & 0xffff;
    this.direction = 1;
  }

  /** An unused flow, ready for a new connection; null when there is none. */
  #allot(now: Micros): Flow | null {
    let index: number;
    if (this.#freeCount > 0) index = this.#free[--this.#freeCount]!;
    else if (this.#highest < this.capacity) index = this.#highest++;
    else return null;
    const flow = this.#flows[index] ?? new Flow(index);
    this.#flows[index] = flow;
    flow.reset(now);
    return flow;
  }

  /** Forgets a flow. Its object will be reused; the caller has released what hung on it. */
  remove(flow: Flow): void {
    let hole = this.#bucketOf(flow.index);
    if (hole < 0) return;
    // Backward shift (Knuth 6.4 R): move later entries of the cluster whose home is not after the hole.
    let next = hole;
    for (;;) {
      next = (next + 1) & this.#mask;
      const index = this.#buckets[next]!;
      if (index === EMPTY) break;
      const home = this.#homeOf(index);
      if (((next - home) & this.#mask) >= ((next - hole) & this.#mask)) {
        this.#buckets[hole] = index;
        hole = next;
      }
    }
    this.#buckets[hole] = EMPTY;
    this.#free[this.#freeCount++] = flow.index;
    this.keys[flow.index * KEY_WORDS + 9] = 0;
    this.size--;
  }

  /** Indexes ever used: how far `sweep` has to go to see every flow. */
  get span(): number {
    return this.#highest;
  }

  /** Whether the flow object currently stands for a connection. */
  isLive(flow: Flow): boolean {
    return this.keys[flow.index * KEY_WORDS + 9] !== 0;
  }

  /** Calls `visit` for every flow. Removing the visited flow inside is allowed. */
  forEach(visit: (flow: Flow) => void): void {
    for (let index = 0; index < this.#highest; index++) {
      const flow = this.#flows[index]!;
      if (this.keys[index * KEY_WORDS + 9] !== 0) visit(flow);
    }
  }

  /** Whether any flow satisfies `test`; stops at the first. */
  some(test: (flow: Flow) => boolean): boolean {
    for (let index = 0; index < this.#highest; index++) {
      if (this.keys[index * KEY_WORDS + 9] !== 0 && test(this.#flows[index]!)) return true;
    }
    return false;
  }

  /** The flow with this public identifier, or null. */
  byId(id: string): Flow | null {
    const match = /^(\d{1,8})\.(\d{1,15})$/.exec(id);
    if (match === null) return null;
    const flow = this.#flows[Number(match[1])] ?? null;
    return flow !== null && this.isLive(flow) && flow.generation === Number(match[2]) ? flow : null;
  }

  /** Advances the clock hand over `steps` entries and calls `visit` for each flow found there. */
  sweep(steps: number, visit: (flow: Flow) => void): void {
    const count = Math.min(steps, this.#highest);
    for (let i = 0; i < count; i++) {
      if (this.#hand >= this.#highest) this.#hand = 0;
      const index = this.#hand++;
      if (this.keys[index * KEY_WORDS + 9] !== 0) visit(this.#flows[index]!);
    }
  }

  /** As `sweep`, but ends as soon as `isEnough` returns true. */
  seek(steps: number, isEnough: (flow: Flow) => boolean): void {
    const count = Math.min(steps, this.#highest);
    for (let i = 0; i < count; i++) {
      if (this.#hand >= this.#highest) this.#hand = 0;
      const index = this.#hand++;
      if (this.keys[index * KEY_WORDS + 9] !== 0 && isEnough(this.#flows[index]!)) return;
    }
  }

  /** Loads the normalized key of a packet to `#probe`; returns whether source and destination were swapped. */
  #load(packet: Packet): boolean {
    const { view, srcAt, dstAt } = packet;
    const probe = this.#probe;
    const words = packet.family === 4 ? 1 : 4;
    let order = 0;
    for (let i = 0; i < words && order === 0; i++)
      order = compare(view.getInt32(srcAt + 4 * i), view.getInt32(dstAt + 4 * i));
    if (order === 0) order = compare(packet.srcPort, packet.dstPort);
    const swapped = order > 0;
    const first = swapped ? dstAt : srcAt;
    const second = swapped ? srcAt : dstAt;
    for (let i = 0; i < 4; i++) {
      probe[i] = i < words ? view.getInt32(first + 4 * i) : 0;
      probe[4 + i] = i < words ? view.getInt32(second + 4 * i) : 0;
    }
    probe[8] = swapped ? (packet.dstPort << 16) | packet.srcPort : (packet.srcPort << 16) | packet.dstPort;
    probe[9] = packet.family;
    return swapped;
  }

  #hash(words: Int32Array): number {
    // IPv4 keys fold their three meaningful words together, which saves two thirds of the work.
    if (words[9] === 4) {
      words[1] = words[4]!;
      words[2] = words[8]!;
      const hash = halfSipHash(words, 0, 3, this.#k0, this.#k1);
      words[1] = 0;
      words[2] = 0;
      return hash;
    }
    return halfSipHash(words, 0, 9, this.#k0, this.#k1);
  }

  /** 0 no match; 1 stored order equals the probe's; 2 stored with source and destination exchanged. */
  #matches(index: number): 0 | 1 | 2 {
    const { keys } = this;
    const probe = this.#probe;
    const at = index * KEY_WORDS;
    if (keys[at + 9] !== probe[9]) return 0;
    if (keys[at + 8] === probe[8] && keys[at] === probe[0] && keys[at + 4] === probe[4]) {
      if (probe[9] === 4 || this.#sameWords(at, 0)) return 1;
    }
    const ports = keys[at + 8]!;
    const exchanged = (ports << 16) | (ports >>> 16);
    if (exchanged === probe[8] && keys[at] === probe[4] && keys[at + 4] === probe[0]) {
      if (probe[9] === 4 || this.#sameWords(at, 4)) return 2;
    }
    return 0;
  }

  #sameWords(at: number, shift: 0 | 4): boolean {
    const probe = this.#probe;
    for (let i = 1; i < 4; i++) {
      if (this.keys[at + i] !== probe[i + shift] || this.keys[at + 4 + i] !== probe[4 + i - shift]) return false;
    }
    return true;
  }

  #homeOf(index: number): number {
    this.#normalize(this.keys, index * KEY_WORDS, this.#stored);
    return this.#hash(this.#stored) & this.#mask;
  }

  /** Loads the key words at `at`, normalized, to `stored`. */
  #normalize(keys: Int32Array, at: number, stored: Int32Array): void {
    let order = 0;
    for (let i = 0; i < 4 && order === 0; i++) order = compare(keys[at + i]!, keys[at + 4 + i]!);
    const ports = keys[at + 8]!;
    if (order === 0) order = compare(ports >>> 16, ports & 0xffff);
    const shift = order > 0 ? 4 : 0;
    for (let i = 0; i < 4; i++) {
      stored[i] = keys[at + i + shift]!;
      stored[4 + i] = keys[at + 4 + i - shift]!;
    }
    stored[8] = shift === 4 ? (ports << 16) | (ports >>> 16) : ports;
    stored[9] = keys[at + 9]!;
  }

  #bucketOf(index: number): number {
    let bucket = this.#homeOf(index);
    for (;;) {
      const found = this.#buckets[bucket]!;
      if (found === index) return bucket;
      if (found === EMPTY) return -1;
      bucket = (bucket + 1) & this.#mask;
    }
  }
}

function compare(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
