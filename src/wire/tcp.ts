/** The TCP header (RFC 9293 3.1) behind `Packet`. */
import { KIND_MALFORMED, KIND_TCP, MALFORMED_TCP_DATA_OFFSET, MALFORMED_TCP_TRUNCATED } from './kinds.ts';
import type { Packet } from './packet.ts';
import { AE, FIN, SYN } from './tcp-flags.ts';
import { parseOptions } from './tcp-options.ts';

export const TCP_HEADER_LENGTH = 20;
export const TCP_MAX_HEADER_LENGTH = 60;

/** Offsets within the header. */
export const TCP_SEQ = 4;
export const TCP_ACK = 8;
/** Data offset, reserved bits and AE in the high byte; the other flags in the low one. */
export const TCP_OFFSET_FLAGS = 12;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;

/** Reads the segment in `[p.payloadAt, p.end)` and moves `payloadAt` behind its header. */
export function parseTcp(p: Packet): number {
  const view = p.view;
  const at = p.payloadAt;
  const room = p.end - at;
  if (room < TCP_HEADER_LENGTH) {
    p.reason = MALFORMED_TCP_TRUNCATED;
    return KIND_MALFORMED;
  }
  const word = view.getUint16(at + TCP_OFFSET_FLAGS);
  const headerLength = (word >>> 12) << 2;
  if (headerLength < TCP_HEADER_LENGTH || headerLength > room) {
    p.reason = MALFORMED_TCP_DATA_OFFSET;
    return KIND_MALFORMED;
  }
  const flags = word & (0xff | AE);
  const payloadLength = room - headerLength;
  p.tcpAt = at;
  p.tcpHeaderLength = headerLength;
  p.payloadAt = at + headerLength;
  p.payloadLength = payloadLength;
  p.srcPort = view.getUint16(at);
  p.dstPort = view.getUint16(at + 2);
  p.seq = view.getInt32(at + TCP_SEQ);
  p.ack = view.getInt32(at + TCP_ACK);
  p.flags = flags;
  p.window = view.getUint16(at + TCP_WINDOW);
  p.urgent = view.getUint16(at + TCP_URGENT);
  p.segLength = payloadLength + ((flags & SYN) === 0 ? 0 : 1) + ((flags & FIN) === 0 ? 0 : 1);
  if (headerLength > TCP_HEADER_LENGTH) parseOptions(p, at + TCP_HEADER_LENGTH, p.payloadAt);
  return KIND_TCP;
}
