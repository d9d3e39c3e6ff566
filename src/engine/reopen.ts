/**
 * Ports used again: a connection whose end was not seen (an endpoint rebooted, its RST was lost) keeps its place in the table, and
 * a new connection with the same ports looks implausible against it. As in connection tracking, the other endpoint is
 * the judge: when it answers the new SYN with a SYN-ACK, the old connection is over (RFC 9293 3.6.1, RFC 5961 4: in a
 * synchronized state it would have answered with a challenge ACK).
 */
import type { Flow } from '../flow/flow.ts';
import { KIND_TCP, Packet } from '../wire/packet.ts';
import { ACK, SYN } from '../wire/tcp-flags.ts';

/** A SYN with all options is shorter than this; one with a lot of data (TFO) is not remembered. */
const SYN_COPY_MAX = 256;

/** Remembers a bare SYN that does not belong to the tracked connection. */
export function rememberSyn(flow: Flow, packet: Packet): void {
  if ((packet.flags & (SYN | ACK)) !== SYN || packet.length > SYN_COPY_MAX) return;
  flow.straySyn = packet.bytes.slice(packet.start, packet.start + packet.length);
}

/**
 * The remembered SYN that this SYN-ACK answers, parsed, or null.
 * @param vnetLength length of the virtio-net header in front of packets
 */
export function answeredSyn(flow: Flow, packet: Packet, vnetLength: 0 | 10): Packet | null {
  const copy = flow.straySyn;
  if (copy === null || (packet.flags & (SYN | ACK)) !== (SYN | ACK)) return null;
  const syn = new Packet();
  syn.attach(copy.buffer);
  if (syn.parse(0, copy.length, vnetLength) !== KIND_TCP) return null;
  return isAnsweredBy(syn, packet) ? syn : null;
}

/** Whether the SYN-ACK is the answer to this SYN; both are of the same connection. */
export function isAnsweredBy(syn: Packet, synAck: Packet): boolean {
  return syn.srcPort === synAck.dstPort && ((syn.seq + syn.segLength) | 0) === synAck.ack;
}
