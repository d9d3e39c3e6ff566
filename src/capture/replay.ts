/**
 * Replay: a capture through the very same engine, in recorded time.
 *
 * Purpose.  "What would the gateway have done?" of any recording, and a regression test: same capture and same script, same output.
 * Data.     packets and script in; for every packet passed on, changed, made or held one action out, and a summary.
 * Time.     The engine's clock is that of the capture. Deadlines between two packets are served when they are due; after the last
 *           packet or event the engine gets TAIL to finish.
 * Limits.   A recording does not react: endpoints go on as they did without the gateway, whatever they are told here. While a side
 *           is lost by the script, what it sent in the recording did not reach the gateway and is left out.
 */
import { COUNTER_NAMES } from '../base/counters.ts';
import { eventKind } from '../base/event-table.ts';
import { type Micros, seconds } from '../base/time.ts';
import type { EngineEvent, FlowSnapshot } from '../engine/commands.ts';
import { CONSUME, Engine, type EngineConfig, FORWARD, READ_MAX } from '../engine/engine.ts';
import type { LinkEvent } from '../link/events.ts';
import { DEFAULT_LIMITS } from '../policy/policy.ts';
import { type Prefix, prefixContains } from '../wire/address.ts';
import { Packet } from '../wire/packet.ts';
import { describePacket } from '../wire/printer.ts';
import { RST } from '../wire/tcp-flags.ts';
import type { CapturedPacket } from './capture.ts';
import { ipOffset } from './link-layer.ts';
import { type Loaded, load } from './load.ts';
import { commentOf, newDeed, sentenceOf } from './narrator.ts';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from './pcapng-blocks.ts';
import { ReplayClock } from './replay-clock.ts';
import { ReplayRecord } from './replay-record.ts';
import type { ScriptEvent } from './script.ts';
import { LINK_NAMES, Sides } from './sides.ts';

/** Index of the interface on which packets made by the gateway are written, behind those of the two links. */
export const MADE = 2;

export interface ReplayAction {
  /** held: the gateway took it or answered it; dropped: it did neither. */
  readonly kind: 'forwarded' | 'changed' | 'made' | 'held' | 'dropped';
  /** From the first packet on. */
  readonly at: Micros;
  /** Nanoseconds since 1970. */
  time(): bigint;
  /** Link that it leaves by, or (held) came in by; MADE. */
  readonly interface: number;
  readonly direction: number;
  /** IP packet, as far as the capture has it; valid during the call. */
  readonly bytes: Uint8Array;
  readonly originalLength: number;
  readonly comment: string | null;
  /** The comment as a sentence, without what is in it for programs. */
  readonly words: string | null;
  /** One line that describes it; only to be called during the call. */
  describe(): string;
}

export interface ReplaySink {
  /**
   * all: every packet is told. deeds: those that were made, changed or kept, and `passed` is called for the others. none: the
   * summary alone is wanted.
   */
  readonly wants: 'all' | 'deeds' | 'none';
  passed(): void;
  packet(action: ReplayAction): void;
  event(at: Micros, message: string): void;
}

export interface ReplayOptions {
  readonly script: readonly ScriptEvent[];
  /** What counts as LAN; empty: inferred. */
  readonly lan: readonly Prefix[];
  readonly sink: ReplaySink;
}

const NO_ROUTES: readonly LinkEvent[] = [];
/** How long the engine goes on after the end. */
const TAIL: Micros = seconds(2);
/** Headers end within their packet. */
const HEADERS_MAX = 65_536;
const OUTBOX_BYTES = 1 << 20;
/** IFF_UP and carrier come and go together here; RFC 2863 states as in IFLA_OPERSTATE. */
const OPER_UP = 6;
const OPER_DOWN = 2;

const CONFIG: EngineConfig = {
  ports: [
    { name: LINK_NAMES[0], role: 'lan' },
    { name: LINK_NAMES[1], role: 'wan' },
  ],
  vnetHeaderLength: 0,
  gso: false,
  maxFlows: DEFAULT_LIMITS.maxFlows,
  custodyBytesPerFlow: DEFAULT_LIMITS.custodyBytesPerFlow,
  custodyBytesTotal: DEFAULT_LIMITS.custodyBytes,
  freezing: true,
  // Constant, so that the same input gives the same output.
  hashKey: [0x1234_5678, 0x0bad_cafe],
  seed: 1,
};

export class Replay {
  readonly record: ReplayRecord;
  readonly sides: Sides;
  readonly clock = new ReplayClock();
  readonly counters = new Float64Array(COUNTER_NAMES.length);
  readonly #options: ReplayOptions;
  readonly #engine: Engine;
  readonly #arena = new Uint8Array(new ArrayBuffer(DEFAULT_LIMITS.arenaBytes));
  readonly #outbox = new Uint8Array(new ArrayBuffer(OUTBOX_BYTES));
  readonly #packet = new Packet();
  readonly #madePacket = new Packet();
  readonly #headers = new Uint8Array(HEADERS_MAX);
  readonly #loaded: Loaded = { length: 0, kept: 0, isMended: false };
  readonly #deed = newDeed();
  readonly #lostSides: [boolean, boolean] = [false, false];
  #lostPrefixes: Prefix[] = [];
  #nextEvent = 0;
  /** Time of the last step; the engine's time never decreases. */
  #now: Micros = 0;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.sides = new Sides(options.lan);
    this.record = new ReplayRecord(() => this.#flows(this.#now));
    this.#packet.attach(this.#arena.buffer);
    this.#madePacket.attach(this.#outbox.buffer);
    const memory = { arena: this.#arena.buffer, outbox: this.#outbox.buffer, counters: this.counters };
    this.#engine = new Engine(CONFIG, memory);
    for (const side of [0, 1]) this.#setLink(side, true, 0);
    for (const route of this.sides.routes()) this.#engine.handleLink(route, 0);
  }

  /** Does the whole replay as fast as it goes. */
  run(packets: Iterable<CapturedPacket>): void {
    for (const packet of packets) {
      const now = this.clock.at(packet);
      while (this.#due() <= now) this.#serve();
      this.#take(packet, now);
    }
    const end = this.#end();
    while (this.#due() <= end) this.#serve();
    this.#finish(end);
  }

  /**
   * Does the whole replay, one step at a time.
   * @returns (yields) the time of the step that comes next: who replays in real time waits for it
   */
  *turns(packets: Iterable<CapturedPacket>): Generator<Micros, void, undefined> {
    for (const packet of packets) {
      const now = this.clock.at(packet);
      yield* this.#advance(now);
      yield now;
      this.#take(packet, now);
    }
    const end = this.#end();
    yield* this.#advance(end);
    this.#finish(end);
  }

  *#advance(to: Micros): Generator<Micros, void, undefined> {
    for (let due = this.#due(); due <= to; due = this.#due()) {
      yield Math.max(this.#now, due);
      this.#serve();
    }
  }

  #end(): Micros {
    const last = this.#options.script.at(-1)?.at ?? 0;
    return Math.max(this.clock.now, last) + TAIL;
  }

  #finish(end: Micros): void {
    this.#now = Math.max(this.#now, end);
    this.record.end(this.#flows(end), this.clock.now);
  }

  /** When the next event of the script or deadline of the engine is due. */
  #due(): Micros {
    const event = this.#options.script[this.#nextEvent];
    const deadline = this.#engine.pollTimeout();
    return event !== undefined && event.at < deadline ? event.at : deadline;
  }

  /** Does what is due first; the script comes before the engine. */
  #serve(): void {
    const event = this.#options.script[this.#nextEvent];
    const deadline = this.#engine.pollTimeout();
    const isScript = event !== undefined && event.at <= deadline;
    // A deadline may lie a little back: what set it acted later than it wanted.
    const now = Math.max(this.#now, isScript ? event.at : deadline);
    this.#now = now;
    if (isScript) {
      this.#nextEvent++;
      this.#apply(event, now);
    } else this.#engine.handleTimeout(now);
    this.#drain(now);
  }

  #apply(event: ScriptEvent, now: Micros): void {
    const { scope, isLoss } = event;
    const what = scope.kind === 'link' ? `link ${scope.name}` : `${scope.kind} ${scope.text}`;
    const text = `${what} ${isLoss ? 'lost' : 'restored'}`;
    this.#options.sink.event(now, `script: ${text}`);
    this.record.onLoss(this.#flows(now), text, isLoss, now);
    if (scope.kind === 'link') {
      const side = LINK_NAMES.indexOf(scope.name);
      this.#lostSides[side] = isLoss;
      this.#setLink(side, !isLoss, now);
    } else {
      const others = this.#lostPrefixes.filter((prefix) => prefix !== scope.prefix && !isSame(prefix, scope.prefix));
      this.#lostPrefixes = isLoss ? [...others, scope.prefix] : others;
      const selector =
        scope.kind === 'host'
          ? { kind: 'host' as const, address: scope.text }
          : { kind: 'prefix' as const, prefix: scope.text };
      const reply = this.#engine.handleCommand({ kind: isLoss ? 'freeze' : 'resume', selector }, now);
      if (reply.kind === 'refused') this.#options.sink.event(now, `refused: ${reply.message}`);
    }
    this.record.onSettled(this.#flows(now), now);
  }

  #setLink(side: number, isUp: boolean, now: Micros): void {
    const operState = isUp ? OPER_UP : OPER_DOWN;
    const name = LINK_NAMES[side]!;
    this.#engine.handleLink(
      { kind: 'interface', name, index: side + 1, up: true, carrier: isUp, operState, mtu: 1_500 },
      now,
    );
  }

  #take(captured: CapturedPacket, now: Micros): void {
    this.#now = Math.max(this.#now, now);
    const { record } = this;
    const { packets } = record;
    packets.read++;
    record.bytes += captured.bytes.length;
    const ip = ipOffset(captured.interface.linkType, captured.bytes);
    if (ip < 0) {
      packets.notIp++;
      return;
    }
    const packet = this.#packet;
    const offset = this.#engine.readOffset;
    const isTruncated = captured.bytes.length < captured.originalLength;
    const frame = ip === 0 ? captured.bytes : captured.bytes.subarray(ip);
    if (!load(this.#arena, offset, READ_MAX, packet, frame, isTruncated, this.#loaded)) {
      packets.tooLarge++;
      return;
    }
    const { length, kept } = this.#loaded;
    if (kept < length) packets.truncated++;
    const isTcp = packet.tcpAt >= 0;
    const routes = isTcp ? this.sides.learn(packet) : NO_ROUTES;
    for (let i = 0; i < routes.length; i++) this.#engine.handleLink(routes[i]!, now);
    if (isTcp && this.#isAnyLost && this.#isFromLost(packet)) {
      packets.lost++;
      return;
    }
    // Only headers are ever rewritten, and only those of TCP.
    const headers = isTcp ? Math.min(kept, packet.payloadAt - offset) : 0;
    if (this.#loaded.isMended) this.#headers.set(this.#arena.subarray(offset, offset + headers));
    const verdict = this.#engine.handlePacket(offset, length, now);
    if (verdict === FORWARD) this.#passOn(frame, offset, headers, now);
    else {
      const kind = verdict === CONSUME ? 'held' : 'dropped';
      packets[kind]++;
      packet.parse(offset, length, 0);
      const { note } = this.#engine;
      note.settle();
      record.touch(note, kind, now);
      if (kind === 'held' && (packet.flags & RST) !== 0) record.onHeldReset(note, now);
      this.#act(kind, packet, this.sides.of(packet, packet.srcAt), DIRECTION_INBOUND, frame.subarray(0, kept), now);
    }
    this.#drain(now);
  }

  get #isAnyLost(): boolean {
    return this.#lostSides[0] || this.#lostSides[1] || this.#lostPrefixes.length > 0;
  }

  #isFromLost(packet: Packet): boolean {
    if (this.#lostSides[this.sides.of(packet, packet.srcAt)]) return true;
    if (this.#lostPrefixes.length === 0) return false;
    const source = packet.bytes.subarray(packet.srcAt, packet.srcAt + (packet.family === 4 ? 4 : 16));
    return this.#lostPrefixes.some((prefix) => prefixContains(prefix, source));
  }

  #passOn(frame: Uint8Array, offset: number, headers: number, now: Micros): void {
    const { packets } = this.record;
    const { length, kept } = this.#loaded;
    const packet = this.#packet;
    const before = this.#loaded.isMended ? this.#headers : frame;
    const arena = this.#arena;
    let isChanged = false;
    for (let i = 0; i < headers && !isChanged; i++) isChanged = before[i] !== arena[offset + i];
    if (!isChanged) {
      packets.forwarded++;
      const { sink } = this.#options;
      if (sink.wants !== 'all') {
        if (sink.wants === 'deeds') sink.passed();
        return;
      }
    }
    const side = packet.reason === 0 ? this.sides.of(packet, packet.dstAt) : 1;
    if (!isChanged) {
      // As it was captured, before its checksum was mended.
      this.#act('forwarded', packet, side, DIRECTION_OUTBOUND, frame.subarray(0, kept), now);
      return;
    }
    packets.changed++;
    packet.parse(offset, length, 0);
    this.#engine.note.settle();
    const bytes = this.#arena.subarray(offset, offset + kept);
    this.#act('changed', packet, side, DIRECTION_OUTBOUND, bytes, now);
    this.record.touch(this.#engine.note, 'changed', now);
  }

  #drain(now: Micros): void {
    const engine = this.#engine;
    const packet = this.#madePacket;
    for (let length = engine.pollTransmit(); length > 0; length = engine.pollTransmit()) {
      const at = engine.transmitOffset;
      packet.parse(at, length, 0);
      this.record.packets.made++;
      this.record.touch(engine.note, 'made', now);
      const bytes = this.#outbox.subarray(at, at + length);
      this.#act('made', packet, MADE, DIRECTION_OUTBOUND, bytes, now);
    }
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) this.#report(event);
  }

  #report(event: EngineEvent): void {
    // The trace shows what happens to single flows by their packets; what cannot be delivered is worth a line.
    if (eventKind(event.name).severity === 'debug' && event.name !== 'flow-reset') return;
    const flow = event.flow === undefined ? '' : ` (flow ${event.flow})`;
    this.#options.sink.event(event.at, `${event.name}: ${event.message}${flow}`);
  }

  #flows(now: Micros): readonly FlowSnapshot[] {
    const reply = this.#engine.handleCommand({ kind: 'flows', frozenOnly: false }, now);
    return reply.kind === 'flows' ? reply.flows : [];
  }

  #act(
    kind: ReplayAction['kind'],
    packet: Packet,
    interfaceIndex: number,
    direction: number,
    bytes: Uint8Array,
    at: Micros,
  ): void {
    if (this.#options.sink.wants === 'none') return;
    const isTold = kind !== 'forwarded';
    if (isTold) this.#tell(kind, packet, at);
    this.#options.sink.packet({
      kind,
      at,
      time: () => this.clock.toNanos(at),
      interface: interfaceIndex,
      direction,
      bytes,
      originalLength: kind === 'made' ? bytes.length : this.#loaded.length,
      comment: isTold ? commentOf(this.#deed) : null,
      words: isTold ? sentenceOf(this.#deed) : null,
      describe: () => describePacket(packet),
    });
  }

  /** Takes down what the engine says of the packet at hand. */
  #tell(kind: ReplayAction['kind'], packet: Packet, at: Micros): void {
    const deed = this.#deed;
    const { note } = this.#engine;
    const loss = note.flow === null ? null : this.#engine.lossOf(note.flow);
    deed.fate = kind === 'made' || kind === 'changed' ? kind : 'held';
    deed.code = note.code;
    deed.flow = note.flow?.id ?? '';
    deed.phase = note.phase;
    deed.custodyBytes = note.custodyBytes;
    deed.value = note.value;
    deed.flags = packet.flags;
    deed.ack = packet.ack;
    deed.window = packet.window;
    deed.payloadLength = packet.payloadLength;
    deed.wasAck = note.ack;
    deed.wasWindow = note.window;
    deed.lossName = loss?.name ?? '';
    deed.lossReason = loss?.reason ?? '';
    deed.isLost = loss?.isLost ?? false;
    deed.elapsed = loss === null ? 0 : at - loss.since;
  }
}

function isSame(a: Prefix, b: Prefix): boolean {
  return a.prefixLength === b.prefixLength && prefixContains(a, b.address);
}
