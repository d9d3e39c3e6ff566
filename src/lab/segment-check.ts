/**
 * Judges the segments of a capture by what the receiver of each must do with it (RFC 9293 3.10.7.4, RFC 7323 5.3): nothing beyond its
 * window, no acknowledgement of what it never sent, no bare acknowledgement from before its window, no time stamp that fails PAWS.
 * tshark does not say that; it is what a gateway that speaks for others must get right.
 *
 * What is known of a receiver at the place of the capture is what it has said there so far. Whoever sends to it knew no more, because
 * everything that reached the sender came by here. Connections whose beginning is not in the capture are left out.
 */
import type { CapturedPacket } from '../capture/capture.ts';
import { ipOffset } from '../capture/link-layer.ts';
import { formatEndpoint } from '../wire/address.ts';
import { KIND_TCP, Packet } from '../wire/packet.ts';
import { describePacket } from '../wire/printer.ts';
import { seqDiff, seqGt } from '../wire/seq.ts';
import { ACK, RST, SYN } from '../wire/tcp-flags.ts';

export interface SegmentFinding {
  readonly problem: string;
  readonly packets: number;
  /** The first of them. */
  readonly example: string;
}

export const BEYOND_WINDOW = 'segment beyond the window';
export const BEFORE_WINDOW = 'bare acknowledgement from before the window';
export const ACK_OF_NOTHING = 'acknowledgement of what was never sent';
export const OLD_TIMESTAMP = 'time stamp that fails PAWS';

/**
 * An acknowledgement from before the window is a finding when the window has been beyond it for this long, milliseconds. The gateway hears of
 * a lost interface before it has read what waits in the TUN: what it says then is as old as that queue. *Measured*: one segment of
 * 48,000 when an interface goes down under a download, 8.8 ms late; its receiver forgets it, and is told again.
 */
const CROSSING_MILLIS = 50;
/** Steps of a window that are remembered, for saying since when it has been where it is. */
const STEPS = 512;

/** What an endpoint has said. */
class Endpoint {
  /** -1: its SYN has not been seen. */
  shift = -1;
  /** It offered a window scale. */
  scales = false;
  sndNxt = 0;
  rcvNxt = 0;
  rightEdge = 0;
  isReceiving = false;
  tsVal = 0;
  hasTs = false;
  /** The last steps of `rcvNxt`: where to, and when in milliseconds. */
  readonly #steps: { readonly to: number; readonly at: number }[] = [];

  /** The window begins at `to` from now on. @param at milliseconds */
  move(to: number, at: number): void {
    this.rcvNxt = to;
    this.#steps.push({ to, at });
    if (this.#steps.length > STEPS) this.#steps.shift();
  }

  /** @returns milliseconds for which the window has been beyond `seq`, at least */
  beyondFor(seq: number, at: number): number {
    const step = this.#steps.find(({ to }) => seqGt(to, seq));
    return step === undefined ? Number.POSITIVE_INFINITY : at - step.at;
  }
}

interface Connection {
  readonly ends: Readonly<Record<string, Endpoint>>;
}

export class SegmentCheck {
  readonly #packet = new Packet();
  readonly #memory = new Uint8Array(65_535 + 128);
  readonly #connections = new Map<string, Connection>();
  readonly #found = new Map<string, { packets: number; example: string }>();
  #number = 0;

  constructor() {
    this.#packet.attach(this.#memory.buffer);
  }

  /** One packet, in the order of the capture. */
  take(captured: CapturedPacket): void {
    this.#number += 1;
    const ip = ipOffset(captured.interface.linkType, captured.bytes);
    const length = captured.originalLength - ip;
    if (ip < 0 || Math.max(length, captured.bytes.length - ip) > this.#memory.length) return;
    // What the snap length took away is payload, which nobody looks at here.
    this.#memory.set(captured.bytes.subarray(ip));
    const packet = this.#packet;
    if (packet.parse(0, length, 0) !== KIND_TCP) return;
    const from = formatEndpoint(packet.view, packet.srcAt, packet.family, packet.srcPort);
    const to = formatEndpoint(packet.view, packet.dstAt, packet.family, packet.dstPort);
    const key = from < to ? `${from} ${to}` : `${to} ${from}`;
    if ((packet.flags & (SYN | ACK)) === SYN) {
      // Repeated, it says nothing new.
      const known = this.#connections.get(key)?.ends[from];
      if (known?.shift === -1 || known?.sndNxt !== ((packet.seq + 1) | 0)) {
        this.#connections.set(key, { ends: { [from]: new Endpoint(), [to]: new Endpoint() } });
      }
    }
    const connection = this.#connections.get(key);
    if (connection === undefined) return;
    const sender = connection.ends[from]!;
    const receiver = connection.ends[to]!;
    const at = captured.seconds * 1e3 + captured.nanos / 1e6;
    this.#judge(sender, receiver, packet, at);
    learn(sender, receiver, packet, at);
  }

  #judge(sender: Endpoint, receiver: Endpoint, packet: Packet, at: number): void {
    const { flags, seq, ack, payloadLength } = packet;
    if ((flags & (SYN | RST)) !== 0) return;
    if (receiver.isReceiving && receiver.shift >= 0) {
      // One byte more is what a probe of a closed window has (RFC 9293 3.8.6.1).
      if (seqDiff((seq + payloadLength) | 0, receiver.rightEdge) > 1) this.#report(BEYOND_WINDOW);
      // One byte less is what a keepalive has (RFC 9293 3.8.4).
      if (packet.segLength === 0 && seqDiff(seq, receiver.rcvNxt) < -1) {
        const lag = receiver.beyondFor((seq + 1) | 0, at);
        if (lag >= CROSSING_MILLIS) this.#report(BEFORE_WINDOW, `, ${lag.toFixed(1)} ms late`);
      }
    }
    if ((flags & ACK) !== 0 && receiver.shift >= 0 && seqGt(ack, receiver.sndNxt)) this.#report(ACK_OF_NOTHING);
    // Linux takes what is one tick too old (tcp_paws_check), and its own softirqs send such acknowledgements now and then.
    if (packet.tsAt >= 0 && sender.hasTs && seqDiff(packet.tsVal, sender.tsVal) < -1) this.#report(OLD_TIMESTAMP);
  }

  #report(problem: string, more = ''): void {
    const found = this.#found.get(problem);
    if (found === undefined) {
      this.#found.set(problem, { packets: 1, example: `${this.#number} ${describePacket(this.#packet)}${more}` });
    } else found.packets += 1;
  }

  get findings(): SegmentFinding[] {
    return [...this.#found].map(([problem, { packets, example }]) => ({ problem, packets, example }));
  }
}

function learn(sender: Endpoint, receiver: Endpoint, packet: Packet, at: number): void {
  const { flags, seq, ack, window } = packet;
  const end = (seq + packet.segLength) | 0;
  if ((flags & SYN) !== 0) {
    if (sender.shift === -1) sender.sndNxt = end;
    sender.scales = packet.windowScale >= 0;
    sender.shift = Math.max(0, packet.windowScale);
  }
  if (sender.shift >= 0 && seqGt(end, sender.sndNxt)) sender.sndNxt = end;
  // What lies before the window is answered and forgotten: a keepalive, a probe of a shut window (RFC 7323 5.3, R2 before R3;
  // Linux tcp_validate_incoming). It leaves TS.Recent as it was, however new its time stamp is.
  const isBefore = receiver.isReceiving && seqDiff(end, receiver.rcvNxt) < 0;
  if (packet.tsAt >= 0 && !isBefore && !(sender.hasTs && seqGt(sender.tsVal, packet.tsVal))) {
    sender.tsVal = packet.tsVal;
    sender.hasTs = true;
  }
  if ((flags & ACK) === 0 || (flags & RST) !== 0 || sender.shift < 0) return;
  // The window of a SYN is never scaled, and scaling takes both (RFC 7323 2.2).
  const shift = (flags & SYN) === 0 && sender.scales && receiver.scales ? sender.shift : 0;
  const edge = (ack + (window << shift)) | 0;
  if (!sender.isReceiving || seqGt(ack, sender.rcvNxt)) sender.move(ack, at);
  if (!sender.isReceiving || seqGt(edge, sender.rightEdge)) sender.rightEdge = edge;
  sender.isReceiving = true;
}

/** Judges a whole capture. */
export function checkSegments(packets: Iterable<CapturedPacket>): SegmentFinding[] {
  const check = new SegmentCheck();
  for (const packet of packets) check.take(packet);
  return check.findings;
}
