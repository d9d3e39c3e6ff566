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
import { Prng } from '../base/prng.ts';
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import { FlowTable } from '../flow/table.ts';
import { ADVANCED_ACK, IMPLAUSIBLE, isExactReset, lastTracked, track } from '../flow/tracker.ts';
import { Arena } from '../freeze/arena.ts';
import type { FreezeContext } from '../freeze/context.ts';
import { CustodyBudget } from '../freeze/custody.ts';
import { Drainer } from '../freeze/drain.ts';
import { Freezer } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import { Handback } from '../freeze/handback.ts';
import { Holder } from '../freeze/hold.ts';
import { Outbox } from '../freeze/outbox.ts';
import { Pacer } from '../freeze/pacer.ts';
import * as phases from '../freeze/phases.ts';
import { Synthesizer } from '../freeze/synthesis.ts';
import { Waker } from '../freeze/wakeup.ts';
import type { LinkEvent } from '../link/events.ts';
import { LinkMonitor } from '../link/monitor.ts';
import { ScopeList } from '../link/scope.ts';
import { KIND_FRAGMENT, KIND_MALFORMED, KIND_TCP, Packet } from '../wire/packet.ts';
import { verifyChecksums } from '../wire/rewrite.ts';
import { seqDiff, seqLt } from '../wire/seq.ts';
import { RST, SYN } from '../wire/tcp-flags.ts';
import { Admission, bypassReasonOf } from './admission.ts';
import type { Command, EngineEvent, Reply } from './commands.ts';
import { type EngineConfig, type EngineMemory, READ_MAX } from './config.ts';
import { EventQueue } from './event-queue.ts';
import { segmentKind } from './kind.ts';
import { Operator } from './operator.ts';
import { Settler } from './settler.ts';
import { FlowTimers } from './timers.ts';
import { isTrusted } from './trust.ts';
import { Watch } from './watch.ts';

export { type EngineConfig, type EngineMemory, type PortConfig, READ_MAX } from './config.ts';

/** Verdicts of `handlePacket`. */
export const FORWARD = 0;
export const DROP = 1;
export const CONSUME = 2;
export type Disposition = typeof FORWARD | typeof DROP | typeof CONSUME;

/** A sequence number this far from what is expected is no probe (largest window, RFC 7323 2.3). */
const PROBE_DISTANCE = 65_535 * 2 ** 14;

export class Engine {
  /** After `pollTransmit`: where in the outbox the packet starts. */
  transmitOffset = 0;
  readonly #config: EngineConfig;
  readonly #counters: Float64Array;
  readonly #packet = new Packet();
  readonly #table: FlowTable;
  readonly #arena: Arena;
  readonly #outbox: Outbox;
  readonly #monitor: LinkMonitor;
  readonly #scopes = new ScopeList();
  readonly #timers = new FlowTimers();
  readonly #pacers: readonly Pacer[];
  readonly #waker: Waker;
  readonly #drainer: Drainer;
  readonly #freezer: Freezer;
  readonly #holder: Holder;
  readonly #handback: Handback;
  readonly #admission: Admission;
  readonly #operator: Operator;
  readonly #settler: Settler;
  readonly #watch: Watch;
  readonly #events = new EventQueue();
  #now: Micros = 0;

  /** @throws RangeError when the memory is too small for the configuration; a programmer's error */
  constructor(config: EngineConfig, memory: EngineMemory) {
    this.#config = config;
    this.#counters = memory.counters;
    this.#arena = new Arena(memory.arena, READ_MAX);
    this.#packet.attach(memory.arena);
    const check = new Packet();
    check.attach(memory.arena);
    this.#outbox = new Outbox(memory.outbox);
    this.#table = new FlowTable(config.maxFlows, config.hashKey);
    this.#monitor = new LinkMonitor(config.ports, 0);
    this.#pacers = Array.from({ length: config.ports.length + 1 }, () => new Pacer());
    const prng = new Prng(config.seed);
    const synthesizer = new Synthesizer(this.#table, this.#outbox, memory.counters, prng, config.vnetHeaderLength);
    const context: FreezeContext = {
      table: this.#table,
      arena: this.#arena,
      budget: new CustodyBudget(config.custodyBytesPerFlow, config.custodyBytesTotal),
      synthesizer,
      counters: memory.counters,
      pacerOf: (port) => this.#pacers[port + 1]!,
      mtuOf: (port) => this.#monitor.links[port]?.mtu ?? 1500,
      isReachable: (flow, half) => this.#isReachable(flow, half),
      isSound: (offset, length) =>
        check.parse(offset, length, config.vnetHeaderLength) === KIND_TCP && verifyChecksums(check),
      reschedule: (flow) => this.#timers.set(flow, this.#freezer.deadlineOf(flow)),
      report: (name, flow, message, figures, at) => this.#events.push({ at, name, message, flow: flow.id, figures }),
    };
    this.#waker = new Waker(context);
    this.#drainer = new Drainer(context);
    this.#handback = new Handback(context);
    this.#holder = new Holder(context);
    this.#freezer = new Freezer(context, this.#waker, (flow) => this.#handback.begin(flow, this.#now));
    this.#admission = new Admission(
      this.#table,
      this.#monitor,
      this.#scopes,
      memory.counters,
      config.vnetHeaderLength,
      (flow) => {
        this.#settler.endHandback(flow, this.#now);
        this.#freezer.release(flow);
      },
    );
    this.#settler = new Settler({
      table: this.#table,
      admission: this.#admission,
      freezer: this.#freezer,
      handback: this.#handback,
      drainer: this.#drainer,
      counters: memory.counters,
      events: this.#events,
      pacerOf: context.pacerOf,
      reschedule: context.reschedule,
    });
    this.#watch = new Watch(context, this.#monitor, this.#scopes, this.#events, this.#settler, config.ports);
    this.#operator = new Operator({
      table: this.#table,
      monitor: this.#monitor,
      scopes: this.#scopes,
      budget: context.budget,
      synthesizer,
      freezer: this.#freezer,
      drainer: this.#drainer,
      watch: this.#watch,
      events: this.#events,
      counters: memory.counters,
      isSettling: () => this.#settler.isPending,
      onLinkVerdict: (link, now) => this.#settler.onVerdict(link, now),
      onScopesChanged: (now) => this.#settler.settleAll(now),
      onEnded: (flow, now) => this.#settler.endHandback(flow, now),
    });
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
    this.#now = now;
    const disposition = this.#dispatch(offset, length, now);
    const { forwarded, dropped, consumed } = COUNTER;
    counters[disposition === FORWARD ? forwarded : disposition === DROP ? dropped : consumed]! += 1;
    return disposition;
  }

  #dispatch(offset: number, length: number, now: Micros): Disposition {
    const packet = this.#packet;
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
      const successor = this.#admission.onSynOfKnown(flow, packet, now);
      if (successor !== null && successor !== flow) this.#settler.settle(successor, now);
      flow = successor === null ? null : this.#table.find(packet);
      direction = this.#table.direction;
    }
    const isNew = flow === null;
    if (flow === null) {
      flow = this.#admission.admit(packet, now);
      if (flow === null) return FORWARD;
      direction = 0;
      this.#settler.settle(flow, now);
    }
    // Only what opens a connection, or is the first of it that is seen, says what kind it is; anybody can forge the rest.
    const isIntroduction = isNew || ((packet.flags & SYN) !== 0 && flow.phase === OPENING);
    const reason = isIntroduction ? bypassReasonOf(packet) : null;
    if (reason !== null && flow.phase !== FROZEN && flow.phase !== HANDBACK) this.#admission.bypass(flow, reason);
    return flow.phase === FLOWING && flow.lostMask === 0
      ? this.#flowing(flow, direction, packet, now)
      : this.#byTable(flow, direction, packet, now);
  }

  #isTrusted(packet: Packet): boolean {
    const trusted = isTrusted(packet);
    if (!trusted) this.#counters[COUNTER.unsound]! += 1;
    return trusted;
  }

  /** The hot path: the link works, the gateway is a wire that takes notes. */
  #flowing(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): Disposition {
    // An ACK that would release retained bytes must be genuine; otherwise they might be lost for good.
    const isAdvance = seqDiff(packet.ack, flow.halves[direction].rcvNxt) > 0;
    if (isAdvance && !this.#isTrusted(packet)) return FORWARD;
    const found = track(flow, direction, packet, now);
    if ((found & IMPLAUSIBLE) !== 0) {
      this.#counters[COUNTER.outOfWindow]! += 1;
      return FORWARD;
    }
    const sender = flow.halves[direction];
    const receiver = flow.halves[direction === 0 ? 1 : 0];
    if ((found & ADVANCED_ACK) !== 0) {
      if (receiver.heldHead >= 0) this.#arena.release(receiver, sender.rcvNxt, now);
      this.#pacers[sender.port + 1]!.onDelivered(lastTracked.acked, now);
    }
    if (packet.payloadLength > 0) {
      this.#arena.retain(sender, packet, now);
      if (flow.wakeup !== null && direction !== flow.near) this.#waker.stop(flow);
    }
    this.#watch.onPassing(sender, receiver, packet, found, now);
    if ((packet.flags & RST) !== 0) this.#onReset(flow, sender, packet);
    return !this.#drainer.isActive || this.#drainer.onPacket(flow, direction, packet, now) ? FORWARD : CONSUME;
  }

  #onReset(flow: Flow, sender: Half, packet: Packet): void {
    const isExact = isExactReset(flow.halves[sender === flow.halves[0] ? 1 : 0], packet);
    if (isExact || (sender.sndKnown && packet.seq === sender.sndNxt)) flow.phase = CLOSING;
  }

  /** Every other phase, by the table. */
  #byTable(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): Disposition {
    const counters = this.#counters;
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    const side =
      flow.lostMask === 0 && !isHeld ? phases.SIDE_ANY : direction === flow.near ? phases.SIDE_NEAR : phases.SIDE_FAR;
    const kind = segmentKind(flow, side, packet);
    const action = phases.actionFor(flow.phase, side, kind);
    if (flow.phase === BYPASS) {
      flow.lastSeenAt = now;
      return action === phases.ACT_BYPASS ? FORWARD : DROP;
    }
    if (isHeld && !this.#isTrusted(packet)) return DROP;
    const wasOpening = flow.phase === OPENING;
    const found = track(flow, direction, packet, now);
    if ((found & IMPLAUSIBLE) !== 0) return this.#implausible(flow, side, packet);
    if (wasOpening && flow.phase !== OPENING && flow.lostMask !== 0) {
      // The handshake completes into a loss: what was parked is answered, and the flow is held like any other.
      flow.frozen = null;
      this.#settler.settle(flow, now);
      return side === phases.SIDE_NEAR ? CONSUME : FORWARD;
    }
    const frozen = flow.frozen as Frozen | null;
    if (isHeld && side === phases.SIDE_FAR) this.#watch.onLife(flow, direction, now);
    switch (action) {
      case phases.ACT_FORWARD:
        if (packet.payloadLength > 0 && flow.phase !== CLOSING) this.#arena.retain(flow.halves[direction], packet, now);
        if ((packet.flags & RST) !== 0) this.#onReset(flow, flow.halves[direction], packet);
        return FORWARD;
      case phases.ACT_PARK:
        this.#holder.park(flow, packet);
        return CONSUME;
      case phases.ACT_TAKE:
        this.#holder.onNearData(flow, packet, now);
        return CONSUME;
      case phases.ACT_ANSWER:
        if (flow.phase === HANDBACK) this.#handback.answer(flow, packet);
        else this.#holder.onNearProbe(flow, packet);
        return CONSUME;
      case phases.ACT_HOLD_RESET:
        this.#holder.onNearReset(flow, packet);
        return CONSUME;
      case phases.ACT_LATE:
        this.#holder.onFarData(flow, packet);
        return this.#isReachable(flow, flow.near) ? FORWARD : DROP;
      case phases.ACT_END: {
        const endpoint = flow.halves[flow.near];
        if (!isExactReset(endpoint, packet)) {
          counters[COUNTER.outOfWindow]! += 1;
          return DROP;
        }
        this.#settler.endHandback(flow, now);
        this.#holder.onFarReset(flow, now);
        this.#freezer.release(flow);
        flow.phase = CLOSING;
        return FORWARD;
      }
      case phases.ACT_CLOCK: {
        if (packet.payloadLength > 0) this.#waker.stop(flow);
        if ((found & ADVANCED_ACK) !== 0)
          this.#pacers[flow.halves[direction].port + 1]!.onDelivered(lastTracked.acked, now);
        const ends = this.#handback.onFar(flow, packet, found, now);
        if (flow.frozen === null) this.#settler.handedBack(flow, now);
        if (ends && packet.payloadLength > 0) this.#arena.retain(flow.halves[direction], packet, now);
        return ends ? (this.#isReachable(flow, flow.near) ? FORWARD : DROP) : CONSUME;
      }
      case phases.ACT_FRESH: {
        const end = (packet.seq + packet.segLength) | 0;
        // Below CE, or a probe of a window that is still shut: the gateway's affair.
        if (frozen !== null && (!seqLt(frozen.custody.end, end) || frozen.offeredEdge === packet.seq)) {
          this.#handback.answer(flow, packet);
          return CONSUME;
        }
        if (packet.payloadLength > 0) this.#arena.retain(flow.halves[direction], packet, now);
        return FORWARD;
      }
      default:
        if (flow.phase === FROZEN && side === phases.SIDE_FAR) this.#holder.onFarAck(flow);
        else counters[COUNTER.absorbed]! += 1;
        return DROP;
    }
  }

  /** Whether an endpoint can be written to; when its link is lost the kernel would answer with an ICMP error. */
  #isReachable(flow: Flow, half: 0 | 1): boolean {
    return this.#monitor.links[flow.halves[half].port]?.canCarry ?? true;
  }

  /** A segment that cannot belong to the connection leaves no mark; in a held flow it does not pass either. */
  #implausible(flow: Flow, side: number, packet: Packet): Disposition {
    this.#counters[COUNTER.outOfWindow]! += 1;
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
    if (!isHeld) return flow.lostMask !== 0 && side === phases.SIDE_NEAR ? DROP : FORWARD;
    // Some stacks probe with whole segments beyond the window: one answer, nothing taken.
    const frozen = flow.frozen as Frozen;
    const distance = Math.abs(seqDiff(packet.seq, frozen.custody.end));
    if (side === phases.SIDE_NEAR && distance < PROBE_DISTANCE && (packet.flags & (SYN | RST)) === 0) {
      if (flow.phase === HANDBACK) this.#handback.answer(flow, packet);
      else this.#holder.onNearProbe(flow, packet);
      return CONSUME;
    }
    return DROP;
  }

  handleLink(event: LinkEvent, now: Micros): void {
    this.#now = now;
    this.#operator.onLink(event, now);
  }

  handleCommand(command: Command, now: Micros): Reply {
    this.#now = now;
    return this.#operator.handle(command, now);
  }

  /** Does what is due. Calling it early or again changes nothing. */
  handleTimeout(now: Micros): void {
    this.#now = now;
    if (this.#settler.isPending) this.#settler.settleSome(now);
    this.#operator.onTimeout(now);
    for (let flow = this.#timers.due(now); flow !== null; flow = this.#timers.due(now))
      this.#freezer.onTimer(flow, now);
    if (this.#handback.deadline <= now) this.#handback.run(now);
    this.#admission.onTimeout(now);
  }

  /** Length of the next packet to write from the outbox at `transmitOffset`, or 0. Valid until the next engine call. */
  pollTransmit(): number {
    const length = this.#outbox.take();
    this.transmitOffset = this.#outbox.offset;
    return length;
  }

  /** When `handleTimeout` wants to be called next, or NEVER. */
  pollTimeout(): Micros {
    this.#counters[COUNTER.arenaWraps] = this.#arena.laps;
    if (this.#settler.isPending) return this.#now;
    return Math.min(this.#timers.next, this.#handback.deadline, this.#admission.sweepAt, this.#operator.deadline);
  }

  pollEvent(): EngineEvent | undefined {
    return this.#events.shift();
  }
}
