/** What arrives at a model endpoint, judged before TCP sees it: lengths, both checksums, addresses, ICMP quotes. */
import {
  KIND_OTHER,
  KIND_TCP,
  type Packet,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
} from '../../src/wire/packet.ts';
import { describePacket } from '../../src/wire/printer.ts';
import { isHeaderSumRight, isSumRight, pseudoSum } from './checksums.ts';
import type { EndpointConfig } from './endpoint-config.ts';
import type { Interval } from './receiver.ts';

/** An ICMP unreachable that quotes one of the endpoint's segments. */
export interface Quote {
  readonly code: number;
  readonly seq: number;
}

export function describe(packet: Packet): string {
  return describePacket(packet);
}

/** The SACK blocks of a segment as ranges of stream offsets. */
export function readBlocks(packet: Packet, offsetOf: (seq: number) => number): Interval[] {
  return Array.from({ length: packet.sackCount }, (_none, index) => ({
    from: offsetOf(packet.view.getInt32(packet.sackAt + 8 * index)),
    to: offsetOf(packet.view.getInt32(packet.sackAt + 8 * index + 4)),
  }));
}

function hasAddress(packet: Packet, at: number, words: Int32Array, index: number): boolean {
  const count = packet.family === 4 ? 1 : 4;
  for (let word = 0; word < count; word++) {
    if (packet.view.getInt32(at + 4 * word) !== words[index + word]) return false;
  }
  return true;
}

function readQuote(packet: Packet, config: EndpointConfig): Quote | string {
  const { view, bytes, payloadAt } = packet;
  const isV4 = config.family === 4;
  if (packet.protocol !== (isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return `protocol ${packet.protocol}`;
  const pseudo = isV4 ? 0 : pseudoSum(bytes, packet.ipAt, 6, PROTOCOL_ICMPV6, packet.end - payloadAt);
  if (!isSumRight(bytes, payloadAt, packet.end, pseudo)) return 'ICMP checksum is wrong';
  if (view.getUint8(payloadAt) !== (isV4 ? 3 : 1)) return `ICMP type ${view.getUint8(payloadAt)}`;
  const quoted = payloadAt + 8;
  const header = isV4 ? 4 * (view.getUint8(quoted) & 15) : 40;
  const tcpAt = quoted + header;
  if (tcpAt + 8 > packet.end) return 'ICMP quotes too little';
  if (isV4 && !isHeaderSumRight(bytes, quoted)) return 'the quoted header has a wrong checksum';
  const protocol = view.getUint8(quoted + (isV4 ? 9 : 6));
  const ours =
    protocol === PROTOCOL_TCP &&
    hasAddress(packet, quoted + (isV4 ? 12 : 8), config.addresses, 0) &&
    hasAddress(packet, quoted + (isV4 ? 16 : 24), config.addresses, 4) &&
    view.getUint16(tcpAt) === config.port &&
    view.getUint16(tcpAt + 2) === config.peerPort;
  return ours ? { code: view.getUint8(payloadAt + 1), seq: view.getInt32(tcpAt + 4) } : 'ICMP quotes another flow';
}

/**
 * @param report called with one line for each thing that is wrong
 * @returns `tcp` if `packet` now holds a segment of this connection, a quote for ICMP, `bad` for what is to be dropped
 */
export function inspect(
  bytes: Uint8Array,
  packet: Packet,
  config: EndpointConfig,
  report: (text: string) => void,
): 'tcp' | 'bad' | Quote {
  packet.attach(bytes.buffer as ArrayBuffer);
  const kind = packet.parse(bytes.byteOffset, bytes.length, config.vnetLength);
  if (kind !== KIND_TCP && kind !== KIND_OTHER) {
    report(`unreadable packet of ${bytes.length} bytes, reason ${packet.reason}`);
    return 'bad';
  }
  if (packet.family !== config.family || !hasAddress(packet, packet.dstAt, config.addresses, 0)) {
    report('a packet for somebody else');
    return 'bad';
  }
  if (packet.family === 4 && !isHeaderSumRight(packet.bytes, packet.ipAt)) report('IPv4 header checksum is wrong');
  if (packet.end !== packet.start + packet.length) report('the packet and its length field disagree');
  if (kind === KIND_OTHER) {
    const quote = readQuote(packet, config);
    if (typeof quote !== 'string') return quote;
    report(quote);
    return 'bad';
  }
  const pseudo = pseudoSum(packet.bytes, packet.ipAt, packet.family, PROTOCOL_TCP, packet.end - packet.tcpAt);
  const right = packet.needsChecksum
    ? packet.view.getUint16(packet.tcpAt + 16) === pseudo
    : isSumRight(packet.bytes, packet.tcpAt, packet.end, pseudo);
  if (!right) report(`TCP checksum is wrong: ${describe(packet)}`);
  const isOurs =
    hasAddress(packet, packet.srcAt, config.addresses, 4) &&
    packet.srcPort === config.peerPort &&
    packet.dstPort === config.port;
  if (!isOurs) report(`not this connection: ${describe(packet)}`);
  if (packet.optionsMalformed) report(`malformed options: ${describe(packet)}`);
  return right && isOurs ? 'tcp' : 'bad';
}
