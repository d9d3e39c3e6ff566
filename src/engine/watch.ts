/**
 * Watch: brings what connections show (link/silence.ts) to a verdict, and asks while that verdict stands. Silence of one far host
 * alone is a loss of that host; silence of several is a loss of their link. While the far side cannot be heard because nothing is
 * sent, a few frozen connections send keepalives in their near endpoint's name (RFC 9293 3.8.4): whatever comes back is
 * proof of life. The pace falls off as the outage grows.
 *
 * Damping, after RFC 2439: every loss adds a penalty that decays; while it is high, a scope that comes back is not
 * given back before it has fallen again, so a link that blinks is not thawed at every blink.
 */
import { observe } from '../base/figures.ts';
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import { NOTE } from '../flow/note.ts';
import { FLOWING, FROZEN, OPENING } from '../flow/phase.ts';
import { ADVANCED_DATA } from '../flow/tracker.ts';
import type { FreezeContext } from '../freeze/context.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import type { Scope, ScopeList } from '../link/scope.ts';
import { Silence } from '../link/silence.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';
import type { PortConfig } from './config.ts';
import type { EventQueue } from './event-queue.ts';
import type { Settler } from './settler.ts';

/** Connections that ask in one turn. */
const ASKERS = 3;
/** Pace of asking: until the outage is this old, at this interval; beyond, once a second. */
const PACE: readonly (readonly [Micros, Micros])[] = [
  [seconds(10), millis(100)],
  [seconds(60), millis(250)],
  [seconds(300), millis(500)],
];
const PACE_LAST: Micros = seconds(1);
/** Penalty per loss, half-life, and the level from which a return has to wait until it falls below the other. */
const PENALTY = 1;
const HALF_LIFE: Micros = seconds(15);
const SUPPRESS = 2.5;
const REUSE = 1;
/** A sign of life is fresh for this long; longer than the slowest pace. */
const FRESH: Micros = seconds(1.5);
/** Most losses by silence at a time. */
const LOSSES_MAX = 64;

interface Loss {
  readonly port: number;
  /** The silent host, or null when it is the whole link. */
  readonly scope: Scope | null;
  readonly since: Micros;
  heardAt: Micros;
  askAt: Micros;
  /** Where the next search for askers begins. */
  turn: number;
}

class Penalty {
  #level = 0;
  #at: Micros = 0;

  level(now: Micros): number {
    return this.#level * 2 ** ((this.#at - now) / HALF_LIFE);
  }

  add(now: Micros): void {
    this.#level = this.level(now) + PENALTY;
    this.#at = now;
  }

  /** When the level will have fallen to REUSE. */
  reuseAt(now: Micros): Micros {
    const level = this.level(now);
    return level <= REUSE ? now : now + HALF_LIFE * Math.log2(level / REUSE);
  }
}

export class Watch {
  readonly #context: FreezeContext;
  readonly #monitor: LinkMonitor;
  readonly #scopes: ScopeList;
  readonly #events: EventQueue;
  readonly #settler: Settler;
  /** By port; null where silence is not judged. */
  readonly #silences: readonly (Silence | null)[];
  readonly #penalties: readonly Penalty[];
  #losses: Loss[] = [];
  /** When `run` has something to do. */
  deadline: Micros = NEVER;

  /** @param ports in the order of the monitor's links */
  constructor(
    context: FreezeContext,
    monitor: LinkMonitor,
    scopes: ScopeList,
    events: EventQueue,
    settler: Settler,
    ports: readonly PortConfig[],
  ) {
    this.#context = context;
    this.#monitor = monitor;
    this.#scopes = scopes;
    this.#events = events;
    this.#settler = settler;
    this.#silences = ports.map((port) => (port.silence === true ? new Silence() : null));
    this.#penalties = monitor.links.map(() => new Penalty());
  }

  /** A segment of a flow in FLOWING passes; already tracked, with `found`. */
  onPassing(sender: Half, receiver: Half, packet: Packet, found: number, now: Micros): void {
    this.onHeard(sender.port, now);
    if (packet.payloadLength === 0 || receiver.port < 0) return;
    const silence = this.#silences[receiver.port] ?? null;
    if (silence === null) return;
    silence.onAsked((found & ADVANCED_DATA) === 0, sender.srtt, now);
    if (silence.checkAt < this.deadline) this.deadline = silence.checkAt;
  }

  /** A packet came from beyond the link behind `port`. */
  onHeard(port: number, now: Micros): void {
    const pacer = this.#context.pacerOf(port);
    if (pacer.aliveSince === NEVER) pacer.aliveSince = now;
    if (port >= 0) this.#silences[port]?.onHeard(now);
  }

  /** A plausible packet came from the far half of a flow that is held. */
  onLife(flow: Flow, half: 0 | 1, now: Micros): void {
    this.onHeard(flow.halves[half].port, now);
    for (const loss of this.#losses) {
      if (!this.#concerns(loss, flow, half)) continue;
      loss.heardAt = now;
      this.deadline = now;
    }
  }

  /** Other evidence has changed the state of a link, or a command has: what was inferred from silence is void. */
  forget(port: number, now: Micros): void {
    this.#silences[port]?.reset(now);
    for (const loss of this.#losses) if (loss.port === port) this.#end(loss, now);
  }

  run(now: Micros): void {
    if (this.deadline > now) return;
    for (const [port, silence] of this.#silences.entries()) {
      if (silence?.check(now) === true) this.#onSilent(port, silence, now);
    }
    for (const loss of this.#losses) this.#attend(loss, now);
    this.deadline = NEVER;
    for (const silence of this.#silences) this.deadline = Math.min(this.deadline, silence?.checkAt ?? NEVER);
    for (const loss of this.#losses) this.deadline = Math.min(this.deadline, loss.askAt);
  }

  #attend(loss: Loss, now: Micros): void {
    const link = this.#monitor.links[loss.port]!;
    const isHeard = loss.heardAt > loss.since && now - loss.heardAt < FRESH;
    if (isHeard) {
      const penalty = this.#penalties[loss.port]!;
      if (penalty.level(now) < SUPPRESS || penalty.reuseAt(now) <= now) {
        this.#end(loss, now);
        return;
      }
    }
    if (loss.askAt > now) return;
    const age = now - loss.since;
    loss.askAt = now + (PACE.find(([until]) => age < until)?.[1] ?? PACE_LAST);
    // A link that is lost for another reason cannot be asked.
    if (link.standing().length > (loss.scope === null ? 1 : 0)) return;
    this.#ask(loss);
  }

  #onSilent(port: number, silence: Silence, now: Micros): void {
    const monitor = this.#monitor;
    const link = monitor.links[port]!;
    const millisSilent = Math.round((now - silence.heardAt) / 1_000);
    const text = `silent for ${millisSilent} ms, ${silence.unanswered} segments unanswered`;
    const silentFor = now - silence.heardAt;
    silence.reset(now);
    if (link.isLost || this.#losses.length >= LOSSES_MAX) return;
    const waiting: { flow: Flow; half: 0 | 1 }[] = [];
    this.#context.table.forEach((flow) => {
      for (const half of [0, 1] as const) {
        const near = flow.halves[half === 0 ? 1 : 0];
        if (flow.phase !== FLOWING || flow.lostMask !== 0 || flow.halves[half].port !== port) continue;
        if (seqDiff(near.sndNxt, flow.halves[half].rcvNxt) > 0) waiting.push({ flow, half });
      }
    });
    const first = waiting[0];
    if (first === undefined) return;
    const scope = this.#hostScope(first.flow, first.half);
    const isOneHost = waiting.every(({ flow, half }) => this.#covers(scope, flow, half));
    const loss = { port, scope: isOneHost ? scope : null, since: now, heardAt: -NEVER, askAt: now, turn: 0 };
    if (isOneHost && !this.#scopes.add(scope)) return;
    this.#losses.push(loss);
    observe(this.#context.counters, 'detectionDelay', silentFor);
    this.#penalties[port]!.add(now);
    if (isOneHost) {
      this.#events.push({
        at: now,
        name: 'host-lost',
        message: `${scope.label}: ${text}`,
        link: link.name,
        reason: text,
      });
      this.#settler.settleAll(now);
    } else this.#verdict(monitor.onSilence(link, text, now), now);
  }

  #verdict(link: Link | null, now: Micros): void {
    if (link !== null) this.#settler.onVerdict(link, now);
  }

  #end(loss: Loss, now: Micros): void {
    const monitor = this.#monitor;
    this.#losses = this.#losses.filter((one) => one !== loss);
    this.#silences[loss.port]?.reset(now);
    const link = monitor.links[loss.port]!;
    if (loss.scope === null) {
      this.#verdict(monitor.onSilence(link, null, now), now);
      return;
    }
    this.#scopes.remove(loss.scope.label);
    this.#events.push({
      at: now,
      name: 'host-restored',
      message: `${loss.scope.label} answers again`,
      link: link.name,
    });
    this.#settler.settleAll(now);
  }

  #hostScope(flow: Flow, half: 0 | 1): Scope {
    const at = flow.index * KEY_WORDS + 4 * half;
    const count = flow.family === 4 ? 1 : 4;
    const words = this.#context.table.keys.slice(at, at + count);
    const bytes = new Uint8Array(4 * count);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) view.setInt32(4 * i, words[i]!);
    return {
      label: `silent host ${formatAddressBytes(bytes)}`,
      family: flow.family,
      words,
      prefixLength: 32 * count,
      flowIndex: -1,
      flowGeneration: 0,
      flowHalf: 0,
      until: NEVER,
      cause: 'silence',
    };
  }

  #covers(scope: Scope, flow: Flow, half: 0 | 1): boolean {
    if (scope.family !== flow.family) return false;
    const at = flow.index * KEY_WORDS + 4 * half;
    return scope.words.every((word, i) => this.#context.table.keys[at + i] === word);
  }

  #concerns(loss: Loss, flow: Flow, half: 0 | 1): boolean {
    return loss.scope === null ? flow.halves[half].port === loss.port : this.#covers(loss.scope, flow, half);
  }

  /** A few connections send what their far end must answer: a keepalive, or the SYN that waits. */
  #ask(loss: Loss): void {
    const { table, synthesizer } = this.#context;
    const able: Flow[] = [];
    table.forEach((flow) => {
      const far = flow.near === 0 ? 1 : 0;
      const frozen = flow.frozen as Frozen | null;
      if (frozen === null || !this.#concerns(loss, flow, far)) return;
      if (flow.phase === OPENING ? frozen.head !== null : flow.phase === FROZEN && !frozen.mute) able.push(flow);
    });
    for (let i = 0; i < Math.min(ASKERS, able.length); i++) {
      const flow = able[(loss.turn + i) % able.length]!;
      const frozen = flow.frozen as Frozen;
      const endpoint = flow.halves[flow.near];
      const peer = flow.halves[flow.near === 0 ? 1 : 0];
      if (flow.phase === OPENING) synthesizer.copy(flow, flow.near, frozen.head!, NOTE.question);
      else {
        const seq = (peer.rcvNxt - 1) | 0;
        synthesizer.ack(flow, flow.near, seq, endpoint.rcvNxt, endpoint.rcvWnd, peer.tsVal, NOTE.question);
      }
    }
    loss.turn += ASKERS;
  }
}
