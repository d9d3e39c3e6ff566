/**
 * Proof: a flow that was restored from the journal is believed end by end. Its connection may have died meanwhile, and its ports may
 * belong to another one now. Until an end has sent a segment that fits, nothing is replayed to it, and what does not fit passes
 * unchanged; a custody byte never reaches a connection that it does not belong to.
 *
 * Fits.    Near: SEG.SEQ from what the far peer had acknowledged on. Far: SEG.ACK from the start of custody on, and SEG.SEQ near
 *          the near endpoint's RCV.NXT. Not further than what may have passed while no gateway ran: a flow that was given back just
 *          before the crash is still in the journal, and an ACK beyond custody says that nothing is left to deliver. TSval
 *          not older than known.
 * Learns.  The kernel carried the connection while no gateway ran, so what is remembered is old: the first fitting segment sets RCV.NXT
 *          and windows, and its TSecr tells the newest TSval that its sender has seen of the other end (RFC 7323 4.3),
 *          without which synthesized segments would fail PAWS.
 * Asks.    The far end is asked by a keepalive in the near endpoint's name (handback.ts).
 * Over.    Two segments that answer each other, and fit neither end, are another connection: the restored flow is forgotten.
 */
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Half } from '../flow/half.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff, seqGt, seqLt, seqMax } from '../wire/seq.ts';
import { ACK, RST, SYN } from '../wire/tcp-flags.ts';

/** What lies this far below the left edge may still be a late retransmission (an unscaled window). */
const BELOW: number = 65_536;
/** Most bytes that may have passed either way while no gateway ran. */
const PASSED_MAX: number = 2 ** 28;
/** Two segments within this distance answer each other. */
const CONVERSATION: number = 2 ** 24;

/** The segment fits: its sender is the one that is remembered. */
export const FITS = 0;
/** It does not: pass it unchanged. */
export const FOREIGN = 1;
/** It is the answer to an earlier foreign one: the restored flow is over. */
export const ANOTHER = 2;

/** Judges the first segments of an end of a restored flow; call only while `frozen.unproven` has the bit of `direction`. */
export function prove(flow: Flow, frozen: Frozen, direction: 0 | 1, packet: Packet, now: Micros): number {
  const { flags } = packet;
  if ((flags & SYN) !== 0) return FOREIGN;
  // A reset is judged by its exactness like every other (RFC 5961 3.2).
  if ((flags & (ACK | RST)) !== ACK) return FITS;
  const sender = flow.halves[direction];
  const other = flow.halves[direction === 0 ? 1 : 0];
  const isNear = direction === flow.near;
  if (!(isNear ? fitsNear(frozen, sender, other, packet) : fitsFar(frozen, sender, other, packet))) {
    return answersForeign(frozen, direction, packet) ? ANOTHER : FOREIGN;
  }
  frozen.unproven &= ~(direction + 1);
  learn(sender, other, isNear, packet);
  flow.lastSeenAt = now;
  return FITS;
}

/** Right edge of what the near endpoint may have sent: the far peer's window beyond the end of custody. */
function edgeOf(frozen: Frozen, peer: Half): number {
  const edge = (frozen.custody.end + Math.max(peer.windowBytes(), BELOW)) | 0;
  return seqMax(edge, peer.rightEdge);
}

function fitsNear(frozen: Frozen, endpoint: Half, peer: Half, packet: Packet): boolean {
  const fromBase = seqDiff(packet.seq, frozen.custody.base);
  return (
    fromBase >= -BELOW - 1 &&
    !seqGt(packet.seq, (edgeOf(frozen, peer) + PASSED_MAX) | 0) &&
    isClose(packet.ack, peer.sndNxt) &&
    isYoung(endpoint, packet)
  );
}

function fitsFar(frozen: Frozen, peer: Half, endpoint: Half, packet: Packet): boolean {
  return (
    !seqLt(packet.ack, frozen.custody.base) &&
    !seqGt(packet.ack, (seqMax(edgeOf(frozen, peer), endpoint.sndNxt) + PASSED_MAX) | 0) &&
    isClose(packet.seq, endpoint.rcvNxt) &&
    isYoung(peer, packet)
  );
}

function isClose(number: number, known: number): boolean {
  const distance = seqDiff(number, known);
  return distance >= -BELOW && distance <= PASSED_MAX;
}

function isYoung(sender: Half, packet: Packet): boolean {
  if (!sender.timestamps) return true;
  return packet.tsAt >= 0 && !seqLt(packet.tsVal, sender.tsVal);
}

function learn(sender: Half, other: Half, isNear: boolean, packet: Packet): void {
  sender.rcvNxt = seqMax(sender.rcvNxt, packet.ack);
  sender.rcvWnd = packet.window;
  sender.wl1 = packet.seq;
  sender.wl2 = packet.ack;
  sender.rightEdge = seqMax(sender.rightEdge, (packet.ack + sender.windowBytes()) | 0);
  // What it acknowledges was sent.
  other.sndNxt = seqMax(other.sndNxt, packet.ack);
  const end = (packet.seq + packet.segLength) | 0;
  sender.sndNxt = seqMax(sender.sndNxt, end);
  // The near endpoint's window may be larger than remembered. (The far peer's is where custody has to stop: no guess there.)
  if (!isNear) other.rightEdge = seqMax(other.rightEdge, end);
  if (other.timestamps && packet.tsAt >= 0 && seqGt(packet.tsEcr, other.tsVal)) other.tsVal = packet.tsEcr;
}

/** Remembers a foreign segment, and tells whether it answers one of the other end. */
function answersForeign(frozen: Frozen, direction: 0 | 1, packet: Packet): boolean {
  const { foreign } = frozen;
  if (foreign !== null && foreign.direction !== direction) {
    const isAnswer =
      Math.abs(seqDiff(packet.ack, foreign.seq)) < CONVERSATION &&
      Math.abs(seqDiff(packet.seq, foreign.ack)) < CONVERSATION;
    if (isAnswer) return true;
  }
  frozen.foreign = { direction, seq: packet.seq, ack: packet.ack };
  return false;
}
