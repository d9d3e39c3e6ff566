/**
 * What may leave the gateway, judged with knowledge that no middlebox has: both endpoints' true state. Each rule is one
 * of the invariants of the architecture; what an endpoint alone can judge is in endpoint.ts.
 */
import type { Micros } from '../../src/base/time.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { seqDiff } from '../../src/wire/seq.ts';
import { ACK, RST, SYN } from '../../src/wire/tcp-flags.ts';
import type { Endpoint } from './endpoint.ts';
import { describe } from './reader.ts';

export interface Judged {
  /** Who will receive it, and in whose name it is sent. */
  readonly to: Endpoint;
  readonly from: Endpoint;
  readonly synthesized: boolean;
  /** What the engine says it holds for this flow; asked only when an ACK runs ahead of the far endpoint. */
  readonly custody: () => number;
}

const packet = new Packet();

/** @returns one line for each rule broken */
export function judge(bytes: Uint8Array, vnetLength: 0 | 10, subject: Judged, now: Micros): string[] {
  packet.attach(bytes.buffer as ArrayBuffer);
  if (packet.parse(bytes.byteOffset, bytes.length, vnetLength) !== KIND_TCP) return [];
  const { to, from } = subject;
  const found: string[] = [];
  const say = (text: string): void => {
    found.push(`${now} us to ${to.config.name}: ${text}: ${describe(packet)}`);
  };
  const { flags } = packet;
  if (from.state === 'idle' || (flags & SYN) !== 0) return found;
  const seq = from.offsetOf(packet.seq);
  if (seq + packet.segLength > from.sender.sndMax && (flags & RST) === 0) {
    say(`invariant 4: sequence ${seq}+${packet.segLength} was never sent (SND.MAX ${from.sender.sndMax})`);
  }
  if ((flags & ACK) === 0 || (flags & RST) !== 0) return found;
  const ack = to.offsetOf(packet.ack);
  const ahead = ack - from.receiver.rcvNxt;
  if (ahead > 0) {
    // A FIN takes a sequence number but no memory.
    const held = subject.custody() + (ack > to.sender.written ? 1 : 0);
    if (ahead > held) say(`invariant 1: acknowledges ${ahead} beyond what arrived, holding ${held}`);
  }
  const window = packet.window * 2 ** from.rcvShift;
  if (packet.window !== 0 && ack + window > from.receiver.rightEdge) {
    say(`invariant 5: window ends ${ack + window - from.receiver.rightEdge} beyond what was advertised`);
  }
  if (packet.tsAt >= 0) {
    if (seqDiff(packet.tsVal, from.tsValAt(now)) > 0) say('invariant 6: TSval never sent');
    if (seqDiff(packet.tsEcr, to.tsValAt(now)) > 0) say('invariant 6: TSecr never sent');
  } else if (from.usesTimestamps && to.usesTimestamps) say('invariant 6: timestamps are missing');
  return found;
}
