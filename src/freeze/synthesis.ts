/**
 * Segments that the gateway makes in an endpoint's name, by the rules of theory of operation 6. Every synthesized packet
 * of the project comes from here, so this is the one place to look for who may say what:
 *
 * - seq is the addressee's RCV.NXT as it last acknowledged it, so the segment is always acceptable (RFC 9293 3.10.7.4);
 * - ack is what the caller may acknowledge: the far peer's own ACK, or custody;
 * - TSval is the newest TSval of the impersonated endpoint that was forwarded: not newer, or its genuine segments fail PAWS
 *   later; not older, or this one does (RFC 7323 5.3);
 * - TTL, traffic class and flow label are those of the impersonated endpoint's last segment.
 */

import { COUNTER } from '../base/counters.ts';
import type { Prng } from '../base/prng.ts';
import type { Flow } from '../flow/flow.ts';
import { KEY_WORDS } from '../flow/flow.ts';
import { NOTE } from '../flow/note.ts';
import type { FlowTable } from '../flow/table.ts';
import { emitTcp, emitUnreachable, TcpSpec, UnreachableSpec } from '../wire/emit.ts';
import { ACK, PSH, RST, URG } from '../wire/tcp-flags.ts';
import type { Outbox } from './outbox.ts';

/** Room for the headers of the largest packet without payload: virtio-net, IPv6, TCP with all options. */
const HEADERS_MAX = 10 + 40 + 60;
/** ICMPv6 error with its quotation. */
const UNREACHABLE_MAX = 10 + 40 + 8 + 40 + 60;
/** Hop limit of ICMP errors; they come from a neighbour of the addressee's path, so the usual initial value will do. */
const ICMP_TTL = 64;

export class Synthesizer {
  readonly #outbox: Outbox;
  readonly #counters: Float64Array;
  readonly #prng: Prng;
  readonly #spec = new TcpSpec();
  readonly #unreachable = new UnreachableSpec();

  constructor(table: FlowTable, outbox: Outbox, counters: Float64Array, prng: Prng, vnetLength: 0 | 10) {
    this.#outbox = outbox;
    this.#counters = counters;
    this.#prng = prng;
    this.#spec.vnetLength = vnetLength;
    this.#spec.addresses = table.keys;
    this.#unreachable.vnetLength = vnetLength;
    this.#unreachable.addresses = table.keys;
    this.#unreachable.quoted.addresses = table.keys;
    this.#unreachable.ttl = ICMP_TTL;
  }

  /** Addresses and ports of a segment from half `from` of `flow` to the other. */
  #address(spec: TcpSpec, flow: Flow, from: 0 | 1): void {
    const key = flow.index * KEY_WORDS;
    spec.family = flow.family;
    spec.srcAt = key + 4 * from;
    spec.dstAt = key + 4 * (1 - from);
    spec.srcPort = from === 0 ? flow.originatorPort : flow.responderPort;
    spec.dstPort = from === 0 ? flow.responderPort : flow.originatorPort;
    const half = flow.halves[from];
    spec.ttl = half.ttl;
    spec.trafficClass = half.trafficClass & ~3;
    spec.flowLabel = half.flowLabel;
    spec.urgent = 0;
    spec.ipId = this.#prng.nextUint32() & 0xffff;
  }

  /**
   * An ACK without payload in the name of half `from`.
   * @param seq sequence number: the addressee's RCV.NXT
   * @param window raw window field
   * @param tsEcr TSecr to carry when the flow uses timestamps
   * @param note what it is for (flow/note.ts)
   * @returns false when the outbox is full
   */
  ack(
    flow: Flow,
    from: 0 | 1,
    seq: number,
    ack: number,
    window: number,
    tsEcr: number,
    note: number = NOTE.ack,
  ): boolean {
    const spec = this.#spec;
    this.#address(spec, flow, from);
    const half = flow.halves[from];
    spec.seq = seq;
    spec.ack = ack;
    spec.flags = ACK | half.aceFlags;
    spec.window = window;
    spec.hasTs = half.timestamps;
    spec.tsVal = half.tsVal;
    spec.tsEcr = tsEcr;
    spec.payload = null;
    spec.payloadFrom = 0;
    spec.payloadTo = 0;
    spec.gsoSize = 0;
    return this.#emit(flow, from, note, HEADERS_MAX);
  }

  /**
   * Data in the name of half `from`: bytes [payloadFrom, payloadTo) of `payload`.
   * @param flags FIN and PSH as the caller knows; ACK is added
   * @param urgent offset of the end of urgent data, 0: none
   */
  data(
    flow: Flow,
    from: 0 | 1,
    seq: number,
    ack: number,
    window: number,
    tsEcr: number,
    flags: number,
    payload: Uint8Array,
    payloadFrom: number,
    payloadTo: number,
    gsoSize: number,
    note: number = NOTE.replay,
    urgent = 0,
  ): boolean {
    const spec = this.#spec;
    this.#address(spec, flow, from);
    const half = flow.halves[from];
    spec.seq = seq;
    spec.ack = ack;
    spec.flags = ACK | flags | half.aceFlags | (urgent > 0 ? URG : 0);
    spec.urgent = urgent;
    spec.window = window;
    spec.hasTs = half.timestamps;
    spec.tsVal = half.tsVal;
    spec.tsEcr = tsEcr;
    spec.payload = payload;
    spec.payloadFrom = payloadFrom;
    spec.payloadTo = payloadTo;
    spec.gsoSize = gsoSize;
    return this.#emit(flow, from, note, HEADERS_MAX + payloadTo - payloadFrom);
  }

  /** RST in the name of half `from` (RFC 9293 3.10.7: acceptable when SEG.SEQ is the addressee's RCV.NXT). */
  reset(flow: Flow, from: 0 | 1, seq: number, ack: number): boolean {
    const spec = this.#spec;
    this.#address(spec, flow, from);
    spec.seq = seq;
    spec.ack = ack;
    spec.flags = RST | ACK;
    spec.window = 0;
    spec.hasTs = false;
    spec.payload = null;
    spec.payloadFrom = 0;
    spec.payloadTo = 0;
    spec.gsoSize = 0;
    return this.#emit(flow, from, NOTE.reset, HEADERS_MAX);
  }

  /**
   * ICMP network unreachable (IPv4 3/0) or no route (IPv6 1/0) to half `to`, quoting a segment of its own with SEG.SEQ
   * `seq`: Linux undoes one RTO back-off per message when `seq` is its SND.UNA (RFC 6069; tcp_ld_RTO_revert).
   */
  unreachable(flow: Flow, to: 0 | 1, seq: number, ack: number, note: number = NOTE.unreachable): boolean {
    const message = this.#unreachable;
    const quoted = message.quoted;
    this.#address(quoted, flow, to);
    quoted.seq = seq;
    quoted.ack = ack;
    quoted.flags = ACK | PSH;
    quoted.window = flow.halves[to].rcvWnd;
    message.family = flow.family;
    message.srcAt = quoted.dstAt;
    message.dstAt = quoted.srcAt;
    message.code = 0;
    message.ipId = this.#prng.nextUint32() & 0xffff;
    const at = this.#outbox.reserve(UNREACHABLE_MAX);
    if (at < 0) return false;
    const length = emitUnreachable(this.#outbox.bytes, this.#outbox.view, at, message);
    return this.#commit(flow, to === 0 ? 1 : 0, note, at, length);
  }

  /** Sends bytes of a packet of half `from` as they once were (a parked SYN, a held head segment). */
  copy(flow: Flow, from: 0 | 1, packet: Uint8Array, note: number = NOTE['head-replay']): boolean {
    const at = this.#outbox.reserve(packet.length);
    if (at < 0) return false;
    this.#outbox.bytes.set(packet, at);
    return this.#commit(flow, from, note, at, packet.length);
  }

  #emit(flow: Flow, from: 0 | 1, note: number, room: number): boolean {
    const at = this.#outbox.reserve(room);
    if (at < 0) return false;
    return this.#commit(flow, from, note, at, emitTcp(this.#outbox.bytes, this.#outbox.view, at, this.#spec));
  }

  #commit(flow: Flow, from: 0 | 1, note: number, at: number, length: number): boolean {
    if (length === 0) return false;
    this.#outbox.commit(at, length, flow, from, note);
    this.#counters[COUNTER.transmits]! += 1;
    this.#counters[COUNTER.transmitBytes]! += length;
    return true;
  }
}
