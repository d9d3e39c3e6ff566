/** DHCP for IPv6 (RFC 8415), as far as somebody who watches leases needs it. Whatever is truncated is no message at all. */

/** Ports of client and server (RFC 8415 7.2). */
export const DHCPV6_CLIENT_PORT = 546;
export const DHCPV6_SERVER_PORT = 547;

/** Message types (RFC 8415 7.3). */
export const DHCPV6_SOLICIT = 1;
export const DHCPV6_REQUEST = 3;
export const DHCPV6_CONFIRM = 4;
export const DHCPV6_RENEW = 5;
export const DHCPV6_REBIND = 6;
export const DHCPV6_REPLY = 7;
export const DHCPV6_RELEASE = 8;
export const DHCPV6_DECLINE = 9;
const DHCPV6_RECONFIGURE = 10;
const DHCPV6_INFORMATION_REQUEST = 11;

const OPTION_CLIENT = 1;
const OPTION_IA_NA = 3;
const OPTION_ADDRESS = 5;
const OPTION_IA_PD = 25;
const OPTION_PREFIX = 26;

/** Identity association header (RFC 8415 21.4): IAID, T1, T2; and what stands before an address's or prefix's own options. */
const IA_HEADER = 12;
const ADDRESS_HEADER = 24;
const PREFIX_HEADER = 25;

/** DUID types that hold a link-layer address (RFC 8415 11.2, 11.4), and where it begins. */
const DUID_LLT = 1;
const DUID_LLT_HARDWARE = 8;
const DUID_LL = 3;
const DUID_LL_HARDWARE = 4;

/** More of them in one message than any client has. */
const MAX_LEASES = 64;

/** An address, or a delegated prefix, with its times in seconds. */
export interface Dhcpv6Lease {
  readonly address: Uint8Array;
  /** 128 for an address. */
  readonly prefixLength: number;
  readonly validSeconds: number;
  /** T1 and T2 of its association; 0: the client chooses. */
  readonly renewSeconds: number;
  readonly rebindSeconds: number;
}

export interface Dhcpv6Message {
  readonly type: number;
  readonly transaction: number;
  /** Link-layer address in the client's identifier, where it has one. */
  readonly hardware: Uint8Array | undefined;
  readonly leases: readonly Dhcpv6Lease[];
}

/**
 * Reads a DHCPv6 message between client and server; relayed ones (RFC 8415 9) are left alone.
 * @param bytes holds it, the UDP payload, in `[at, end)`
 * @returns undefined where it is truncated, malformed or of another type
 */
export function parseDhcpv6(bytes: Uint8Array, at: number, end: number): Dhcpv6Message | undefined {
  if (at < 0 || end > bytes.length || end - at < 4) return undefined;
  const message = bytes.subarray(at, end);
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, end - at);
  const type = message[0]!;
  if (type === 0 || type > DHCPV6_INFORMATION_REQUEST || type === DHCPV6_RECONFIGURE) return undefined;
  const leases: Dhcpv6Lease[] = [];
  let hardware: Uint8Array | undefined;
  const whole = eachOption(view, 4, message.length, (code, from, to) => {
    if (code === OPTION_CLIENT) {
      hardware = hardwareOf(message.subarray(from, to));
      return to - from >= 3;
    }
    return (code !== OPTION_IA_NA && code !== OPTION_IA_PD) || collectLeases(view, message, from, to, leases);
  });
  if (!whole) return undefined;
  return { type, transaction: view.getUint32(0) & 0xffffff, hardware, leases };
}

function collectLeases(view: DataView, message: Uint8Array, from: number, to: number, leases: Dhcpv6Lease[]): boolean {
  if (to - from < IA_HEADER) return false;
  const renewSeconds = view.getUint32(from + 4);
  const rebindSeconds = view.getUint32(from + 8);
  return eachOption(view, from + IA_HEADER, to, (code, at, end) => {
    if (code !== OPTION_ADDRESS && code !== OPTION_PREFIX) return true;
    const isAddress = code === OPTION_ADDRESS;
    if (end - at < (isAddress ? ADDRESS_HEADER : PREFIX_HEADER)) return false;
    // Address, preferred, valid; or preferred, valid, prefix length, prefix.
    const addressAt = isAddress ? at : at + 9;
    const validSeconds = view.getUint32(isAddress ? at + 20 : at + 4);
    const prefixLength = isAddress ? 128 : message[at + 8]!;
    if (prefixLength > 128 || leases.length >= MAX_LEASES) return false;
    const address = message.slice(addressAt, addressAt + 16);
    leases.push({ address, prefixLength, validSeconds, renewSeconds, rebindSeconds });
    return true;
  });
}

/** Calls `take` with each option's code and value `[from, to)`. False: one runs beyond `end`, or was refused. */
function eachOption(
  view: DataView,
  start: number,
  end: number,
  take: (code: number, from: number, to: number) => boolean,
): boolean {
  let at = start;
  while (at < end) {
    if (end - at < 4) return false;
    const from = at + 4;
    const to = from + view.getUint16(at + 2);
    if (to > end || !take(view.getUint16(at), from, to)) return false;
    at = to;
  }
  return true;
}

function hardwareOf(duid: Uint8Array): Uint8Array | undefined {
  const type = duid.length < 2 ? 0 : (duid[0]! << 8) | duid[1]!;
  const at = type === DUID_LLT ? DUID_LLT_HARDWARE : type === DUID_LL ? DUID_LL_HARDWARE : duid.length;
  return duid.length > at ? duid.slice(at) : undefined;
}
