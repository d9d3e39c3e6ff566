/** The column of the phase table that a segment belongs to. */
import type { Flow } from '../flow/flow.ts';
import type { Frozen } from '../freeze/frozen.ts';
import { KIND_ACK, KIND_DATA, KIND_PROBE, KIND_RST, KIND_SYN, SIDE_FAR, SIDE_NEAR } from '../freeze/phases.ts';
import type { Packet } from '../wire/packet.ts';
import { seqLt } from '../wire/seq.ts';
import { FIN, RST, SYN } from '../wire/tcp-flags.ts';

/**
 * Kind of a segment: syn, rst, data, ack, or probe: without payload and below what was acknowledged to its sender, which is
 * how zero-window probes and keepalives of all stacks without a data byte look (RFC 9293 3.8.4, 3.8.6.1).
 */
export function segmentKind(flow: Flow, side: number, packet: Packet): number {
  if ((packet.flags & SYN) !== 0) return KIND_SYN;
  if ((packet.flags & RST) !== 0) return KIND_RST;
  if (packet.payloadLength > 0 || (packet.flags & FIN) !== 0) return KIND_DATA;
  const frozen = flow.frozen as Frozen | null;
  if (side === SIDE_NEAR && frozen !== null) {
    return seqLt(packet.seq, frozen.custody.end) ? KIND_PROBE : KIND_ACK;
  }
  if (side === SIDE_FAR && seqLt(packet.seq, flow.halves[flow.near].rcvNxt)) return KIND_PROBE;
  return KIND_ACK;
}
