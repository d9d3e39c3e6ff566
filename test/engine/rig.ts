/**
 * The engine on a bench: hand-made packets in, decoded packets out, time moved by hand. Conversations speak in relative sequence
 * numbers (0 is the SYN, 1 the first byte), so that one story can be told for every address family, direction and
 * place on the sequence circle.
 */
import { type CounterName, readCounters } from '../../src/base/counters.ts';
import { eventKind } from '../../src/base/event-table.ts';
import { COUNTERS_BYTES } from '../../src/base/figures.ts';
import { type Micros, NEVER } from '../../src/base/time.ts';
import type { Command, EngineEvent, FlowSnapshot, Reply } from '../../src/engine/commands.ts';
import { type Disposition, Engine, type EngineConfig, READ_MAX } from '../../src/engine/engine.ts';
import type { LinkEvent } from '../../src/link/events.ts';
import { parsePrefix } from '../../src/wire/address.ts';

export const LAN = 0;
export const WAN = 1;
const PORT_NAMES = ['lan0', 'wan0'] as const;

export interface RigOptions extends Partial<EngineConfig> {
  readonly arenaBytes?: number;
  readonly outboxBytes?: number;
}

/** What became of one packet. */
export interface Outcome {
  readonly disposition: Disposition;
  /** Its bytes as they would be written; null when it was dropped or consumed. */
  readonly forwarded: Uint8Array | null;
  /** Whether it left exactly as it came. */
  readonly unchanged: boolean;
}

/** A packet that the engine made, and when. */
export interface Emission {
  readonly at: Micros;
  readonly bytes: Uint8Array;
}

export class Rig {
  readonly engine: Engine;
  readonly config: EngineConfig;
  readonly counters = new Float64Array(COUNTERS_BYTES / 8);
  readonly events: EngineEvent[] = [];
  readonly arena: Uint8Array;
  now: Micros = 1_000_000;
  readonly outbox: Uint8Array<ArrayBuffer>;
  #emitted: Emission[] = [];

  constructor(options: RigOptions = {}) {
    const { arenaBytes = 4 * (READ_MAX + 256), outboxBytes = 1 << 20, ...config } = options;
    this.config = {
      ports: [
        { name: 'lan0', role: 'lan' },
        { name: 'wan0', role: 'wan' },
      ],
      vnetHeaderLength: 0,
      gso: false,
      maxFlows: 64,
      custodyBytesPerFlow: 1 << 20,
      custodyBytesTotal: 4 << 20,
      // One host is the whole network here; shares of hosts have tests of their own.
      flowsPerHost: options.maxFlows ?? 64,
      freezing: true,
      hashKey: [0x0123_4567, 0x89ab_cdef | 0],
      seed: 7,
      ...config,
    };
    const arena = new ArrayBuffer(arenaBytes);
    const outbox = new ArrayBuffer(outboxBytes);
    this.arena = new Uint8Array(arena);
    this.outbox = new Uint8Array(outbox);
    this.engine = new Engine(this.config, { arena, outbox, counters: this.counters });
    for (const text of ['10.1.0.0/16', 'fd01::/16']) this.route(text, LAN);
    for (const text of ['0.0.0.0/0', '::/0']) this.route(text, WAN);
    for (const port of [LAN, WAN]) this.link(port, true);
  }

  /** Adds or withdraws a route. */
  route(text: string, port: number, present = true): void {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw new Error(`no prefix: ${text}`);
    const { address, prefixLength } = prefix;
    const family = address.length === 4 ? 4 : 6;
    const name = PORT_NAMES[port]!;
    this.event({ kind: 'route', family, destination: address, prefixLength, name, metric: 0, present });
  }

  event(event: LinkEvent): void {
    this.engine.handleLink(event, this.now);
    this.#drain();
  }

  /** Gives a link its carrier or takes it away. */
  link(port: number, carrier: boolean): void {
    const name = PORT_NAMES[port]!;
    this.event({ kind: 'interface', name, index: port + 2, up: true, carrier, operState: carrier ? 6 : 2, mtu: 1500 });
  }

  command(command: Command): Reply {
    const reply = this.engine.handleCommand(command, this.now);
    this.#drain();
    return reply;
  }

  /** Passes one packet through the engine. */
  packet(bytes: Uint8Array): Outcome {
    const at = this.engine.readOffset;
    if (at < 0 || at + READ_MAX > this.arena.length) throw new Error(`no room for a read at ${at}`);
    this.arena.set(bytes, at);
    const disposition = this.engine.handlePacket(at, bytes.length, this.now);
    const after = this.arena.slice(at, at + bytes.length);
    this.#drain();
    const unchanged = after.every((byte, i) => byte === bytes[i]);
    return { disposition, forwarded: disposition === 0 ? after : null, unchanged: disposition === 0 && unchanged };
  }

  /** Lets time pass, serving deadlines when they are due. */
  advance(micros: Micros): void {
    const until = this.now + micros;
    for (let turns = 0; ; turns++) {
      if (turns > 200_000) throw new Error('the engine never comes to rest');
      const next = this.engine.pollTimeout();
      if (next > until) break;
      this.now = Math.max(this.now, next);
      this.timeout();
    }
    this.now = until;
  }

  timeout(): void {
    this.engine.handleTimeout(this.now);
    this.#drain();
  }

  /** Serves what is due right now, without moving the clock. */
  settle(): void {
    this.advance(0);
  }

  /** Takes what the engine has made since the last call. */
  take(): Emission[] {
    const emitted = this.#emitted;
    this.#emitted = [];
    return emitted;
  }

  counter(name: CounterName): number {
    return readCounters(this.counters)[name];
  }

  flows(): readonly FlowSnapshot[] {
    const reply = this.command({ kind: 'flows', frozenOnly: false });
    if (reply.kind !== 'flows') throw new Error('no flows in the reply');
    return reply.flows;
  }

  /** The only flow's snapshot. */
  get flow(): FlowSnapshot {
    const flows = this.flows();
    if (flows.length !== 1) throw new Error(`${flows.length} flows instead of one`);
    return flows[0]!;
  }

  get custodyBytes(): number {
    const reply = this.command({ kind: 'status' });
    return reply.kind === 'status' ? reply.custodyBytes : Number.NaN;
  }

  get isIdle(): boolean {
    return this.engine.pollTimeout() === NEVER;
  }

  /** Nothing comes with an event that the table of events does not name. */
  #tell(event: EngineEvent): void {
    for (const figure of Object.keys(event.figures ?? {})) {
      const name = figure.replace(/Micros$/, '');
      if (!eventKind(event.name).figures.includes(name)) throw new Error(`${event.name} has no figure ${name}`);
    }
    this.events.push(event);
  }

  #drain(): void {
    for (let length = this.engine.pollTransmit(); length > 0; length = this.engine.pollTransmit()) {
      const at = this.engine.transmitOffset;
      this.#emitted.push({ at: this.now, bytes: this.outbox.slice(at, at + length) });
    }
    for (let event = this.engine.pollEvent(); event !== undefined; event = this.engine.pollEvent()) this.#tell(event);
  }
}
