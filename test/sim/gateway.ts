/**
 * The engine driven exactly as the shell drives it: packets are placed in the arena at `readOffset`, the verdict decides,
 * then transmits, events and the deadline are polled. Everything that leaves is a copy.
 */

import { COUNTER_NAMES, type CounterName, readCounters } from '../../src/base/counters.ts';
import { type Micros, NEVER } from '../../src/base/time.ts';
import type { Command, EngineEvent, FlowSnapshot, Reply } from '../../src/engine/commands.ts';
import { Engine, type EngineConfig, type EngineMemory, FORWARD, READ_MAX } from '../../src/engine/engine.ts';
import type { HandshakeBatch } from '../../src/engine/handshakes.ts';
import type { JournalBatch } from '../../src/freeze/journal.ts';
import { readFrames, sealFrames } from '../../src/journal/frames.ts';
import type { LinkEvent } from '../../src/link/events.ts';

export const GATEWAY: EngineConfig = {
  ports: [
    { name: 'lan0', role: 'lan' },
    { name: 'wan0', role: 'wan' },
  ],
  vnetHeaderLength: 0,
  gso: false,
  maxFlows: 256,
  custodyBytesPerFlow: 4 * 1024 * 1024,
  custodyBytesTotal: 16 * 1024 * 1024,
  freezing: true,
  hashKey: [0x1234_5678, 0x0bad_cafe],
  seed: 1,
};

/** Smallest arena that the engine works with (four packets and their slot headers), and a comfortable one. */
export const ARENA_MIN = 4 * (READ_MAX + 64);
export const ARENA = 4 * 1024 * 1024;

const OUTBOX = 1024 * 1024;

/** What the engine reads packets into, and what it makes its own in. */
export interface GatewayMemory {
  readonly arena: ArrayBuffer;
  readonly outbox: ArrayBuffer;
}

export function makeMemory(arenaBytes: number, outboxBytes: number = OUTBOX): GatewayMemory {
  return { arena: new ArrayBuffer(arenaBytes), outbox: new ArrayBuffer(outboxBytes) };
}

export class Gateway {
  engine: Engine;
  /** No process runs: packets take the kernel's way. */
  isDown = false;
  /** Writes to the journal that nobody has taken yet. */
  readonly batches: JournalBatch[] = [];
  /** The table of handshakes: no crash of a process takes anything of it. */
  handshakes: Uint8Array[] = [];
  readonly events: EngineEvent[] = [];
  readonly counters: Float64Array = new Float64Array(COUNTER_NAMES.length);
  /** FNV-1a over everything that left, with its time: two runs can be compared by it. */
  digest = 0x811c_9dc5;
  /** Packets that came out changed or were not forwarded; for the invariant of a gateway that may not freeze. */
  altered = 0;

  readonly #memory: EngineMemory;
  readonly #arena: Uint8Array;
  readonly #outbox: Uint8Array;
  readonly #config: EngineConfig;
  readonly #vnetLength: 0 | 10;
  readonly #emit: (bytes: Uint8Array, synthesized: boolean) => void;

  constructor(config: EngineConfig, memory: GatewayMemory, emit: (bytes: Uint8Array, synthesized: boolean) => void) {
    const { arena, outbox } = memory;
    this.#arena = new Uint8Array(arena);
    this.#outbox = new Uint8Array(outbox);
    this.#config = config;
    this.#vnetLength = config.vnetHeaderLength;
    this.#emit = emit;
    this.#memory = { arena, outbox, counters: this.counters };
    this.engine = new Engine(config, this.#memory);
  }

  /** The process ends without a word. */
  crash(): void {
    this.isDown = true;
    this.batches.length = 0;
  }

  /** The next process: an engine that knows nothing but the links and the journal. */
  restart(links: readonly LinkEvent[], records: readonly Uint8Array[], now: Micros): void {
    const seed = (this.#config.seed + now) | 0;
    this.engine = new Engine({ ...this.#config, seed, hashKey: [seed, ~seed] }, this.#memory);
    this.isDown = false;
    for (const event of links) this.engine.handleLink(event, now);
    this.engine.remember(this.handshakes, now);
    this.engine.recall(records, now);
    this.drain(now);
  }

  synced(number: number, now: Micros): void {
    this.engine.handleJournalSync(number, now);
    this.drain(now);
  }

  get vnetLength(): 0 | 10 {
    return this.#vnetLength;
  }

  packet(bytes: Uint8Array, now: Micros): void {
    const at = this.engine.readOffset;
    if (at < 0 || at + READ_MAX > this.#arena.length) throw new Error(`readOffset ${at} leaves no room for a read`);
    this.#arena.set(bytes, at);
    const verdict = this.engine.handlePacket(at, bytes.length, now);
    if (verdict === FORWARD) {
      const copy = this.#arena.slice(at, at + bytes.length);
      if (!isSame(copy, bytes)) this.altered++;
      this.#out(copy, false, now);
    } else this.altered++;
    this.drain(now);
  }

  link(event: LinkEvent, now: Micros): void {
    this.engine.handleLink(event, now);
    this.drain(now);
  }

  command(command: Command, now: Micros): Reply {
    const reply = this.engine.handleCommand(command, now);
    this.drain(now);
    return reply;
  }

  timeout(now: Micros): void {
    this.engine.handleTimeout(now);
    this.drain(now);
  }

  deadline(): Micros {
    return this.isDown ? NEVER : this.engine.pollTimeout();
  }

  drain(now: Micros): void {
    const batch = this.engine.pollJournal(now);
    if (batch !== null) this.batches.push(batch);
    this.#keep(this.engine.pollHandshakes());
    const made: Uint8Array[] = [];
    for (;;) {
      if (made.length > 100_000) throw new Error('pollTransmit never ends');
      const length = this.engine.pollTransmit();
      if (length === 0) break;
      const at = this.engine.transmitOffset;
      made.push(this.#outbox.slice(at, at + length));
    }
    for (let event = this.engine.pollEvent(); event !== undefined; event = this.engine.pollEvent()) {
      this.events.push(event);
    }
    // The judges know the events of the turn: a flow may be given up right after an ACK for it was made.
    for (const bytes of made) this.#out(bytes, true, now);
  }

  #keep(batch: HandshakeBatch | null): void {
    if (batch === null) return;
    const bytes = new Uint8Array(batch.buffer, 0, batch.length);
    sealFrames(bytes);
    if (batch.fresh) this.handshakes = [];
    this.handshakes.push(...readFrames(bytes).records);
  }

  flows(now: Micros): readonly FlowSnapshot[] {
    const reply = this.engine.handleCommand({ kind: 'flows', frozenOnly: false }, now);
    return reply.kind === 'flows' ? reply.flows : [];
  }

  counter(name: CounterName): number {
    return readCounters(this.counters)[name];
  }

  #out(bytes: Uint8Array, synthesized: boolean, now: Micros): void {
    let hash = this.digest ^ (now | 0);
    for (let index = 0; index < bytes.length; index += index < 80 ? 1 : 61) {
      hash = Math.imul(hash ^ bytes[index]!, 0x0100_0193);
    }
    this.digest = hash;
    this.#emit(bytes, synthesized);
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
