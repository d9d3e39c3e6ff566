/** Turns what a model endpoint wants to say into packets: the only place of the model that builds bytes. */

import { NATIVE_LITTLE_ENDIAN } from '../../src/wire/checksum.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { pseudoSum } from './checksums.ts';
import { Content } from './content.ts';
import type { EndpointConfig } from './endpoint-config.ts';
import type { Interval } from './receiver.ts';

export interface SegmentPlan {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  /** As in the header, not scaled. */
  readonly window: number;
  readonly hasTs: boolean;
  readonly tsVal: number;
  readonly tsEcr: number;
  readonly offersSack: boolean;
  readonly offersScale: boolean;
  /** Sequence numbers. */
  readonly blocks: readonly Interval[];
  /** Stream offsets of the payload. */
  readonly from: number;
  readonly to: number;
}

/** Room for a super-packet with all headers. */
const SCRATCH = 70_000;

// All writers share these: nothing of them is looked at after the call that filled them.
const bytes = new Uint8Array(SCRATCH);
const view = new DataView(bytes.buffer);
const payload = new Uint8Array(65_536);

export class SegmentWriter {
  readonly #config: EndpointConfig;
  readonly #content: Content;
  readonly #spec = new TcpSpec();
  readonly #sack = new Int32Array(8);
  #ipId = 1;

  constructor(config: EndpointConfig) {
    this.#config = config;
    this.#content = new Content(config.contentSeed);
    const spec = this.#spec;
    spec.vnetLength = config.vnetLength;
    spec.family = config.family;
    spec.addresses = config.addresses;
    spec.srcAt = 0;
    spec.dstAt = 4;
    spec.srcPort = config.port;
    spec.dstPort = config.peerPort;
    spec.ttl = 64;
    spec.trafficClass = 0;
    spec.flowLabel = config.family === 6 ? 0x12345 : 0;
    spec.urgent = 0;
  }

  segment(plan: SegmentPlan): Uint8Array {
    const spec = this.#spec;
    const isSyn = (plan.flags & SYN) !== 0;
    const length = plan.to - plan.from;
    spec.flags = plan.flags;
    spec.seq = plan.seq;
    spec.ack = plan.ack;
    spec.window = plan.window;
    spec.hasTs = plan.hasTs;
    spec.tsVal = plan.tsVal;
    spec.tsEcr = (plan.flags & ACK) === 0 ? 0 : plan.tsEcr;
    spec.mss = isSyn ? this.#config.mss + 12 : -1;
    spec.windowScale = isSyn && plan.offersScale ? this.#config.windowScale : -1;
    spec.sackPermitted = isSyn && plan.offersSack;
    for (let index = 0; index < plan.blocks.length; index++) {
      this.#sack[2 * index] = plan.blocks[index]!.from;
      this.#sack[2 * index + 1] = plan.blocks[index]!.to;
    }
    spec.sack = plan.blocks.length > 0 ? this.#sack : null;
    spec.sackCount = plan.blocks.length;
    if (length > 0) this.#content.fill(payload, plan.from, plan.to);
    spec.payload = length > 0 ? payload : null;
    spec.payloadFrom = 0;
    spec.payloadTo = length;
    spec.gsoSize = length > this.#config.mss ? this.#config.mss : 0;
    return this.#finish();
  }

  /** RFC 9293 3.10.7.1. `acknowledges`: with ACK set, for a segment that had none. */
  reset(seq: number, ack: number, acknowledges: boolean): Uint8Array {
    const spec = this.#spec;
    spec.flags = acknowledges ? RST | ACK : RST;
    spec.seq = seq;
    spec.ack = ack;
    spec.window = 0;
    spec.hasTs = false;
    spec.mss = -1;
    spec.windowScale = -1;
    spec.sackPermitted = false;
    spec.sack = null;
    spec.sackCount = 0;
    spec.payload = null;
    spec.payloadFrom = 0;
    spec.payloadTo = 0;
    spec.gsoSize = 0;
    return this.#finish();
  }

  #finish(): Uint8Array {
    this.#spec.ipId = this.#ipId++ & 0xffff;
    const length = emitTcp(bytes, view, 0, this.#spec);
    if (length === 0) throw new Error('the model endpoint built a packet that does not fit');
    const packet = bytes.slice(0, length);
    if (this.#config.partialChecksum && this.#config.vnetLength > 0 && this.#spec.gsoSize === 0) this.#unfinish(packet);
    return packet;
  }

  /** Replace a full TCP checksum by the pseudo-header's sum, to be completed by the device (VIRTIO_NET_HDR_F_NEEDS_CSUM). */
  #unfinish(packet: Uint8Array): void {
    const fields = new DataView(packet.buffer);
    const ipAt = this.#config.vnetLength;
    const header = this.#config.family === 4 ? 20 : 40;
    fields.setUint8(0, 1);
    fields.setUint16(6, header, NATIVE_LITTLE_ENDIAN);
    fields.setUint16(8, 16, NATIVE_LITTLE_ENDIAN);
    const tcpAt = ipAt + header;
    fields.setUint16(tcpAt + 16, pseudoSum(packet, ipAt, this.#config.family, 6, packet.length - tcpAt));
  }
}
