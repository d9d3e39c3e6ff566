/**
 * One TCP connection through the bench's engine, told from the loss's point of view: `near` is who will be held, `far` who will
 * be out of reach. Which of them sits on the LAN, and who opened the connection, varies without changing the story.
 */
import { formatAddressBytes, parseAddress } from '../../src/wire/address.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, FIN, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { pattern } from '../wire/workbench.ts';
import { LAN, type Outcome, type Rig, WAN } from './rig.ts';
import { decode, type Parties, type Seen } from './seen.ts';

export interface Variant {
  readonly name: string;
  readonly family: 4 | 6;
  /** Port whose loss makes `far` unreachable. */
  readonly lost: typeof LAN | typeof WAN;
  readonly opener: 'near' | 'far';
  readonly nearIsn: number;
  readonly farIsn: number;
  readonly timestamps: boolean;
  /** Default: just above SEGMENT. */
  readonly mss?: number;
}

export const PLAIN: Variant = {
  name: 'IPv4, uplink lost',
  family: 4,
  lost: WAN,
  opener: 'near',
  nearIsn: 1_000_000,
  farIsn: 2_000_000_000,
  timestamps: true,
};

/** The stories that every variant must tell alike. */
export const VARIANTS: readonly Variant[] = [
  PLAIN,
  { ...PLAIN, name: 'IPv6, uplink lost', family: 6 },
  { ...PLAIN, name: 'LAN side lost, opened by the far peer', lost: LAN, opener: 'far' },
  { ...PLAIN, name: 'IPv6, LAN side lost, opened by the near endpoint', family: 6, lost: LAN },
  { ...PLAIN, name: 'across 2^32', nearIsn: -1_500, farIsn: -700, opener: 'far' },
  { ...PLAIN, name: 'across 2^31', nearIsn: 0x7fff_ffff - 1_200, farIsn: 0x7fff_ffff - 10 },
  { ...PLAIN, name: 'without timestamps', timestamps: false },
];

/** A segment to be sent; sequence numbers relative, everything else has a default. */
export interface Segment {
  readonly seq?: number;
  readonly ack?: number;
  readonly flags?: number;
  /** Raw field. */
  readonly window?: number;
  readonly payload?: Uint8Array;
  /** TSval; TSecr is the other side's newest unless given. */
  readonly ts?: number;
  readonly tsEcr?: number;
  readonly sack?: readonly number[];
  readonly gsoSize?: number;
  /** Change to the finished bytes. */
  readonly bend?: (bytes: Uint8Array) => void;
}

export const SHIFT = 7;
/** Raw window that both announce; 64 000 bytes. */
export const WINDOW = 500;
export const SEGMENT = 1_000;
const MSS = 1_012;

const NEAR = 'near';
type Side = 'near' | 'far';

class Speaker {
  nxt = 0;
  /** Its timestamp clock, in milliseconds. */
  ts: number;
  /** TSval of the last segment it sent. */
  said = 0;
  window = WINDOW;
  readonly ttl: number;
  readonly flowLabel: number;

  constructor(ts: number, ttl: number, flowLabel: number) {
    this.ts = ts;
    this.ttl = ttl;
    this.flowLabel = flowLabel;
  }
}

export class Conversation {
  readonly rig: Rig;
  readonly variant: Variant;
  readonly near = new Speaker(10_000, 61, 0x11111);
  readonly far = new Speaker(50_000, 53, 0x22222);
  readonly parties: Parties;
  readonly #spec = new TcpSpec();
  readonly #memory = new Uint8Array(70_000);
  readonly #view = new DataView(this.#memory.buffer);
  readonly nearAddress: string;
  readonly farAddress: string;

  constructor(rig: Rig, variant: Variant = PLAIN, nearPort = 40_000, nearHost = 2) {
    this.rig = rig;
    this.variant = variant;
    const lanHost = variant.family === 4 ? `10.1.0.${nearHost}` : `fd01::${nearHost}`;
    const wanHost = variant.family === 4 ? '198.51.100.9' : '2001:db8::9';
    this.nearAddress = variant.lost === WAN ? lanHost : wanHost;
    this.farAddress = variant.lost === WAN ? wanHost : lanHost;
    const { nearIsn, farIsn } = variant;
    this.parties = { nearPort, farPort: 443, nearIsn, farIsn, vnet: rig.config.vnetHeaderLength };
  }

  /** Bytes of a packet from `side`. */
  bytes(side: Side, segment: Segment): Uint8Array {
    const spec = this.#spec;
    const { parties, variant } = this;
    const own = this[side];
    const other = side === NEAR ? this.far : this.near;
    const [isn, otherIsn] = side === NEAR ? [parties.nearIsn, parties.farIsn] : [parties.farIsn, parties.nearIsn];
    const [from, to] = side === NEAR ? [this.nearAddress, this.farAddress] : [this.farAddress, this.nearAddress];
    const { flags = ACK, payload = null } = segment;
    spec.vnetLength = parties.vnet;
    spec.family = variant.family;
    loadWords(spec.addresses, 0, from);
    loadWords(spec.addresses, 4, to);
    spec.srcPort = side === NEAR ? parties.nearPort : parties.farPort;
    spec.dstPort = side === NEAR ? parties.farPort : parties.nearPort;
    spec.seq = (isn + (segment.seq ?? own.nxt)) | 0;
    spec.ack = (flags & ACK) === 0 ? 0 : (otherIsn + (segment.ack ?? other.nxt)) | 0;
    spec.flags = flags;
    spec.ttl = own.ttl;
    spec.flowLabel = own.flowLabel;
    spec.trafficClass = 0x48;
    const isSyn = (flags & SYN) !== 0;
    // The window of a SYN is not scaled (RFC 7323 2.2); both mean the same number of bytes.
    spec.window = segment.window ?? (isSyn ? own.window << SHIFT : own.window);
    spec.hasTs = variant.timestamps && (flags & RST) === 0;
    spec.tsVal = segment.ts ?? own.ts;
    spec.tsEcr = segment.tsEcr ?? other.said;
    spec.mss = isSyn ? (variant.mss ?? MSS) : -1;
    spec.windowScale = isSyn ? SHIFT : -1;
    spec.sackPermitted = isSyn;
    spec.sack = Int32Array.from(segment.sack ?? [], (edge) => (edge + otherIsn) | 0);
    spec.sackCount = spec.sack.length / 2;
    spec.payload = payload;
    spec.payloadFrom = 0;
    spec.payloadTo = payload?.length ?? 0;
    spec.gsoSize = segment.gsoSize ?? 0;
    const length = emitTcp(this.#memory, this.#view, 0, spec);
    if (length === 0) throw new Error('the segment cannot be built');
    const bytes = this.#memory.slice(0, length);
    segment.bend?.(bytes);
    return bytes;
  }

  /** Sends one segment; what its sender has sent and its clock follow. */
  send(side: Side, segment: Segment = {}): Outcome {
    const own = this[side];
    const { flags = ACK } = segment;
    const outcome = this.rig.packet(this.bytes(side, segment));
    own.said = segment.ts ?? own.ts;
    const length = (segment.payload?.length ?? 0) + ((flags & SYN) === 0 ? 0 : 1) + ((flags & FIN) === 0 ? 0 : 1);
    if (length > 0) own.nxt = Math.max(own.nxt, (segment.seq ?? own.nxt) + length);
    return outcome;
  }

  fromNear(segment: Segment = {}): Outcome {
    return this.send('near', segment);
  }

  fromFar(segment: Segment = {}): Outcome {
    return this.send('far', segment);
  }

  /** Three-way handshake; 10 ms of round trip on either side. */
  open(): this {
    const { opener } = this.variant;
    const responder = opener === 'near' ? 'far' : 'near';
    this.send(opener, { flags: SYN });
    this.tick(10);
    this.send(responder, { flags: SYN | ACK });
    this.tick(10);
    this.send(opener);
    return this;
  }

  /** Moves both clocks and the engine's by milliseconds. */
  tick(millis: number): void {
    this.rig.advance(millis * 1_000);
    this.near.ts += millis;
    this.far.ts += millis;
  }

  /** `count` segments of data from `side`, a millisecond apart, starting at what it sends next. */
  data(side: Side, count = 1, size = SEGMENT): void {
    for (let i = 0; i < count; i++) {
      const { nxt } = this[side];
      this.send(side, { payload: stream(nxt, size) });
      this.tick(1);
    }
  }

  /** An acknowledgement of everything from `side`, or of less. */
  acknowledge(side: Side, ackTo?: number): Outcome {
    return this.send(side, ackTo === undefined ? {} : { ack: ackTo });
  }

  lose(): void {
    this.rig.link(this.variant.lost, false);
    this.rig.settle();
  }

  restore(): void {
    this.rig.link(this.variant.lost, true);
  }

  /** Everything the engine made since the last call, decoded. */
  seen(): Seen[] {
    return this.rig.take().map(({ bytes, at }) => decode(bytes, at, this.parties));
  }

  /** What was forwarded, decoded. */
  decode(outcome: Outcome): Seen {
    if (outcome.forwarded === null) throw new Error('nothing was forwarded');
    return decode(outcome.forwarded, this.rig.now, this.parties);
  }

  /** Identifier of this flow in the engine. */
  get id(): string {
    const endpoint = endpointText(this.nearAddress, this.parties.nearPort);
    const flow = this.rig.flows().find((f) => f.originator === endpoint || f.responder === endpoint);
    if (flow === undefined) throw new Error(`no flow of ${endpoint}`);
    return flow.id;
  }
}

export function endpointText(address: string, port: number): string {
  const text = formatAddressBytes(parseAddress(address)!);
  return address.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

/** Bytes of an endpoint's stream from relative sequence number `from` on. */
export function stream(from: number, length: number): Uint8Array {
  return WHOLE.slice(from, from + length);
}

const WHOLE = pattern(400_000, 77);

function loadWords(words: Int32Array, at: number, text: string): void {
  const address = parseAddress(text)!;
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  for (let i = 0; i < address.byteLength / 4; i++) words[at + i] = view.getInt32(4 * i);
}
