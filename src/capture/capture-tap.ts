/**
 * Tap: the datapath's side of a capture. Copies what the filter lets through into the ring, with everything that the writing thread
 * needs to tell the story of a packet; words are made there.
 *
 * Each packet is captured once: what goes on, as it leaves, on the interface by which it leaves; what is held or dropped, as it came, on the interface
 * by which it came; what the gateway makes, on an interface of its own.
 */
import { COUNTER } from '../base/counters.ts';
import type { Micros } from '../base/time.ts';
import { type Disposition, type Engine, FORWARD } from '../engine/engine.ts';
import type { Flow } from '../flow/flow.ts';
import { isPassing, type Note } from '../flow/note.ts';
import { copyBytes } from '../wire/emit.ts';
import { Packet } from '../wire/packet.ts';
import type { Filter } from './filter.ts';
import { parseFilter } from './filter-language.ts';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from './pcapng-blocks.ts';
import * as record from './record.ts';
import { Ring } from './ring.ts';
import { COUNT_ACCEPTED, COUNT_DROPPED, COUNT_SEEN, INTERFACES_MAX } from './ring-counters.ts';

/** What the datapath is told of a capture. */
export interface CaptureTapStart {
  readonly id: number;
  readonly ring: SharedArrayBuffer;
  readonly filter: string;
  readonly snapLength: number;
  /** Names of the gateway's links, by port. */
  readonly links: readonly string[];
  /** Instant of the engine's clock that record times count from. */
  readonly epoch: Micros;
}

/** What is asked of the engine. */
export type TappedEngine = Pick<Engine, 'packet' | 'note' | 'lossOf'>;

export class CaptureTap {
  readonly id: number;
  readonly #ring: Ring;
  readonly #filter: Filter;
  readonly #snapLength: number;
  readonly #epoch: Micros;
  readonly #engine: TappedEngine;
  readonly #counters: Float64Array;
  readonly #subject: { packet: Packet; note: Note; isTouched: boolean };
  /** Packets of each interface that are missing since the last one that was recorded. */
  readonly #missing = new Uint32Array(INTERFACES_MAX);
  /** Texts that the reader knows, by number. */
  readonly #texts = new Map<string, number>();
  readonly #encoder = new TextEncoder();
  /** Interface of what the gateway makes, and of what belongs to no known link. */
  readonly #made: number;
  readonly #unknown: number;

  /** @throws TcpfreezeError FILTER_INVALID */
  constructor(start: CaptureTapStart, engine: TappedEngine, counters: Float64Array) {
    this.id = start.id;
    this.#ring = new Ring(start.ring);
    this.#filter = parseFilter(start.filter, start.links);
    this.#snapLength = start.snapLength;
    this.#epoch = start.epoch;
    this.#engine = engine;
    this.#counters = counters;
    this.#subject = { packet: engine.packet, note: engine.note, isTouched: false };
    this.#made = Math.min(start.links.length, INTERFACES_MAX - 2);
    this.#unknown = this.#made + 1;
  }

  /** The engine has handled a packet. @param nanos now, on the engine's clock */
  handled(disposition: Disposition, micros: Micros): void {
    const { packet, note } = this.#engine;
    const { flow, from } = note;
    const isForwarded = disposition === FORWARD;
    const isChanged =
      isForwarded && note.code !== 0 && (note.isCut || packet.ack !== note.ack || packet.window !== note.window);
    const half = isForwarded ? (from === 0 ? 1 : 0) : from;
    const where = flow === null ? this.#unknown : this.#interfaceOf(flow.halves[half].port);
    const direction = isForwarded ? DIRECTION_OUTBOUND : DIRECTION_INBOUND;
    const fate = isChanged ? record.FATE_CHANGED : isForwarded ? record.FATE_PASSED : record.FATE_HELD;
    note.settle();
    this.#record(packet, note, where, direction, fate, micros);
  }

  /** A packet that the gateway made was written. @param packet decoded */
  made(packet: Packet, micros: Micros): void {
    this.#record(packet, this.#engine.note, this.#made, DIRECTION_OUTBOUND, record.FATE_MADE, micros);
  }

  #interfaceOf(port: number): number {
    return port < 0 ? this.#unknown : Math.min(port, this.#made - 1);
  }

  #record(packet: Packet, note: Note, where: number, direction: number, fate: number, micros: Micros): void {
    const ring = this.#ring;
    const subject = this.#subject;
    ring.count(COUNT_SEEN, where);
    subject.packet = packet;
    subject.isTouched = fate !== record.FATE_PASSED;
    if (!this.#filter.matches(subject)) return;
    ring.count(COUNT_ACCEPTED, where);
    // A damaged packet has no length of its own that could be believed.
    const isWhole = packet.reason === 0;
    const ipAt = packet.start + packet.vnetLength;
    const length = isWhole ? packet.end - ipAt : packet.length - packet.vnetLength;
    const kept = Math.min(length, this.#snapLength);
    const isTold = subject.isTouched;
    const loss = isTold && note.flow !== null ? this.#engine.lossOf(note.flow) : null;
    const lossName = loss === null ? 0 : this.#textOf(loss.name);
    const lossReason = loss === null || loss.reason === '' ? 0 : this.#textOf(loss.reason);
    const header = isTold ? record.TOLD_BYTES : record.PLAIN_BYTES;
    if (!ring.reserve(header + kept)) {
      ring.count(COUNT_DROPPED, where);
      this.#counters[COUNTER.captureDropped]! += 1;
      this.#missing[where]! += 1;
      return;
    }
    const { words } = ring;
    const at = ring.at >> 2;
    ring.doubles[(ring.at + record.TIME) >> 3] = micros - this.#epoch;
    words[at + record.KEPT] = kept;
    words[at + record.LENGTH] = length;
    words[at + record.PLACE] =
      where | (direction << 8) | (fate << 16) | (packet.needsChecksum && kept === length ? record.PARTIAL : 0);
    words[at + record.MISSING] = this.#missing[where]!;
    this.#missing[where] = 0;
    if (isTold) this.#tell(words, at, packet, note);
    if (isTold) {
      words[at + record.LOSS_NAME] = lossName;
      words[at + record.LOSS_REASON] = lossReason;
      words[at + record.LOSS_STATE] = loss === null ? 0 : loss.isLost ? record.LOST : record.BACK;
      ring.doubles[(ring.at + record.ELAPSED) >> 3] = loss === null ? 0 : Math.max(0, micros - loss.since);
    }
    copyBytes(ring.bytes, ring.at + header, packet.bytes, ipAt, ipAt + kept);
    ring.publish(header + kept, isTold ? record.TOLD : record.PLAIN);
    this.#counters[COUNTER.captured]! += 1;
  }

  #tell(words: Int32Array, at: number, packet: Packet, note: Note): void {
    const flow: Flow | null = note.flow;
    words[at + record.CODE] = note.code;
    words[at + record.FLOW] = flow === null ? -1 : flow.index;
    words[at + record.GENERATION] = flow === null ? 0 : flow.generation;
    words[at + record.PHASE] = note.phase;
    words[at + record.CUSTODY] = note.custodyBytes;
    words[at + record.VALUE] = note.value;
    words[at + record.FLAGS] = packet.tcpAt < 0 ? 0 : packet.flags;
    words[at + record.ACK] = packet.ack;
    words[at + record.WINDOW] = packet.window;
    words[at + record.PAYLOAD] = packet.tcpAt < 0 ? 0 : packet.payloadLength;
    words[at + record.WAS_ACK] = isPassing(note.code) ? note.ack : packet.ack;
    words[at + record.WAS_WINDOW] = isPassing(note.code) ? note.window : packet.window;
  }

  /** Number of a text; 0 when the reader cannot be told it now. */
  #textOf(text: string): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const bytes = this.#encoder.encode(text);
    const ring = this.#ring;
    if (bytes.length > record.TEXT_MAX || !ring.reserve(record.TEXT_BYTES + bytes.length)) return 0;
    const id = this.#texts.size + 1;
    const at = ring.at >> 2;
    ring.words[at + record.TEXT_ID] = id;
    ring.words[at + record.TEXT_LENGTH] = bytes.length;
    ring.bytes.set(bytes, ring.at + record.TEXT_BYTES);
    ring.publish(record.TEXT_BYTES + bytes.length, record.TEXT);
    this.#texts.set(text, id);
    return id;
  }
}

/** All captures of a datapath, as its loop sees them. */
export class CaptureTaps {
  readonly #engine: TappedEngine;
  readonly #counters: Float64Array;
  readonly #clock: () => Micros;
  readonly #packet = new Packet();
  readonly #vnetLength: 0 | 10;
  #taps: CaptureTap[] = [];
  /** Whether anybody wants to see packets. */
  isActive = false;

  /**
   * @param outbox memory of the packets that the gateway makes
   * @param clock now on the engine's clock, finer than a turn of the loop
   */
  constructor(
    engine: TappedEngine,
    outbox: ArrayBuffer,
    counters: Float64Array,
    vnetLength: 0 | 10,
    clock: () => Micros,
  ) {
    this.#engine = engine;
    this.#counters = counters;
    this.#vnetLength = vnetLength;
    this.#clock = clock;
    this.#packet.attach(outbox);
  }

  /** @throws TcpfreezeError FILTER_INVALID */
  add(start: CaptureTapStart): void {
    this.#taps = [
      ...this.#taps.filter(({ id }) => id !== start.id),
      new CaptureTap(start, this.#engine, this.#counters),
    ];
    this.isActive = true;
  }

  remove(id: number): void {
    this.#taps = this.#taps.filter((tap) => tap.id !== id);
    this.isActive = this.#taps.length > 0;
  }

  /** The engine has handled a packet, and it was written where it was to be forwarded. */
  handled(disposition: Disposition): void {
    const now = this.#clock();
    for (let i = 0; i < this.#taps.length; i++) this.#taps[i]!.handled(disposition, now);
  }

  /** A packet that the gateway made was written from the outbox. */
  transmitted(offset: number, length: number): void {
    const now = this.#clock();
    this.#packet.parse(offset, length, this.#vnetLength);
    for (let i = 0; i < this.#taps.length; i++) this.#taps[i]!.made(this.#packet, now);
  }
}
