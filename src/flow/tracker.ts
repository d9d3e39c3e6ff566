/**
 * State tracking: what one segment tells about the connection it belongs to. Pure bookkeeping on a flow; it decides
 * nothing and rewrites nothing.
 *
 * A segment counts only when it is plausible for the connection (RFC 5961 in spirit): its data must start near what its
 * sender has sent and end inside what the receiver may accept, and its ACK must lie between what was acknowledged
 * before and what was sent. What fails is forwarded all the same, because the endpoints know better; it just leaves
 * no mark here, so nobody off-path can move a tracked variable.
 */
import { type Micros, seconds } from '../base/time.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { ACK, AE, CWR, ECE, FIN, RST, SYN, URG } from '../wire/tcp-flags.ts';
import type { Flow } from './flow.ts';
import type { Half } from './half.ts';
import { BYPASS, CLOSING, FLOWING, OPENING } from './phase.ts';

/** What `track` found out about a segment, as bits. */
export const ADVANCED_DATA = 1;
export const ADVANCED_ACK = 2;
export const IMPLAUSIBLE = 4;
export const UPDATED_WINDOW = 8;
/**
 * A bare ACK that tells the newest, with a sequence number below its addressee's RCV.NXT: it will be dropped. Linux takes SND.UNA for SEG.SEQ
 * when its peer's window has shrunk to zero with data in flight (tcp_acceptable_seq), and drops what comes before RCV.NXT
 * (tcp_sequence); two such hosts whose windows were both shut would never hear each other again.
 */
export const STALE_SEQ = 16;

/** Largest window any sender may use (RFC 7323 2.3: 65535 << 14). */
const MAX_WINDOW = 65_535 * 2 ** 14;
const ACE_MASK = AE | CWR | ECE;

/** Applies the SYN or SYN-ACK of `half` (RFC 9293 3.5, options of RFC 7323 and 2018). */
function trackSyn(half: Half, packet: Packet): void {
  half.sndNxt = (packet.seq + packet.segLength) | 0;
  half.sndKnown = true;
  half.rcvWndShift = Math.max(packet.windowScale, 0);
  half.mss = packet.mss;
  half.sackPermitted = packet.sackPermitted;
  half.timestamps = packet.tsAt >= 0;
  if (half.timestamps) half.tsVal = packet.tsVal;
}

/** When both SYNs are known: an option counts only if both sent it (RFC 7323 1.3, RFC 2018 2). */
function settleHandshake(flow: Flow): void {
  const [a, b] = flow.halves;
  if (a.rcvWndShift >= 0 && b.rcvWndShift >= 0 && !(a.scaleOffered && b.scaleOffered)) {
    a.rcvWndShift = 0;
    b.rcvWndShift = 0;
  }
  const timestamps = a.timestamps && b.timestamps;
  a.timestamps = timestamps;
  b.timestamps = timestamps;
  const sack = a.sackPermitted && b.sackPermitted;
  a.sackPermitted = sack;
  b.sackPermitted = sack;
}

/** Whether the data of this segment can belong to the connection. */
function isPlausibleData(sender: Half, receiver: Half, packet: Packet, adopted: boolean): boolean {
  if (!sender.sndKnown) return true;
  const end = (packet.seq + packet.segLength) | 0;
  const floor = receiver.rcvKnown ? receiver.rcvNxt : sender.sndNxt;
  // Old duplicates reach at most one window back, new data at most to the right edge of the receiver's window.
  if (seqDiff(end, floor) < -MAX_WINDOW / 4) return false;
  if (seqLe(end, sender.sndNxt)) return true;
  // Of a connection that is learnt from the middle nothing may have been heard of the receiver yet.
  const isOpen = receiver.rcvWndShift < 0 || (adopted && !receiver.rcvKnown);
  const window = isOpen ? MAX_WINDOW / 4 : Math.max(receiver.windowBytes(), 65_535);
  const edge =
    receiver.rcvKnown && seqGt(receiver.rightEdge, (floor + window) | 0) ? receiver.rightEdge : (floor + window) | 0;
  return seqDiff(end, edge) <= 1;
}

/** Bytes that the last tracked segment newly acknowledged; meaningful with ADVANCED_ACK. */
export const lastTracked = { acked: 0 };

/**
 * Learns from one TCP segment of `flow`.
 * @param direction 0 when the originator sent it, 1 when the responder did
 * @returns bits ADVANCED_DATA, ADVANCED_ACK, UPDATED_WINDOW, IMPLAUSIBLE
 */
export function track(flow: Flow, direction: 0 | 1, packet: Packet, now: Micros): number {
  const sender = flow.halves[direction];
  const receiver = flow.halves[direction === 0 ? 1 : 0];
  const { flags, seq, segLength } = packet;
  if ((flags & SYN) !== 0) return onSyn(flow, sender, receiver, packet, now);
  // RFC 9293 3.10.7.4, fifth: without ACK it is dropped by whoever receives it.
  if ((flags & (ACK | RST)) === 0) return IMPLAUSIBLE;
  let result = 0;
  if (!isPlausibleData(sender, receiver, packet, flow.adopted)) return IMPLAUSIBLE;
  if ((flags & RST) !== 0) return 0;
  // RFC 5961 5.2: an ACK older than the largest window is as implausible as one of the future.
  if ((flags & ACK) !== 0 && sender.rcvKnown && !flow.adopted) {
    const oldest = Math.max(seqDiff(sender.rightEdge, sender.rcvNxt), 65_535);
    if (seqDiff(sender.rcvNxt, packet.ack) > oldest) return IMPLAUSIBLE;
    // One beyond what was sent is a lie, wherever its data lies.
    if (receiver.sndKnown && seqGt(packet.ack, receiver.sndNxt)) return IMPLAUSIBLE;
  }
  // What lies before the receiver's window is dropped by it (RFC 9293 3.10.7.4) and leaves no mark: keepalives, probes and
  // late retransmissions, and whatever somebody off-path made up with a sequence number long past.
  if (receiver.rcvKnown && seqLt((seq + segLength) | 0, receiver.rcvNxt)) {
    flow.lastSeenAt = now;
    const isBare = flags === ACK && segLength === 0 && seqDiff(receiver.rcvNxt, seq) > 1;
    if (!flow.mayTalkPast || !isBare || !receiver.sndKnown) return 0;
    const isAhead = seqGt(packet.ack, receiver.sndNxt);
    if (isAhead && !flow.adopted) return 0;
    // What an adopted flow sent before is not known: the addressee judges the ACK, nothing is learnt of it.
    const result = isAhead ? 0 : onAck(sender, receiver, packet, now);
    if (!isAhead && packet.ack !== sender.rcvNxt) return result;
    // It arrives after all, and its timestamp with it.
    if (packet.tsAt >= 0) learnTimestamp(flow, sender, packet);
    return result | STALE_SEQ;
  }
  // An ACK that moves backwards is old, one beyond what was sent is a lie (RFC 9293 3.10.7.4, RFC 5961 5.2).
  if ((flags & ACK) !== 0) {
    if (receiver.sndKnown && seqGt(packet.ack, receiver.sndNxt)) {
      // Adopted flows may have sent before they were adopted; for others it is a forgery or went another way. One restored from the journal
      // may have sent as much as the window allowed while no gateway ran, and have sent part of it again since.
      const isRestored = flow.frozen !== null && seqLe(packet.ack, sender.rightEdge);
      if (!flow.adopted || (receiver.heldHead >= 0 && !isRestored)) return IMPLAUSIBLE;
      receiver.sndNxt = packet.ack;
    }
    if (!receiver.sndKnown) {
      receiver.sndNxt = packet.ack;
      receiver.sndKnown = true;
    }
  }
  flow.lastSeenAt = now;
  if (!sender.sndKnown) {
    sender.sndNxt = seq;
    sender.sndKnown = true;
  }
  const end = (seq + segLength) | 0;
  if (seqGt(end, sender.sndNxt)) {
    sender.sndNxt = end;
    result |= ADVANCED_DATA;
  }
  if (packet.payloadLength > 0) {
    sender.lastDataAt = now;
    const size = packet.gsoSize > 0 ? Math.min(packet.gsoSize, packet.payloadLength) : packet.payloadLength;
    if (size > sender.segmentSize) sender.segmentSize = size;
  }
  // A FIN is the last thing sent; one that is followed by data already seen was never sent.
  if ((flags & FIN) !== 0 && !sender.finSent && end === sender.sndNxt) {
    sender.finSent = true;
    sender.finSeq = (end - 1) | 0;
  }
  if (packet.tsAt >= 0) learnTimestamp(flow, sender, packet);
  if ((flags & URG) !== 0) {
    sender.hasUrgent = true;
    sender.urgentEnd = (seq + packet.urgent) | 0;
  }
  if (packet.userTimeout >= 0) sender.userTimeout = userTimeoutOf(packet.userTimeout);
  sender.ttl = packet.ttl;
  sender.trafficClass = packet.trafficClass;
  sender.flowLabel = packet.flowLabel;
  if ((flags & ACK) !== 0) result |= onAck(sender, receiver, packet, now);
  if (flow.phase === OPENING && sender.rcvKnown && receiver.rcvKnown) flow.phase = FLOWING;
  if (flow.phase === FLOWING && isFinished(flow)) flow.phase = CLOSING;
  return result;
}

/** The option's value (RFC 5482 3): the top bit says minutes instead of seconds; 0 is reserved and means nothing. */
function userTimeoutOf(raw: number): Micros {
  return seconds((raw & 0x7fff) * ((raw & 0x8000) === 0 ? 1 : 60));
}

/** The newest; of an adopted flow the first one that is seen. */
function learnTimestamp(flow: Flow, sender: Half, packet: Packet): void {
  const isFirst = flow.adopted && !sender.timestamps;
  if (isFirst) sender.timestamps = true;
  if (isFirst || seqGe(packet.tsVal, sender.tsVal)) sender.tsVal = packet.tsVal;
}

function onAck(sender: Half, receiver: Half, packet: Packet, now: Micros): number {
  let result = 0;
  const { ack } = packet;
  if (!sender.rcvKnown) {
    sender.rcvNxt = ack;
    sender.rcvKnown = true;
    sender.wl1 = packet.seq;
    sender.wl2 = ack;
    sender.rcvWnd = packet.window;
    sender.rightEdge = (ack + sender.windowBytes()) | 0;
    lastTracked.acked = 0;
    return ADVANCED_ACK | UPDATED_WINDOW;
  }
  const advance = seqDiff(ack, sender.rcvNxt);
  if (advance > 0) {
    sender.onAckAdvance(advance, now);
    sender.rcvNxt = ack;
    lastTracked.acked = advance;
    receiver.onDelivered(advance, now);
    result |= ADVANCED_ACK;
  }
  // Only accurate ECN gives these bits a meaning that may be repeated; a repeated classic ECE would halve a window.
  if (sender.accurateEcn && advance >= 0) sender.aceFlags = packet.flags & ACE_MASK;
  // RFC 9293 3.10.7.4: take the window from segments that are not older than the last one that set it; and, as Linux does
  // (tcp_may_update_window), from every one whose ACK advances: a retransmission, or an ACK sent while its own peer's
  // window was shut, carries an older SEQ, and a new ACK with an old window would promise too much. For the same reason an older
  // ACK says nothing of the window, however new its SEQ (RFC 9293: only if SND.UNA =< SEG.ACK).
  const isNewer = seqLt(sender.wl1, packet.seq) || (sender.wl1 === packet.seq && seqLe(sender.wl2, ack));
  if (advance > 0 || (advance === 0 && isNewer)) {
    sender.wl1 = packet.seq;
    sender.wl2 = ack;
    if (sender.rcvWnd !== packet.window) result |= UPDATED_WINDOW;
    sender.rcvWnd = packet.window;
    const edge = (ack + sender.windowBytes()) | 0;
    if (seqGt(edge, sender.rightEdge)) sender.rightEdge = edge;
  }
  return result;
}

function onSyn(flow: Flow, sender: Half, receiver: Half, packet: Packet, now: Micros): number {
  const isSynAck = (packet.flags & ACK) !== 0;
  if (flow.phase !== OPENING) return IMPLAUSIBLE;
  if (
    isSynAck &&
    (!receiver.sndKnown || seqGt(packet.ack, receiver.sndNxt) || seqLt(packet.ack, (receiver.sndNxt - 65_536) | 0))
  ) {
    return IMPLAUSIBLE;
  }
  if (sender.sndKnown && sender.sndNxt !== ((packet.seq + packet.segLength) | 0) && isSynAck && sender.rcvKnown)
    return IMPLAUSIBLE;
  flow.lastSeenAt = now;
  // A repeated SYN says nothing new; taken anew, its options would undo what both have agreed on.
  const end = (packet.seq + packet.segLength) | 0;
  // (A SYN-ACK repeats the sequence number of a SYN in a simultaneous open, and does say something new.)
  if (sender.synSeen && sender.synEnd === end && (!isSynAck || sender.rcvKnown)) {
    if (packet.tsAt >= 0 && seqGe(packet.tsVal, sender.tsVal)) sender.tsVal = packet.tsVal;
    return 0;
  }
  sender.synSeen = true;
  sender.synEnd = end;
  trackSyn(sender, packet);
  if (packet.userTimeout >= 0) sender.userTimeout = userTimeoutOf(packet.userTimeout);
  sender.scaleOffered = packet.windowScale >= 0;
  sender.ttl = packet.ttl;
  sender.trafficClass = packet.trafficClass;
  sender.flowLabel = packet.flowLabel;
  const ace = packet.flags & ACE_MASK;
  if (!isSynAck) {
    sender.accurateEcn = ace === ACE_MASK;
    return ADVANCED_DATA;
  }
  // AccECN is on unless the SYN-ACK says "no ECN" (000), "classic ECN" (001) or the old nonce (101).
  const accurate = receiver.accurateEcn && ace !== 0 && ace !== ECE && ace !== (AE | ECE);
  sender.accurateEcn = accurate;
  receiver.accurateEcn = accurate;
  sender.rcvNxt = packet.ack;
  sender.rcvKnown = true;
  sender.wl1 = packet.seq;
  sender.wl2 = packet.ack;
  settleHandshake(flow);
  // The window of a SYN segment is never scaled (RFC 7323 2.2); remember it as raw units rounded down.
  sender.rcvWnd = packet.window >>> sender.rcvWndShift;
  sender.rightEdge = (packet.ack + packet.window) | 0;
  lastTracked.acked = 0;
  return ADVANCED_DATA | ADVANCED_ACK;
}

/** Both FINs sent and acknowledged. */
export function isFinished(flow: Flow): boolean {
  const [a, b] = flow.halves;
  return a.finSent && b.finSent && seqGt(b.rcvNxt, a.finSeq) && seqGt(a.rcvNxt, b.finSeq);
}

/** Whether an RST of this half is exact enough to end the connection (RFC 5961 3.2: SEG.SEQ = RCV.NXT). */
export function isExactReset(receiver: Half, packet: Packet): boolean {
  return receiver.rcvKnown && packet.seq === receiver.rcvNxt;
}

/** Whether an RST lies in the receiver's window, so that the receiver will look at it at all (RFC 5961 3.2). */
export function isInWindow(receiver: Half, seq: number): boolean {
  if (!receiver.rcvKnown) return false;
  const offset = seqDiff(seq, receiver.rcvNxt);
  return offset >= 0 && offset <= Math.max(receiver.windowBytes(), seqDiff(receiver.rightEdge, receiver.rcvNxt));
}

/** Whether this flow must be left alone whatever its phase. */
export function isBypassed(flow: Flow): boolean {
  return flow.phase === BYPASS;
}
