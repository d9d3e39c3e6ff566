/** What `Packet.parse` makes of a packet, and why it gives one up. */

/** A whole TCP segment: every field of the decoder is valid. */
export const KIND_TCP = 1;
/** A fragment (not an atomic one): addresses and `protocol` are valid, the transport header may be elsewhere. */
export const KIND_FRAGMENT = 2;
/** Well-formed IP, but not TCP or not TCP that can be read: addresses, `protocol`, `payloadAt` are valid. */
export const KIND_OTHER = 3;
/** Not understood; `reason` says why. Only `start`, `length` and `reason` are meaningful. */
export const KIND_MALFORMED = 4;

export const MALFORMED_NONE = 0;
/** Offset and length do not lie within the attached buffer. */
export const MALFORMED_BOUNDS = 1;
/** Shorter than the virtio-net header and one byte. */
export const MALFORMED_VNET_TRUNCATED = 2;
/** The virtio-net header contradicts the packet that follows it. */
export const MALFORMED_VNET_OFFLOAD = 3;
export const MALFORMED_IP_VERSION = 4;
/** Shorter than the fixed IP header. */
export const MALFORMED_IP_TRUNCATED = 5;
/** IPv4 header length below 20 or beyond the packet. */
export const MALFORMED_IP_HEADER_LENGTH = 6;
/** The IP header promises more bytes than were read, or less than its own header. */
export const MALFORMED_IP_TOTAL_LENGTH = 7;
/** An IPv6 extension header runs past the end, stands where it must not, or there are too many. */
export const MALFORMED_IPV6_EXTENSION = 8;
/** Fewer than 20 bytes of TCP. */
export const MALFORMED_TCP_TRUNCATED = 9;
/** TCP data offset below 5 or beyond the segment. */
export const MALFORMED_TCP_DATA_OFFSET = 10;

/** Names for counters, by code. */
export const MALFORMED_REASONS: readonly string[] = [
  'none',
  'bounds',
  'vnet-truncated',
  'vnet-offload',
  'ip-version',
  'ip-truncated',
  'ip-header-length',
  'ip-total-length',
  'ipv6-extension',
  'tcp-truncated',
  'tcp-data-offset',
];

/** IP protocol numbers (IANA). */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
