/**
 * Engine: the one object that the shell talks to.
 *
 * Purpose.  Packets, link events, commands and time go in; dispositions, packets to transmit, events and the next deadline
 *           come out. No clock, no I/O: the same inputs give the same outputs.
 * Limits.   EngineConfig and EngineMemory; what does not fit is forwarded untracked or answered without custody.
 * States.   Those of each flow (freeze/phases.ts): OPENING, FLOWING, FROZEN, HANDBACK, CLOSING, BYPASS.
 * Timers.   One heap of flow deadlines, one deadline of the handback, one of the table's sweep, one of timed commands.
 * Data.     wire/packet parses -> flow/table finds -> flow/tracker learns -> freeze/phases decides -> freeze/* acts.
 * Turn.     After a batch of handle* calls the shell drains pollTransmit, then pollEvent, then asks pollTimeout.
 */
import { COUNTER } from '../base/counters.ts';
import { FAMILY } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { NOTE, type Note } from '../flow/note.ts';
import { FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { ADVANCED_ACK, IMPLAUSIBLE, lastTracked, STALE_SEQ, track } from '../flow/tracker.ts';
import type { Arena } from '../freeze/arena.ts';
import type { Drainer } from '../freeze/drain.ts';
import type { JournalBatch } from '../freeze/journal.ts';
import type { EchoRequest, LinkEvent, ResolveRequest } from '../link/events.ts';
import { KIND_FRAGMENT, KIND_MALFORMED, KIND_TCP, Packet } from '../wire/packet.ts';
import { setSeq } from '../wire/rewrite.ts';
import { seqDiff } from '../wire/seq.ts';
import { RST, SYN } from '../wire/tcp-flags.ts';
import { bypassReasonOf } from './admission.ts';
import { assemble, type EngineParts, type Present } from './assembly.ts';
import type { Command, EngineEvent, Reply } from './commands.ts';
import type { EngineConfig, EngineMemory } from './config.ts';
import { CONSUME, type Disposition, DROP, FORWARD } from './disposition.ts';
import { Forgeries } from './forgeries.ts';
import type { HandshakeBatch } from './handshakes.ts';
import { onJournalFailed, onJournalMended, onSynced } from './journalling.ts';
import { type Loss, Losses } from './loss.ts';
import { type Recalled, recall } from './recall.ts';
import { onReset, TablePath } from './table-path.ts';
import { isTrusted } from './trust.ts';
import type { Watch } from './watch.ts';

export { type EngineConfig, type EngineMemory, type PortConfig, READ_MAX } from './config.ts';
export { CONSUME, type Disposition, DROP, FORWARD } from './disposition.ts';

export class Engine {
  /** After `pollTransmit`: where in the outbox the packet starts. */
  transmitOffset = 0;
  /**
   * What was done with the packet last handled (`settle` adds how its flow stands); after `pollTransmit`, what the packet to write is for.
   */
  readonly note: Note;
  /** The packet last handled, as it is now. */
  readonly packet = new Packet();
  readonly #config: EngineConfig;
  readonly #parts: EngineParts;
  readonly #path: TablePath;
  // Of the parts, those that every packet needs.
  readonly #counters: Float64Array;
  readonly #table: FlowTable;
  readonly #arena: Arena;
  readonly #drainer: Drainer;
  readonly #watch: Watch;
  readonly #losses: Losses;
  readonly #forgeries = new Forgeries();
  readonly #present: Present = { now: 0 };

  /** @throws RangeError when the memory is too small for the configuration; a programmer's error */
  constructor(config: EngineConfig, memory: EngineMemory) {
    this.#config = config;
    this.packet.attach(memory.arena);
    this.#parts = assemble(config, memory, this.#present);
    this.note = this.#parts.context.note;
    this.#path = new TablePath(this.#parts);
    this.#losses = new Losses(this.#parts.table, this.#parts.verdicts, this.#parts.scopes);
    this.#counters = memory.counters;
    this.#table = this.#parts.table;
    this.#arena = this.#parts.arena;
    this.#drainer = this.#parts.drainer;
    this.#watch = this.#parts.watch;
  }

  /** Offset in the arena at which the next packet has to be read; READ_MAX bytes are free there. */
  get readOffset(): number {
    return this.#arena.readOffset;
  }

  /**
   * One packet was read to `arena[offset .. offset + length)`, virtio-net header included. It may be rewritten in place;
   * on FORWARD the shell writes exactly those bytes. `readOffset` may change for the next read.
   * @param offset value of `readOffset` when the packet was read
   * @param length bytes read, at most READ_MAX
   * @returns FORWARD, DROP or CONSUME; never throws on content
   */
  handlePacket(offset: number, length: number, now: Micros): Disposition {
    const counters = this.#counters;
    counters[COUNTER.packets]! += 1;
    counters[COUNTER.bytes]! += length;
    this.#present.now = now;
    this.note.begin();
    const disposition = this.#dispatch(offset, length, now);
    const { forwarded, dropped, consumed } = COUNTER;
    counters[disposition === FORWARD ? forwarded : disposition === DROP ? dropped : consumed]! += 1;
    return disposition;
  }

  #dispatch(offset: number, length: number, now: Micros): Disposition {
    const { packet } = this;
    const kind = packet.parse(offset, length, this.#config.vnetHeaderLength);
    if (kind !== KIND_TCP) {
      const name =
        kind === KIND_MALFORMED ? COUNTER.malformed : kind === KIND_FRAGMENT ? COUNTER.fragments : COUNTER.notTcp;
      this.#counters[name]! += 1;
      return FORWARD;
    }
    if (!this.#config.freezing) return FORWARD;
    let flow = this.#table.find(packet);
    let direction = this.#table.direction;
    if (flow !== null && (packet.flags & SYN) !== 0) {
      const successor = this.#parts.admission.onSynOfKnown(flow, packet, now);
      if (successor !== null && successor !== flow) this.#parts.settler.settle(successor, now);
      flow = successor === null ? null : this.#table.find(packet);
      direction = this.#table.direction;
    }
    const isNew = flow === null;
    if (flow === null) {
      flow = this.#parts.admission.admit(packet, now);
      if (flow === null) return FORWARD;
      direction = this.#table.direction;
      this.#parts.settler.settle(flow, now);
      this.#parts.detection.onFlow(flow, now);
    }
    // Only what opens a connection, or is the first of it that is seen, says what kind it is; anybody can forge the rest.
    const isIntroduction = isNew || ((packet.flags & SYN) !== 0 && flow.phase === OPENING);
    const reason = isIntroduction ? bypassReasonOf(packet) : null;
    if (reason !== null && flow.phase !== FROZEN && flow.phase !== HANDBACK)
      this.#parts.admission.bypass(flow, reason, now);
    this.note.flow = flow;
    this.note.from = direction;
    return flow.phase === FLOWING && flow.lostMask === 0
      ? this.#flowing(flow, direction, packet, now)
      : this.#path.handle(flow, direction, packet, now);
  }

  /** The hot path: the link works, the gateway is a wire that takes notes. */
  #flowing(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): Disposition {
    // An ACK that would release retained bytes must be genuine; otherwise they might be lost for good.
    const isAdvance = seqDiff(packet.ack, flow.halves[direction].rcvNxt) > 0;
    if (isAdvance && !isTrusted(packet, this.#counters)) return FORWARD;
    const found = track(flow, direction, packet, now);
    if ((found & IMPLAUSIBLE) !== 0) {
      this.#counters[COUNTER.outOfWindow]! += 1;
      return this.#forgeries.isExcess(flow, direction, packet, now) ? this.#dropForgery(now) : FORWARD;
    }
    const sender = flow.halves[direction];
    const receiver = flow.halves[direction === 0 ? 1 : 0];
    if ((found & ADVANCED_ACK) !== 0) {
      if (receiver.heldHead >= 0) this.#arena.release(receiver, sender.rcvNxt, now);
      this.#parts.context.pacerOf(sender.port).onDelivered(lastTracked.acked, now);
    }
    if (packet.payloadLength > 0) {
      // Data for somebody who was never heard may be made up: it takes no room from the data of real connections.
      if (receiver.rcvKnown) this.#arena.retain(sender, packet, now);
      if (direction !== flow.near) {
        if (flow.wakeup !== null) this.#parts.waker.stop(flow);
        if (flow.thawedAt !== NEVER) this.#parts.chronicle.arrived(flow, now);
      }
    } else if (flow.wakeup !== null && direction !== flow.near) this.#parts.waker.onFarAck(flow, packet, now);
    this.#watch.onPassing(flow, direction, packet, found, now);
    if ((found & STALE_SEQ) !== 0 && isTrusted(packet, this.#counters)) setSeq(packet, receiver.rcvNxt);
    if ((packet.flags & RST) !== 0) {
      if (flow.thawedAt !== NEVER && direction === flow.near) this.#parts.holder.onThawedReset(flow, packet, now);
      onReset(flow, sender, packet);
    }
    if (!this.#drainer.isActive) return FORWARD;
    this.note.ack = packet.ack;
    this.note.window = packet.window;
    return this.#drainer.onPacket(flow, direction, packet, now) ? FORWARD : CONSUME;
  }

  #dropForgery(now: Micros): Disposition {
    this.#counters[FAMILY.drops.outOfWindow]! += 1;
    this.note.code = NOTE['out-of-window'];
    this.#parts.chronicle.droppedForgery(now);
    return DROP;
  }

  handleLink(event: LinkEvent, now: Micros): void {
    this.#present.now = now;
    if (event.kind === 'icmp' && this.#parts.recut.onIcmp(event, now)) return;
    this.#parts.detection.onEvent(event, now);
  }

  handleCommand(command: Command, now: Micros): Reply {
    this.#present.now = now;
    return this.#parts.operator.handle(command, now);
  }

  /** Does what is due. Calling it early or again changes nothing. */
  handleTimeout(now: Micros): void {
    this.#present.now = now;
    if (this.#parts.settler.isPending) this.#parts.settler.settleSome(now);
    this.#parts.detection.run(now);
    this.#parts.operator.onTimeout(now);
    for (let flow = this.#parts.timers.due(now); flow !== null; flow = this.#parts.timers.due(now))
      this.#parts.freezer.onTimer(flow, now);
    if (this.#parts.handback.deadline <= now) this.#parts.handback.run(now);
    this.#parts.admission.onTimeout(now);
    this.#parts.chronicle.run(now);
    this.#parts.handshakes.run(now);
  }

  /** Length of the next packet to write from the outbox at `transmitOffset`, or 0. Valid until the next engine call. */
  pollTransmit(): number {
    const length = this.#parts.outbox.take(this.note);
    this.transmitOffset = this.#parts.outbox.offset;
    return length;
  }

  /** When `handleTimeout` wants to be called next, or NEVER. */
  pollTimeout(): Micros {
    this.#counters[COUNTER.arenaWraps] = this.#arena.laps;
    if (this.#parts.settler.isPending) return this.#present.now;
    return Math.min(
      this.#parts.timers.next,
      this.#parts.handback.deadline,
      this.#parts.admission.sweepAt,
      this.#parts.operator.deadline,
      this.#parts.detection.deadline,
      this.#parts.chronicle.deadline,
      this.#parts.handshakes.deadline,
    );
  }

  /** Why this flow is held and since when, or since when its link is back; null when it never was. */
  lossOf(flow: Flow): Loss | null {
    return this.#losses.of(flow);
  }

  /** The next write to the journal, or null. Asked before `pollTransmit`; its success comes back as `handleJournalSync`. */
  pollJournal(now: Micros): JournalBatch | null {
    const batch = this.#parts.context.journal.poll(now);
    if (batch !== null) {
      this.#counters[COUNTER.journalBatches]! += 1;
      this.#counters[COUNTER.journalBytes]! += batch.length;
    }
    return batch;
  }

  /** All batches up to `number` are on stable storage. */
  handleJournalSync(number: number, now: Micros): void {
    this.#present.now = now;
    onSynced(this.#parts, number, now);
  }

  /** The journal cannot be written (`reason` for people), or can again (null). */
  handleJournalState(reason: string | null, now: Micros): void {
    this.#present.now = now;
    if (reason === null) onJournalMended(this.#parts, now);
    else onJournalFailed(this.#parts, reason, now);
  }

  /**
   * Takes up what an earlier process held. Call once, after the first link events and before the first packet.
   * @param records bodies of the journal's intact records, oldest first
   */
  recall(records: readonly Uint8Array[], now: Micros): Recalled {
    this.#present.now = now;
    const recalled = recall(this.#parts, records, now);
    if (recalled.flows > 0) this.#parts.settler.settleAll(now);
    return recalled;
  }

  /**
   * Takes up the handshakes that an earlier process had seen. Call once, before `recall`.
   * @param records bodies of the intact records, oldest first
   * @returns how many connections are remembered
   */
  remember(records: readonly Uint8Array[], now: Micros): number {
    return this.#parts.handshakes.remember(records, now);
  }

  /** The next write to the table of handshakes, or null. @param isLast the process ends: all of it, as it is now */
  pollHandshakes(isLast = false): HandshakeBatch | null {
    return this.#parts.handshakes.poll(isLast);
  }

  /** The table of handshakes could not be written. */
  handleHandshakesLost(now: Micros): void {
    this.#parts.handshakes.onLost(now);
  }

  pollEvent(): EngineEvent | undefined {
    return this.#parts.events.shift();
  }

  /** The next echo that wants to be sent, or undefined; its answer comes back as an EchoEvent. */
  pollEcho(): EchoRequest | undefined {
    return this.#parts.detection.pollEcho();
  }

  /** The next neighbour that the kernel has to try again, or undefined. */
  pollResolve(): ResolveRequest | undefined {
    return this.#parts.detection.pollResolve();
  }
}
