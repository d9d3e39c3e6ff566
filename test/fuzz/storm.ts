/**
 * The whole engine under a storm: near-right segments (talkers.ts), damaged ones, frames of real captures, links that come and go,
 * commands, time. After every step the promises that hold whatever happens are checked: nothing throws, what the engine makes is
 * a sound packet, memory stays within the configuration, one answer at most to what comes out of a frozen flow.
 */
import { COUNTER_NAMES, readCounters } from '../../src/base/counters.ts';
import { Prng } from '../../src/base/prng.ts';
import { type Micros, NEVER } from '../../src/base/time.ts';
import type { Selector } from '../../src/engine/commands.ts';
import { Engine, type EngineConfig, READ_MAX } from '../../src/engine/engine.ts';
import type { LinkEvent } from '../../src/link/events.ts';
import { DEFAULT_DETECTORS } from '../../src/policy/detectors.ts';
import { DEFAULT_RULE, type PolicyRule } from '../../src/policy/policy.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { KIND_MALFORMED, KIND_OTHER, KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { describePacket } from '../../src/wire/printer.ts';
import { completeChecksum, verifyChecksums } from '../../src/wire/rewrite.ts';
import { VNET_F_DATA_VALID } from '../../src/wire/virtio.ts';
import { Talkers } from './talkers.ts';

const ARENA_BYTES = 4 * (READ_MAX + 256);
const OUTBOX_BYTES = 1 << 20;
const CUSTODY_TOTAL = 1 << 20;
const MAX_FLOWS = 64;
/** Steps between checks of what costs a walk over all flows. */
const AUDIT_INTERVAL = 4_096;

/** The first six talkers (talkers.ts) get each a rule of their own. */
const POLICY: readonly PolicyRule[] = (
  [
    { trickle: 1_000_000 },
    { custody: false },
    { maxOutage: 500_000, giveUp: 'silent', class: 'temporary' },
    { maxOutage: 2_000_000, trickle: 'auto', priority: 'interactive' },
    { class: 'suspension', keep: 3_000_000, wakeup: false },
    { class: 'critical', priority: 'bulk', parkSyn: false },
  ] as const
).map((part, index) => ({
  ...DEFAULT_RULE,
  ...part,
  match: { port: [{ from: 40_000 + index, to: 40_000 + index }] },
}));

export class Storm {
  inputs = 0;
  /** Of them, those that decoded as TCP; a storm in which few do proves little. */
  sound = 0;
  transmitted = 0;
  readonly counters = new Float64Array(COUNTER_NAMES.length);
  readonly #engine: Engine;
  readonly #random: Prng;
  readonly #talkers: Talkers;
  readonly #frames: readonly Uint8Array[];
  readonly #arena: Uint8Array;
  readonly #packet = new Packet();
  readonly #made = new Packet();
  readonly #copy = new Packet();
  readonly #vnetLength: 0 | 10;
  readonly #journal: boolean;
  #written = 0;
  #isCalm = false;
  readonly #carrier = [true, true];
  #now: Micros = 1_000_000;

  /** @param frames IP packets of real captures, to be damaged */
  constructor(seed: number, frames: readonly Uint8Array[]) {
    this.#random = new Prng(seed);
    this.#frames = frames;
    this.#journal = seed % 3 === 0;
    this.#vnetLength = seed % 2 === 0 ? 0 : 10;
    this.#talkers = new Talkers(this.#random, this.#vnetLength);
    const arena = new ArrayBuffer(ARENA_BYTES);
    const outbox = new ArrayBuffer(OUTBOX_BYTES);
    this.#arena = new Uint8Array(arena);
    this.#packet.attach(arena);
    this.#made.attach(outbox);
    this.#copy.attach(new ArrayBuffer(READ_MAX));
    const config: EngineConfig = {
      ports: [
        { name: 'lan0', role: 'lan', detectors: DEFAULT_DETECTORS },
        { name: 'wan0', role: 'wan', detectors: DEFAULT_DETECTORS },
      ],
      vnetHeaderLength: this.#vnetLength,
      gso: this.#vnetLength === 10,
      maxFlows: MAX_FLOWS,
      custodyBytesPerFlow: CUSTODY_TOTAL / 4,
      custodyBytesTotal: CUSTODY_TOTAL,
      freezing: true,
      policy: POLICY,
      parkedSyns: 8,
      ...(seed % 4 === 0 ? { newcomersPerSecond: 20 } : {}),
      flowsPerHost: seed % 5 === 0 ? 16 : null,
      journal: this.#journal,
      hashKey: [seed | 0, ~seed],
      seed,
    };
    this.#engine = new Engine(config, { arena, outbox, counters: this.counters });
    for (const [text, name] of [
      ['10.1.0.0/16', 'lan0'],
      ['fd01::/16', 'lan0'],
      ['0.0.0.0/0', 'wan0'],
      ['::/0', 'wan0'],
    ] as const) {
      const { address, prefixLength } = parsePrefix(text)!;
      const family = address.length === 4 ? 4 : 6;
      this.#link({ kind: 'route', family, destination: address, prefixLength, name, metric: 0, present: true });
    }
    this.#setCarrier(0, true);
    this.#setCarrier(1, true);
  }

  /** One input. @throws Error that says which promise was broken */
  step(): void {
    const random = this.#random;
    this.inputs++;
    const choice = random.nextBelow(256);
    if (choice < 230) this.#feed(this.#segment(choice));
    else if (choice < 250) this.#wait();
    else if (choice < 252) this.#setCarrier(random.nextBelow(4) === 0 ? 0 : 1, random.nextBelow(2) === 0);
    else if (choice < 253) this.#command();
    else if (choice < 254) this.#outside();
    else this.#engine.handleTimeout(this.#now);
    this.#drain();
    if (this.inputs % AUDIT_INTERVAL === 0) this.#audit();
  }

  /** Ends the storm: with all links up and time enough, nothing may stay frozen for good. */
  calm(): void {
    this.#isCalm = true;
    const address = Uint8Array.of(198, 51, 100, 9);
    for (const name of ['lan0', 'wan0']) {
      this.#link({ kind: 'address', name, family: 4, address, prefixLength: 24, global: true, present: true });
    }
    this.#engine.handleCommand({ kind: 'resume', selector: { kind: 'all' } }, this.#now);
    this.#setCarrier(0, true);
    this.#setCarrier(1, true);
    this.#drain();
    for (let turns = 0; turns < 100_000 && this.#engine.pollTimeout() !== NEVER; turns++) {
      this.#now = Math.max(this.#now, Math.min(this.#engine.pollTimeout(), this.#now + 1e9));
      this.#engine.handleTimeout(this.#now);
      this.#drain();
    }
    this.#audit();
    // Custody that is delivered to nobody looks like a link that swallows it; whoever knows better says so.
    this.#engine.handleCommand({ kind: 'resume', selector: { kind: 'all' } }, this.#now);
    this.#engine.handleTimeout(this.#now);
    this.#drain();
    const reply = this.#engine.handleCommand({ kind: 'status' }, this.#now);
    if (reply.kind !== 'status' || reply.flows.frozen > 0)
      throw new Error('flows stay frozen although every link is up');
  }

  /** Puts an input where the engine reads; its length. */
  #segment(choice: number): number {
    const random = this.#random;
    const at = this.#engine.readOffset;
    let length: number;
    if (choice < 8 && this.#frames.length > 0) {
      const frame = this.#frames[random.nextBelow(this.#frames.length)]!;
      this.#arena.fill(0, at, at + this.#vnetLength);
      this.#arena.set(frame, at + this.#vnetLength);
      length = this.#vnetLength + frame.length;
    } else {
      length = this.#talkers.segment();
      this.#arena.set(this.#talkers.bytes.subarray(0, length), at);
    }
    if (random.nextBelow(12) === 0) length = this.#damage(at, length);
    return length;
  }

  /** Changes some bytes; the checksum is made right again in half of the cases, so that the change gets further. */
  #damage(at: number, length: number): number {
    const random = this.#random;
    const reach = Math.min(length, this.#vnetLength + 90);
    for (let n = 1 + random.nextBelow(3); n > 0 && reach > 0; n--) {
      const where = at + random.nextBelow(reach);
      const how = random.nextBelow(3);
      if (how === 0) this.#arena[where]! ^= 1 << random.nextBelow(8);
      else
        this.#arena[where] =
          how === 1 ? [0, 1, 2, 3, 8, 28, 0x7f, 0x80, 0xff][random.nextBelow(9)]! : random.nextUint32();
    }
    const cut = random.nextBelow(8) === 0 ? random.nextBelow(length + 1) : length;
    if (random.nextBelow(2) === 0) {
      const kind = this.#packet.parse(at, cut, this.#vnetLength);
      if (kind === KIND_TCP) completeChecksum(this.#packet);
    }
    return cut;
  }

  #feed(length: number): void {
    const at = this.#engine.readOffset;
    if (at < 0 || at + READ_MAX > ARENA_BYTES) throw new Error(`readOffset ${at} leaves no room for a read`);
    const kind = this.#packet.parse(at, length, this.#vnetLength);
    const isRight = kind === KIND_TCP && verifyChecksums(this.#packet);
    if (kind === KIND_TCP) this.sound++;
    const disposition = this.#engine.handlePacket(at, length, this.#now);
    if (disposition !== 0 && disposition !== 1 && disposition !== 2) throw new Error(`disposition ${disposition}`);
    if (kind !== KIND_TCP) {
      if (disposition !== 0) throw new Error('what is not understood was not forwarded');
      return;
    }
    if (disposition === 0 && isRight) {
      this.#packet.parse(at, length, this.#vnetLength);
      if (!verifyChecksums(this.#packet)) throw new Error('a forwarded packet lost its right checksum');
    }
  }

  #wait(): void {
    const random = this.#random;
    const range = [1_000, 50_000, 1_000_000, 70_000_000][random.nextBelow(4)]!;
    const until = this.#now + random.nextBelow(range);
    for (let turns = 0; turns < 5_000; turns++) {
      const next = this.#engine.pollTimeout();
      if (next > until) break;
      this.#now = Math.max(this.#now, next);
      this.#engine.handleTimeout(this.#now);
      this.#drain();
    }
    this.#now = Math.max(this.#now, until);
  }

  #command(): void {
    const random = this.#random;
    const selectors: readonly Selector[] = [
      { kind: 'all' },
      { kind: 'link', name: 'wan0' },
      { kind: 'link', name: 'nonsense' },
      { kind: 'host', address: '198.51.100.9' },
      { kind: 'host', address: '10.1.0.3' },
      { kind: 'prefix', prefix: '2001:db8::/32' },
      { kind: 'prefix', prefix: 'not a prefix' },
      { kind: 'flow', id: `${random.nextBelow(16)}.${random.nextBelow(4)}` },
    ];
    const selector = selectors[random.nextBelow(selectors.length)]!;
    const choice = random.nextBelow(8);
    const leadMicros = choice === 1 ? random.nextBelow(2_000_000) : 0;
    const forMicros = choice === 2 ? random.nextBelow(5_000_000) : undefined;
    if (choice < 4) {
      this.#engine.handleCommand(
        { kind: 'freeze', selector, leadMicros, ...(forMicros === undefined ? {} : { forMicros }) },
        this.#now,
      );
    } else if (choice < 7) this.#engine.handleCommand({ kind: 'resume', selector }, this.#now);
    else if (selector.kind !== 'all') this.#engine.handleCommand({ kind: 'abort', selector }, this.#now);
  }

  /** What the shell may report of the network around, sound and nonsensical. */
  #outside(): void {
    const random = this.#random;
    const name = ['lan0', 'wan0', 'other'][random.nextBelow(3)]!;
    const address = Uint8Array.of(198, 51, 100, 9);
    switch (random.nextBelow(5)) {
      case 0: {
        const bytes = new Uint8Array(random.nextBelow(120));
        for (let i = 0; i < bytes.length; i++) bytes[i] = random.nextUint32();
        if (bytes.length > 0) bytes[0] = random.nextBelow(2) === 0 ? 0x45 : 0x60;
        this.#link({ kind: 'icmp', name, bytes });
        break;
      }
      case 1:
        this.#link({
          kind: 'neighbour',
          name,
          family: 4,
          address,
          state: random.nextBelow(2) === 0 ? 'failed' : 'reachable',
        });
        break;
      case 2:
        this.#link({ kind: 'echo', name, family: 4, address, sequence: random.nextBelow(65_536), outcome: 'reply' });
        break;
      case 3:
        this.#link({
          kind: 'dhcp',
          name,
          lease: random.nextBelow(2) === 0 ? 'own' : 'host',
          what: (['bound', 'renewed', 'nak', 'released', 'expired', 'asking'] as const)[random.nextBelow(6)]!,
          family: 4,
          address,
          leaseSeconds: random.nextUint32(),
        });
        break;
      default:
        this.#link({
          kind: 'address',
          name,
          family: 4,
          address,
          prefixLength: 24,
          global: true,
          present: random.nextBelow(2) === 0,
        });
    }
  }

  #setCarrier(port: 0 | 1, carrier: boolean): void {
    this.#carrier[port] = carrier;
    const name = port === 0 ? 'lan0' : 'wan0';
    this.#link({ kind: 'interface', name, index: port + 2, up: true, carrier, operState: carrier ? 6 : 2, mtu: 1_500 });
  }

  #link(event: LinkEvent): void {
    this.#engine.handleLink(event, this.#now);
  }

  /** The journal's writer: prompt, late, or failing for a while. */
  #write(): void {
    const random = this.#random;
    for (let batch = this.#engine.pollJournal(this.#now); batch !== null; batch = this.#engine.pollJournal(this.#now)) {
      this.#written = batch.number;
    }
    const choice = random.nextBelow(64);
    if (choice < 32 || this.#isCalm) this.#engine.handleJournalSync(this.#written, this.#now);
    else if (choice === 63) this.#engine.handleJournalState('the disk is full', this.#now);
    if (choice === 62 || this.#isCalm) this.#engine.handleJournalState(null, this.#now);
  }

  #drain(): void {
    if (this.#journal) this.#write();
    for (let echoes = 0; this.#engine.pollEcho() !== undefined; echoes++) {
      if (echoes > 1_000) throw new Error('pollEcho never ends');
    }
    for (let turns = 0; ; turns++) {
      if (turns > 200_000) throw new Error('pollTransmit never ends');
      const length = this.#engine.pollTransmit();
      if (length === 0) break;
      this.transmitted++;
      const at = this.#engine.transmitOffset;
      if (at < 0 || at + length > OUTBOX_BYTES) throw new Error(`a packet outside of the outbox: ${at}`);
      const kind = this.#made.parse(at, length, this.#vnetLength);
      if (kind === KIND_MALFORMED || (kind !== KIND_TCP && kind !== KIND_OTHER)) {
        throw new Error(`the engine made a packet of kind ${kind}`);
      }
      if (kind === KIND_TCP && this.#made.gsoSize === 0 && !this.#isSummed(at, length)) {
        throw new Error(`the engine made a packet with a wrong checksum: ${describePacket(this.#made)}`);
      }
    }
    while (this.#engine.pollEvent() !== undefined);
  }

  /** Whether a made packet's checksum is right, a partial one (virtio NEEDS_CSUM) after its completion. */
  #isSummed(at: number, length: number): boolean {
    // A copy of what the kernel vouched for (VIRTIO_NET_HDR_F_DATA_VALID, damaged into being here) is as good as its word.
    if (this.#vnetLength === 10 && (this.#made.bytes[at]! & VNET_F_DATA_VALID) !== 0) return true;
    this.#copy.bytes.set(this.#made.bytes.subarray(at, at + length), 0);
    if (this.#copy.parse(0, length, this.#vnetLength) !== KIND_TCP) return false;
    if (this.#vnetLength === 10 && (this.#copy.bytes[0]! & 1) !== 0) completeChecksum(this.#copy);
    return verifyChecksums(this.#copy);
  }

  #audit(): void {
    const reply = this.#engine.handleCommand({ kind: 'status' }, this.#now);
    if (reply.kind !== 'status') throw new Error('no status');
    if (reply.custodyBytes < 0 || reply.custodyBytes > CUSTODY_TOTAL) throw new Error(`custody ${reply.custodyBytes}`);
    if (reply.flows.total > MAX_FLOWS) throw new Error(`${reply.flows.total} flows`);
    let held = 0;
    const flows = this.#engine.handleCommand({ kind: 'flows', frozenOnly: false }, this.#now);
    if (flows.kind === 'flows') for (const flow of flows.flows) held += flow.custodyBytes;
    if (held !== reply.custodyBytes) throw new Error(`flows hold ${held} bytes, the budget says ${reply.custodyBytes}`);
    if (!(this.#engine.pollTimeout() >= 0)) throw new Error(`deadline ${this.#engine.pollTimeout()}`);
  }

  counter(name: keyof ReturnType<typeof readCounters>): number {
    return readCounters(this.counters)[name];
  }
}
