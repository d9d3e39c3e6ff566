/**
 * A second, slow and obvious reading of the checksums (RFC 1071), so that the judge of what the gateway emits does
 * not share code with it.
 */

function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  let at = from;
  for (; at + 1 < to; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < to) total += bytes[at]! << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** Whether an IPv4 header's checksum is right. */
export function isHeaderSumRight(bytes: Uint8Array, at: number): boolean {
  return sum(bytes, at, at + 4 * (bytes[at]! & 15)) === 0xffff;
}

/** The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1), not complemented. */
export function pseudoSum(bytes: Uint8Array, at: number, family: 4 | 6, protocol: number, length: number): number {
  const addresses = family === 4 ? sum(bytes, at + 12, at + 20) : sum(bytes, at + 8, at + 40);
  return fold(addresses + protocol + (length & 0xffff) + (length >>> 16));
}

/** Whether the checksum of a transport segment `from..to` is right, given the pseudo-header's sum (0 for ICMPv4). */
export function isSumRight(bytes: Uint8Array, from: number, to: number, pseudo: number): boolean {
  return fold(sum(bytes, from, to) + pseudo) === 0xffff;
}
