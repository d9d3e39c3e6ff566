/**
 * DHCP for IPv4 (RFC 2131, options of RFC 2132), as far as somebody who watches leases needs it. What is cut off or contradicts
 * itself is no message at all.
 */

/** Ports of server and client (RFC 2131 4.1). */
export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

/** Message types, option 53 (RFC 2132 9.6). */
export const DHCP_DISCOVER = 1;
export const DHCP_OFFER = 2;
export const DHCP_REQUEST = 3;
export const DHCP_DECLINE = 4;
export const DHCP_ACK = 5;
export const DHCP_NAK = 6;
export const DHCP_RELEASE = 7;
export const DHCP_INFORM = 8;

/** Fixed part up to the magic cookie (RFC 2131 figure 1), and with it (RFC 2132 2). */
const FIXED = 236;
const OPTIONS_AT = FIXED + 4;
const MAGIC_COOKIE = 0x63825363;
const SNAME_AT = 44;
const FILE_AT = 108;
const CHADDR_AT = 28;
const CHADDR_MOST = 16;

const OPTION_PAD = 0;
const OPTION_REQUESTED_ADDRESS = 50;
const OPTION_LEASE_TIME = 51;
const OPTION_OVERLOAD = 52;
const OPTION_MESSAGE_TYPE = 53;
const OPTION_SERVER = 54;
const OPTION_RENEWAL = 58;
const OPTION_REBINDING = 59;
const OPTION_CLIENT = 61;
const OPTION_END = 255;

/** Lease time that never ends (RFC 2131 3.3). */
export const LEASE_FOR_EVER = 0xffffffff;

export interface DhcpMessage {
  /** DHCP_*. */
  readonly type: number;
  /** Sent by a server (BOOTREPLY). */
  readonly isReply: boolean;
  readonly transaction: number;
  /** Addresses as four bytes; undefined where the field is zero or the option is absent. */
  readonly clientAddress: Uint8Array | undefined;
  readonly yourAddress: Uint8Array | undefined;
  readonly requestedAddress: Uint8Array | undefined;
  readonly server: Uint8Array | undefined;
  /** The client's hardware address, 1 to 16 bytes; undefined where the hardware has none. */
  readonly hardware: Uint8Array | undefined;
  /** Option 61, as sent. */
  readonly client: Uint8Array | undefined;
  /** Seconds; LEASE_FOR_EVER stands for no end. */
  readonly leaseSeconds: number | undefined;
  readonly renewSeconds: number | undefined;
  readonly rebindSeconds: number | undefined;
}

type Options = Map<number, Uint8Array>;

/**
 * Reads a DHCP message.
 * @param bytes holds it, the UDP payload, in `[at, end)`
 * @returns undefined for BOOTP without a message type, and for anything truncated or malformed: an option that runs beyond its
 *   field, a fixed-size option of another size, a wrong cookie
 */
export function parseDhcp(bytes: Uint8Array, at: number, end: number): DhcpMessage | undefined {
  if (at < 0 || end > bytes.length || end - at < OPTIONS_AT) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, end - at);
  const message = bytes.subarray(at, end);
  const op = message[0]!;
  const hardwareLength = message[2]!;
  if ((op !== 1 && op !== 2) || hardwareLength > CHADDR_MOST || view.getUint32(FIXED) !== MAGIC_COOKIE)
    return undefined;
  const options: Options = new Map();
  if (!collect(message, OPTIONS_AT, message.length, options)) return undefined;
  // RFC 2131 4.1: the file field first, then sname.
  const overload = fixed(options, OPTION_OVERLOAD, 1);
  if (overload === false || (overload !== undefined && (overload[0]! < 1 || overload[0]! > 3))) return undefined;
  const where = overload?.[0] ?? 0;
  if ((where & 1) !== 0 && !collect(message, FILE_AT, FIXED, options)) return undefined;
  if ((where & 2) !== 0 && !collect(message, SNAME_AT, FILE_AT, options)) return undefined;

  const type = fixed(options, OPTION_MESSAGE_TYPE, 1);
  const requested = fixed(options, OPTION_REQUESTED_ADDRESS, 4);
  const server = fixed(options, OPTION_SERVER, 4);
  const lease = fixed(options, OPTION_LEASE_TIME, 4);
  const renewal = fixed(options, OPTION_RENEWAL, 4);
  const rebinding = fixed(options, OPTION_REBINDING, 4);
  if (type === undefined || type === false || requested === false || server === false) return undefined;
  if (lease === false || renewal === false || rebinding === false) return undefined;
  return {
    type: type[0]!,
    isReply: op === 2,
    transaction: view.getUint32(4),
    clientAddress: address(message, 12),
    yourAddress: address(message, 16),
    requestedAddress: requested,
    server,
    hardware: hardwareLength === 0 ? undefined : message.slice(CHADDR_AT, CHADDR_AT + hardwareLength),
    client: options.get(OPTION_CLIENT),
    leaseSeconds: number(lease),
    renewSeconds: number(renewal),
    rebindSeconds: number(rebinding),
  };
}

/** Collects the options of one field; parts of a split one are joined (RFC 3396). False: one runs beyond the field. */
function collect(message: Uint8Array, from: number, end: number, options: Options): boolean {
  let at = from;
  while (at < end) {
    const code = message[at]!;
    if (code === OPTION_END) return true;
    at += 1;
    if (code === OPTION_PAD) continue;
    if (at >= end) return false;
    const next = at + 1 + message[at]!;
    if (next > end) return false;
    const part = message.slice(at + 1, next);
    const before = options.get(code);
    options.set(code, before === undefined ? part : Uint8Array.of(...before, ...part));
    at = next;
  }
  // Some clients leave the end option out; what is there is whole.
  return true;
}

/** An option that always has one size; undefined: absent; false: another size. */
function fixed(options: Options, code: number, size: number): Uint8Array | undefined | false {
  const value = options.get(code);
  return value === undefined || value.length === size ? value : false;
}

function address(message: Uint8Array, at: number): Uint8Array | undefined {
  const bytes = message.slice(at, at + 4);
  return bytes.every((byte) => byte === 0) ? undefined : bytes;
}

function number(value: Uint8Array | undefined): number | undefined {
  return value === undefined ? undefined : new DataView(value.buffer, value.byteOffset).getUint32(0);
}
