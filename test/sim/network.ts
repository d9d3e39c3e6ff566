/**
 * The simulated network: endpoints on a LAN wire and on a WAN wire, the engine between them (or a plain wire where there
 * is none), and a clock that jumps. One seed describes a run completely.
 */
import { Prng } from '../../src/base/prng.ts';
import { type Micros, NEVER } from '../../src/base/time.ts';
import type { EngineConfig } from '../../src/engine/engine.ts';
import type { EchoRequest } from '../../src/link/events.ts';
import { Disk } from './disk.ts';
import { Endpoint } from './endpoint.ts';
import type { EndpointConfig } from './endpoint-config.ts';
import { addresses, cutEvents, type LossKind, restoreEvents, type Step, startEvents } from './events.ts';
import { Gateway, type GatewayMemory, makeMemory } from './gateway.ts';
import { judge } from './observer.ts';
import { EventQueue } from './queue.ts';
import { cutSuperPacket } from './segmenter.ts';
import { type SimPacket, Wire, type WireConfig } from './wire.ts';

export type Side = 'lan' | 'wan';

export interface FlowConfig {
  readonly lan: Partial<EndpointConfig>;
  readonly wan: Partial<EndpointConfig>;
  readonly family: 4 | 6;
  /** Host numbers, so that flows can share hosts. */
  readonly lanHost: number;
  readonly wanHost: number;
  readonly lanPort: number;
  readonly wanPort: number;
  /** Which side opens. */
  readonly opener: Side;
}

export interface NetworkConfig {
  readonly seed: number;
  readonly lan: WireConfig;
  readonly wan: WireConfig;
  /** Null: no gateway, the wires are simply joined. */
  readonly engine: EngineConfig | null;
  readonly arenaBytes: number;
  /** Memory for the gateway, used again and never cleaned, as a process would find it; null: its own. */
  readonly memory?: GatewayMemory | null;
  /** Probability that the engine's `handleTimeout` is called before its time, after a packet or a timeout (invariant 7). */
  readonly extraTimeouts: number;
  readonly base: Omit<EndpointConfig, 'name' | 'addresses' | 'port' | 'peerPort' | 'active'>;
}

export interface SimFlow {
  readonly lan: Endpoint;
  readonly wan: Endpoint;
}

/** An echo request with 56 bytes of data, as ping sends it. */
const ECHO_BYTES = new Uint8Array(84);

interface Place {
  readonly endpoint: Endpoint;
  readonly side: Side;
  readonly flow: SimFlow;
  wakeAt: Micros;
}

export class Network {
  readonly queue: EventQueue = new EventQueue();
  readonly prng: Prng;
  readonly gateway: Gateway | null;
  readonly flows: SimFlow[] = [];
  readonly violations: string[] = [];
  /** Echo requests of the engine so far, by time and link. */
  readonly echoesAsked: { readonly at: Micros; readonly name: string }[] = [];
  /** Whether whom an echo request reaches answers it. */
  echoes: (request: EchoRequest) => boolean = () => true;
  /** Called with every packet that is delivered to an endpoint or leaves one; for stories and traces. */
  tap: ((where: string, packet: SimPacket, now: Micros) => void) | null = null;
  /** From endpoint to gateway and back, by side. */
  readonly wires: Record<`${Side}${'In' | 'Out'}`, Wire>;

  readonly #config: NetworkConfig;
  readonly #places = new Map<number, Place>();
  /** A generator of its own, so that extra calls do not shift the losses of a run. */
  readonly #extra: Prng;
  #timerAt: Micros = NEVER;
  readonly #disk = new Disk();
  /** A generator of its own, so that a journal does not shift the losses of a run. */
  readonly #fate: Prng;
  /** How each side's loss is known to the kernel; commands die with the process. */
  readonly #lost: Record<Side, LossKind> = { lan: 'none', wan: 'none' };
  /** How often the gateway crashed. */
  crashes = 0;

  constructor(config: NetworkConfig) {
    this.#config = config;
    this.prng = new Prng(config.seed);
    this.#extra = new Prng(config.seed + 1);
    this.#fate = new Prng(config.seed + 2);
    this.gateway =
      config.engine === null
        ? null
        : new Gateway(config.engine, config.memory ?? makeMemory(config.arenaBytes), (bytes, synthesized) =>
            this.#fromGateway(bytes, synthesized),
          );
    const wire = (side: WireConfig, deliver: (packet: SimPacket) => void): Wire =>
      new Wire(side, this.queue, this.prng, deliver);
    this.wires = {
      lanIn: wire(config.lan, (packet) => this.#toGateway(packet)),
      lanOut: wire(config.lan, (packet) => this.#toEndpoint(packet)),
      wanIn: wire(config.wan, (packet) => this.#toGateway(packet)),
      wanOut: wire(config.wan, (packet) => this.#toEndpoint(packet)),
    };
    for (const event of startEvents()) this.gateway?.link(event, 0);
    this.#armGateway();
  }

  get now(): Micros {
    return this.queue.now;
  }

  get vnetLength(): 0 | 10 {
    return this.gateway?.vnetLength ?? 0;
  }

  addFlow(config: FlowConfig): SimFlow {
    const { base } = this.#config;
    const make = (side: Side): Endpoint => {
      const own = side === 'lan' ? config.lan : config.wan;
      const endpoint = new Endpoint({
        ...base,
        ...own,
        family: config.family,
        name: `${side}${this.flows.length}`,
        vnetLength: this.vnetLength,
        // Without the virtio-net header there is nothing to describe a super-packet with.
        ...(this.vnetLength === 0 ? { burst: own.mss ?? base.mss } : {}),
        addresses: addresses(config.family, side, config.lanHost, config.wanHost),
        port: side === 'lan' ? config.lanPort : config.wanPort,
        peerPort: side === 'lan' ? config.wanPort : config.lanPort,
        active: config.opener === side,
      });
      return endpoint;
    };
    const flow = { lan: make('lan'), wan: make('wan') };
    this.flows.push(flow);
    for (const side of ['lan', 'wan'] as const) {
      const endpoint = flow[side];
      const place: Place = { endpoint, side, flow, wakeAt: NEVER };
      this.#places.set(keyOf(endpoint.config.port, endpoint.config.peerPort), place);
      this.#settle(place);
    }
    return flow;
  }

  /** The side's link stops carrying packets; the gateway learns of it as `kind` says, `after` later. */
  cut(side: Side, kind: LossKind, after: Micros): void {
    this.wires[`${side}In`].cut();
    this.wires[`${side}Out`].cut();
    if (kind === 'none') return;
    this.queue.schedule(this.now + after, () => {
      this.#lost[side] = kind;
      for (const step of cutEvents(side, kind)) this.tell(step);
    });
  }

  /** The link is back; packets pass `settling` later than the gateway hears of it (negative: earlier). */
  restore(side: Side, kind: LossKind, settling: Micros): void {
    this.queue.schedule(this.now + Math.max(0, settling), () => {
      this.wires[`${side}In`].restore();
      this.wires[`${side}Out`].restore();
    });
    this.queue.schedule(this.now + Math.max(0, -settling), () => {
      this.#lost[side] = 'none';
      for (const step of restoreEvents(side, kind)) this.tell(step);
    });
  }

  /** The gateway's process dies now, and another one starts `down` later; the kernel forwards meanwhile. */
  crash(down: Micros): void {
    const { gateway } = this;
    if (gateway === null || gateway.isDown) return;
    this.crashes++;
    gateway.crash();
    // Sometimes all that was written survives, as after a kill; sometimes only what was synced, as after a power cut.
    const share = this.#fate.nextBelow(3) === 0 ? this.#fate.nextFloat() : this.#fate.nextBelow(2);
    const records = this.#disk.crash(share);
    this.queue.schedule(this.now + down, () => {
      const links = [
        ...startEvents(),
        ...(['lan', 'wan'] as const).flatMap((side) =>
          cutEvents(side, this.#lost[side]).flatMap((step) => (step.kind === 'event' ? [step.event] : [])),
        ),
      ];
      gateway.restart(links, records, this.now);
      this.#armGateway();
    });
  }

  at(when: Micros, run: () => void): void {
    this.queue.schedule(when, run);
  }

  /** Let time pass until `done` says so, nothing is left to happen, or `limit` is reached. Returns whether it was done. */
  run(limit: Micros, done: () => boolean = () => false): boolean {
    let steps = 0;
    while (this.queue.nextAt() <= limit) {
      this.queue.step();
      if (++steps > 5_000_000) throw new Error(`more than ${steps} steps by ${this.now} us: something spins`);
      if (done()) return true;
    }
    return done();
  }

  /** Everything wrong so far, the endpoints' own findings included. */
  complaints(): string[] {
    return [...this.violations, ...this.flows.flatMap((flow) => [...flow.lan.violations, ...flow.wan.violations])];
  }

  /** Hand an event or a command to the engine, as the shell would. A refusal is a violation, unless `mayRefuse` names it. */
  tell(step: Step, mayRefuse = ''): void {
    const { gateway } = this;
    if (gateway === null || gateway.isDown) return;
    if (step.kind === 'command') {
      const reply = gateway.command(step.command, this.now);
      // A process that has crashed has forgotten its commands.
      const isForgotten = this.crashes > 0 && reply.kind === 'refused' && reply.code === 'NOT_FROZEN';
      if (reply.kind === 'refused' && reply.code !== mayRefuse && !isForgotten) {
        this.violations.push(`${this.now} us: ${step.command.kind} refused: ${reply.message}`);
      }
    } else gateway.link(step.event, this.now);
    this.#armGateway();
  }

  #settle(place: Place): void {
    const { endpoint, side } = place;
    for (let bytes = endpoint.output.shift(); bytes !== undefined; bytes = endpoint.output.shift()) {
      const packet = { bytes, synthesized: false };
      this.tap?.(`${endpoint.config.name} >`, packet, this.now);
      this.wires[`${side}In`].send(packet);
    }
    const deadline = endpoint.deadline();
    if (deadline >= place.wakeAt) return;
    place.wakeAt = deadline;
    this.queue.schedule(deadline, () => {
      if (place.wakeAt !== deadline) return;
      place.wakeAt = NEVER;
      if (endpoint.deadline() <= this.now) endpoint.handleTimeout(this.now);
      this.#settle(place);
    });
  }

  /** Echoes that the engine asks for travel over the same wires; whoever is beyond answers, unless `echoes` says otherwise. */
  #sendEchoes(): void {
    const { gateway } = this;
    for (let echo = gateway?.engine.pollEcho(); echo !== undefined; echo = gateway?.engine.pollEcho()) {
      this.echoesAsked.push({ at: this.now, name: echo.name });
      this.wires[echo.name === 'lan0' ? 'lanOut' : 'wanOut'].send({ bytes: ECHO_BYTES, synthesized: true, echo });
    }
  }

  #toGateway(packet: SimPacket): void {
    const { gateway } = this;
    if (packet.echo !== undefined) {
      if (gateway?.isDown === false) gateway.link({ kind: 'echo', ...packet.echo, outcome: 'reply' }, this.now);
      this.#armGateway();
      return;
    }
    if (gateway === null || gateway.isDown) {
      this.#route(packet);
      return;
    }
    gateway.packet(packet.bytes, this.now);
    this.#callEarly();
    this.#armGateway();
  }

  /** A timer called before its time, once or twice, must do nothing and forget nothing (invariant 7). */
  #callEarly(): void {
    const { gateway } = this;
    const { extraTimeouts } = this.#config;
    if (gateway === null || gateway.isDown || extraTimeouts === 0 || this.#extra.nextFloat() >= extraTimeouts) return;
    const deadline = gateway.deadline();
    if (deadline <= this.now) return;
    const before = gateway.counter('transmits');
    gateway.timeout(this.now);
    if (this.#extra.nextBelow(2) === 0) gateway.timeout(this.now);
    if (gateway.counter('transmits') !== before || gateway.deadline() !== deadline) {
      this.violations.push(`${this.now} us: invariant 7: a timeout called early, before ${deadline}, did something`);
    }
  }

  #armGateway(): void {
    const { gateway } = this;
    if (gateway === null || gateway.isDown) return;
    this.#sendEchoes();
    this.#serveJournal(gateway);
    const deadline = gateway.deadline();
    if (deadline >= this.#timerAt) return;
    const at = Math.max(deadline, this.now);
    this.#timerAt = at;
    this.queue.schedule(at, () => {
      if (this.#timerAt !== at) return;
      this.#timerAt = NEVER;
      if (gateway.deadline() <= this.now) {
        gateway.timeout(this.now);
        this.#callEarly();
      }
      this.#armGateway();
    });
  }

  #serveJournal(gateway: Gateway): void {
    const { crashes } = this;
    for (let batch = gateway.batches.shift(); batch !== undefined; batch = gateway.batches.shift()) {
      this.#disk.write(batch);
      const { number } = batch;
      this.queue.schedule(this.now + 200 + this.#fate.nextBelow(5_000), () => {
        if (this.crashes !== crashes || gateway.isDown) return;
        this.#disk.sync(number);
        gateway.synced(number, this.now);
        this.#armGateway();
      });
    }
  }

  #fromGateway(bytes: Uint8Array, synthesized: boolean): void {
    const place = this.#find(bytes);
    if (place !== undefined) {
      const from = place.side === 'lan' ? place.flow.wan : place.flow.lan;
      const custody = (): number => this.#custodyOf(place.flow);
      const found = judge(bytes, this.vnetLength, { to: place.endpoint, from, synthesized, custody }, this.now);
      if (this.violations.length < 20) this.violations.push(...found);
    }
    for (const piece of cutSuperPacket(bytes, this.vnetLength)) this.#route({ bytes: piece, synthesized });
  }

  #custodyOf(flow: SimFlow): number {
    const port = `:${flow.lan.config.port}`;
    const peer = `:${flow.wan.config.port}`;
    for (const snapshot of this.gateway?.flows(this.now) ?? []) {
      const ends = [snapshot.originator, snapshot.responder];
      if (ends.some((end) => end.endsWith(port)) && ends.some((end) => end.endsWith(peer)))
        return snapshot.custodyBytes + this.#givenUpNow(snapshot.id);
    }
    return 0;
  }

  /** Bytes that were in custody at the beginning of this very turn, in which the flow was ended. */
  #givenUpNow(flow: string): number {
    const ending = this.gateway?.events.findLast(
      (event) => event.flow === flow && (event.name === 'flow-given-up' || event.name === 'flow-aborted'),
    );
    return ending?.at === this.now ? (ending.figures?.bytes ?? 0) : 0;
  }

  #route(packet: SimPacket): void {
    const place = this.#find(packet.bytes);
    if (place === undefined) this.violations.push(`${this.now} us: a packet that leads nowhere`);
    else this.wires[`${place.side}Out`].send(packet);
  }

  #toEndpoint(packet: SimPacket): void {
    if (packet.echo !== undefined) {
      if (this.echoes(packet.echo)) this.wires[packet.echo.name === 'lan0' ? 'lanIn' : 'wanIn'].send(packet);
      return;
    }
    const place = this.#find(packet.bytes);
    if (place === undefined) {
      this.violations.push(`${this.now} us: a packet for a connection that does not exist`);
      return;
    }
    this.tap?.(`> ${place.endpoint.config.name}`, packet, this.now);
    // What a new process remembers may be older than what the kernel carried meanwhile: it learns with the first answer.
    const strict = packet.synthesized && this.wires[`${place.side}Out`].keepsOrder && this.crashes === 0;
    const peer = place.side === 'lan' ? place.flow.wan : place.flow.lan;
    const mayProbe = !packet.synthesized && peer.config.probe !== 'linux';
    place.endpoint.handlePacket(packet.bytes, strict, mayProbe, this.now);
    this.#settle(place);
  }

  /** The endpoint that a packet, or the packet quoted by an ICMP message, belongs to. */
  #find(bytes: Uint8Array): Place | undefined {
    const at = this.vnetLength;
    const isV4 = bytes[at]! >>> 4 === 4;
    const header = isV4 ? 20 : 40;
    const protocol = bytes[at + (isV4 ? 9 : 6)]!;
    const isError = protocol !== 6;
    // An error goes to who sent the quoted packet; a segment to its destination. The endpoint looks at the addresses.
    const inner = isError ? at + header + 8 : at;
    const ports = inner + header;
    const first = (bytes[ports]! << 8) | bytes[ports + 1]!;
    const second = (bytes[ports + 2]! << 8) | bytes[ports + 3]!;
    return this.#places.get(isError ? keyOf(first, second) : keyOf(second, first));
  }
}

/** Own port and the peer's; flows differ in these. */
function keyOf(port: number, peerPort: number): number {
  return port * 65_536 + peerPort;
}
