/**
 * Recut: a path that takes smaller packets after an outage than before. The router where they no longer fit says so by ICMP
 * (RFC 1191, RFC 8201), quoting a segment of the replay. Its sender is the gateway: the near endpoint was told long ago that these
 * bytes arrived, and ignores the message. So the delivery is cut anew. What the near endpoint itself sends afterwards earns it
 * messages of its own.
 */
import { COUNTER } from '../base/counters.ts';
import type { Micros } from '../base/time.ts';
import { KEY_WORDS } from '../flow/flow.ts';
import type { FreezeContext } from '../freeze/context.ts';
import { segmentOfMtu } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Handback } from '../freeze/handback.ts';
import type { IcmpEvent } from '../link/events.ts';
import { loadAddress } from '../wire/address.ts';
import { ICMP_CODE_FRAGMENTATION_NEEDED, ICMP_UNREACHABLE, IcmpError } from '../wire/icmp.ts';
import { ICMPV6_PACKET_TOO_BIG } from '../wire/icmpv6.ts';
import { KIND_MALFORMED, Packet, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';

/** Least MTU of a link (RFC 791, RFC 8200 5); smaller ones are not believed. */
const MTU_MIN = { 4: 68, 6: 1280 } as const;
/** What a router of before RFC 1191, which states no MTU, is taken to mean. */
const MTU_UNSTATED = 576;

export class Recut {
  readonly #context: FreezeContext;
  readonly #handback: Handback;
  readonly #packet = new Packet();
  readonly #error = new IcmpError();
  readonly #words = new Int32Array(4);

  constructor(context: FreezeContext, handback: Handback) {
    this.#context = context;
    this.#handback = handback;
  }

  /** An ICMP message was seen. @returns whether it says "too big", which is no sign of a loss, whomever it concerns */
  onIcmp(event: IcmpEvent, now: Micros): boolean {
    if (!this.#parse(event.bytes)) return false;
    const error = this.#error;
    const mtu = error.mtu === 0 ? MTU_UNSTATED : error.mtu;
    if (mtu < MTU_MIN[error.family]) return true;
    const { keys } = this.#context.table;
    for (const flow of this.#handback.flows) {
      const frozen = flow.frozen as Frozen | null;
      const replay = frozen?.replay ?? null;
      if (frozen === null || replay === null || flow.family !== error.family) continue;
      const far = flow.near === 0 ? 1 : 0;
      // The near address and port may have been translated on the way; the far ones and the sequence number are as they were.
      if (error.dstPort !== (far === 0 ? flow.originatorPort : flow.responderPort)) continue;
      const at = flow.index * KEY_WORDS + 4 * far;
      const count = flow.family === 4 ? 1 : 4;
      if (this.#words.subarray(0, count).some((word, i) => keys[at + i] !== word)) continue;
      // Only what is in flight can have been too big (RFC 5927 7.2).
      if (seqDiff(error.seq, replay.sndUna) < 0 || seqDiff(error.seq, replay.sndNxt) >= 0) continue;
      const endpoint = flow.halves[flow.near];
      const segment = segmentOfMtu(flow.family, mtu, endpoint.timestamps);
      if (!replay.recut(segment, now)) return true;
      endpoint.segmentSize = Math.min(endpoint.segmentSize, segment);
      this.#context.counters[COUNTER.recuts]! += 1;
      this.#handback.deadline = now;
      return true;
    }
    return true;
  }

  #parse(bytes: Uint8Array): boolean {
    const packet = this.#packet;
    const error = this.#error;
    const copy = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    packet.attach(copy.buffer as ArrayBuffer);
    if (packet.parse(0, copy.length, 0) === KIND_MALFORMED) return false;
    if (packet.protocol !== (packet.family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return false;
    if (!error.parse(packet.view, packet.payloadAt, packet.end, packet.family)) return false;
    const isTooBig =
      error.family === 4
        ? error.type === ICMP_UNREACHABLE && error.code === ICMP_CODE_FRAGMENTATION_NEEDED
        : error.type === ICMPV6_PACKET_TOO_BIG;
    if (!isTooBig || error.protocol !== PROTOCOL_TCP || !error.hasSeq) return false;
    loadAddress(packet.view, error.dstAt, error.family, this.#words, 0);
    return true;
  }
}
