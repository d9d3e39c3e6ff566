/**
 * Conversations that are nearly right: a handful of connections whose sequence numbers are known, of which plausible, slightly
 * wrong and absurd segments are made without allocating. What a mutator that knows nothing of TCP reaches only by luck (an
 * acknowledgement of exactly half of custody, a FIN beyond a closed window) is reached here all the time.
 */
import type { Prng } from '../../src/base/prng.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, FIN, PSH, RST, SYN, URG } from '../../src/wire/tcp-flags.ts';

export const TALKERS = 12;
const PAYLOAD = Uint8Array.from({ length: 65_000 }, (_, i) => (i * 131) & 0xff);
/** Distances from what would be right at which limits lie. */
const OFFSETS = [-1, 1, -2, 1_000, -1_000, 1_448, 65_535, -65_535, 2 ** 20, 2 ** 30, 2 ** 31 - 1, -(2 ** 31)];
const SIZES = [1, 1, 2, 536, 1_000, 1_448, 1_448, 1_448, 8_948];

class Talker {
  readonly family: 4 | 6;
  readonly ports: readonly [number, number];
  nxt: [number, number] = [0, 0];
  ts: [number, number] = [1_000, 9_000];
  isOpen = false;
  readonly hasTs: boolean;
  readonly hasScale: boolean;

  constructor(index: number, random: Prng) {
    this.family = index % 3 === 2 ? 6 : 4;
    this.ports = [40_000 + index, 443];
    this.hasTs = index % 4 !== 3;
    this.hasScale = index % 5 !== 4;
    this.restart(random);
  }

  restart(random: Prng): void {
    this.nxt = [random.nextUint32() | 0, random.nextUint32() | 0];
    this.isOpen = false;
  }
}

export class Talkers {
  readonly bytes = new Uint8Array(80_000);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #random: Prng;
  readonly #spec = new TcpSpec();
  readonly #talkers: readonly Talker[];
  readonly #sack = new Int32Array(8);
  /** Side that sent the last segment: 0 on the LAN, 1 beyond the uplink. */
  side: 0 | 1 = 0;

  constructor(random: Prng, vnetLength: 0 | 10) {
    this.#random = random;
    this.#spec.vnetLength = vnetLength;
    this.#talkers = Array.from({ length: TALKERS }, (_, index) => new Talker(index, random));
  }

  /** Writes one segment to `bytes`; its length. */
  segment(): number {
    const random = this.#random;
    const talker = this.#talkers[random.nextBelow(TALKERS)]!;
    const side = random.nextBelow(2) as 0 | 1;
    const spec = this.#spec;
    this.side = side;
    const other = side === 0 ? 1 : 0;
    this.#address(talker, side);
    spec.seq = talker.nxt[side]!;
    spec.ack = talker.nxt[other]!;
    spec.flags = ACK;
    spec.window = random.nextBelow(8) === 0 ? random.nextBelow(4) : 500 + random.nextBelow(1_000);
    spec.hasTs = talker.hasTs;
    spec.tsVal = ++talker.ts[side]!;
    spec.tsEcr = talker.ts[other]! - random.nextBelow(20);
    spec.mss = -1;
    spec.windowScale = -1;
    spec.sackPermitted = false;
    spec.userTimeout = -1;
    spec.sackCount = 0;
    spec.urgent = 0;
    spec.gsoSize = 0;
    spec.payload = PAYLOAD;
    spec.payloadFrom = 0;
    spec.payloadTo = 0;
    let follows = true;
    const kind = random.nextBelow(64);
    if (!talker.isOpen) {
      this.#handshake(talker, side, kind);
    } else if (kind < 26) this.#data(random);
    else if (kind < 46) spec.ack = (spec.ack - this.#behind()) | 0;
    else if (kind < 50) {
      // Keepalive and probes of a closed window, with and without a byte.
      spec.seq = (spec.seq - 1) | 0;
      spec.payloadTo = random.nextBelow(2);
      follows = false;
    } else if (kind < 53) spec.flags = ACK | FIN;
    else if (kind < 54) spec.flags = random.nextBelow(2) === 0 ? RST : RST | ACK;
    else if (kind < 57) {
      this.#data(random);
      // A repeat of something sent before.
      spec.seq = (spec.seq - this.#behind()) | 0;
      follows = false;
    } else if (kind < 60) {
      spec.sackCount = 1 + random.nextBelow(talker.hasTs ? 3 : 4);
      for (let i = 0; i < 2 * spec.sackCount; i++) this.#sack[i] = (spec.ack + i * 1_448 + random.nextBelow(3)) | 0;
      spec.sack = this.#sack;
      spec.ack = (spec.ack - this.#behind()) | 0;
    } else if (kind < 61) {
      spec.flags = ACK | URG | PSH;
      spec.urgent = random.nextBelow(10);
      this.#data(random);
    } else if (kind < 62) {
      talker.restart(random);
      follows = false;
    } else {
      // Out of the blue: any flags, any numbers near a limit.
      spec.flags = random.nextBelow(512);
      spec.seq = (spec.seq + OFFSETS[random.nextBelow(OFFSETS.length)]!) | 0;
      spec.ack = (spec.ack + OFFSETS[random.nextBelow(OFFSETS.length)]!) | 0;
      spec.tsVal = (spec.tsVal + OFFSETS[random.nextBelow(OFFSETS.length)]!) | 0;
      spec.payloadTo = random.nextBelow(3) * 700;
      follows = false;
    }
    if (follows) {
      const length = spec.payloadTo + ((spec.flags & SYN) === 0 ? 0 : 1) + ((spec.flags & FIN) === 0 ? 0 : 1);
      talker.nxt[side] = (spec.seq + length) | 0;
    }
    return emitTcp(this.bytes, this.#view, 0, spec);
  }

  /** How far an acknowledgement or a repeat lies behind. */
  #behind(): number {
    const random = this.#random;
    const choice = random.nextBelow(4);
    return choice === 0
      ? 0
      : choice === 1
        ? 1
        : choice === 2
          ? 1_448 * random.nextBelow(20)
          : random.nextBelow(100_000);
  }

  #data(random: Prng): void {
    const spec = this.#spec;
    spec.payloadTo = SIZES[random.nextBelow(SIZES.length)]!;
    if (spec.vnetLength === 10 && random.nextBelow(3) === 0) {
      spec.payloadTo = 1_448 * (2 + random.nextBelow(40));
      spec.gsoSize = 1_448;
    }
    if (random.nextBelow(16) === 0) spec.flags |= FIN;
  }

  #handshake(talker: Talker, side: 0 | 1, kind: number): void {
    const spec = this.#spec;
    if (kind < 12) {
      // Adopted mid-stream: the handshake is never seen.
      talker.isOpen = true;
      return;
    }
    spec.flags = side === 0 ? SYN : SYN | ACK;
    if (side === 0) spec.ack = 0;
    spec.mss = 1_460;
    spec.windowScale = talker.hasScale ? 7 : -1;
    spec.sackPermitted = true;
    if (kind === 63) spec.userTimeout = this.#random.nextBelow(65_536);
    if (side === 1) talker.isOpen = true;
  }

  #address(talker: Talker, side: 0 | 1): void {
    const { addresses } = this.#spec;
    this.#spec.family = talker.family;
    const [lanAt, wanAt] = side === 0 ? [0, 4] : [4, 0];
    addresses.fill(0);
    if (talker.family === 4) {
      addresses[lanAt] = 0x0a01_0002 + (talker.ports[0] & 3);
      addresses[wanAt] = 0xc633_6409 | 0;
    } else {
      addresses[lanAt] = 0xfd01_0000 | 0;
      addresses[lanAt + 3] = 2;
      addresses[wanAt] = 0x2001_0db8;
      addresses[wanAt + 3] = 9;
    }
    this.#spec.srcPort = talker.ports[side];
    this.#spec.dstPort = talker.ports[side === 0 ? 1 : 0];
  }
}
