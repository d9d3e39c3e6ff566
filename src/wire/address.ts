/** IP addresses and prefixes as text: RFC 4291 2.2 and dotted decimal in, RFC 5952 out. Not for every packet. */

/** An address prefix; host bits are zero. */
export interface Prefix {
  readonly family: 4 | 6;
  /** Network byte order, 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 0 .. 32 or 0 .. 128. */
  readonly prefixLength: number;
}

/** Stores the address at `at` as big-endian words: one for IPv4, four for IPv6, from `target[index]` on. */
export function loadAddress(view: DataView, at: number, family: number, target: Int32Array, index: number): void {
  target[index] = view.getInt32(at);
  if (family === 4) return;
  target[index + 1] = view.getInt32(at + 4);
  target[index + 2] = view.getInt32(at + 8);
  target[index + 3] = view.getInt32(at + 12);
}

/**
 * @param address 4 or 16 bytes in network order
 * @returns dotted decimal, or RFC 5952 form (IPv4-mapped addresses end in dotted decimal)
 */
export function formatAddressBytes(address: Uint8Array): string {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  return formatAddress(view, 0, address.length === 4 ? 4 : 6);
}

/** The address at `at`, of 4 or 16 bytes by `family`, as text. */
export function formatAddress(view: DataView, at: number, family: number): string {
  if (family === 4) return formatIpv4(view, at);
  const groups: number[] = [];
  for (let i = 0; i < 8; i += 1) groups.push(view.getUint16(at + 2 * i));
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `::ffff:${formatIpv4(view, at + 12)}`;
  }
  // RFC 5952 4.2: the first of the longest runs of at least two zero groups becomes "::".
  let bestAt = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i += 1) {
    let j = i;
    while (j < 8 && groups[j] === 0) j += 1;
    if (j - i > bestLength) {
      bestAt = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  const texts = groups.map((group) => group.toString(16));
  if (bestAt < 0) return texts.join(':');
  return `${texts.slice(0, bestAt).join(':')}::${texts.slice(bestAt + bestLength).join(':')}`;
}

function formatIpv4(view: DataView, at: number): string {
  return `${view.getUint8(at)}.${view.getUint8(at + 1)}.${view.getUint8(at + 2)}.${view.getUint8(at + 3)}`;
}

/** "a.b.c.d:port" or "[v6]:port". */
export function formatEndpoint(view: DataView, at: number, family: number, port: number): string {
  const address = formatAddress(view, at, family);
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

/**
 * @param text dotted decimal of four parts without leading zeros, or any RFC 4291 2.2 form; no zone, no brackets
 * @returns 4 or 16 bytes in network order, or undefined when it is neither
 */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6Text(text) : parseIpv4Text(text);
}

function parseIpv4Text(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i += 1) {
    // A leading zero is octal to some readers and decimal to others, so it is neither here.
    if (!/^(0|[1-9]\d{0,2})$/.test(parts[i])) return undefined;
    const value = Number(parts[i]);
    if (value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function parseIpv6Text(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1], true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for at least one group (RFC 5952 4.2.2 discourages one, RFC 4291 allows it).
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** Groups between colons; the last may be dotted decimal when `atEnd`. */
function parseGroups(text: string, atEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i += 1) {
    const part = parts[i];
    if (atEnd && i === parts.length - 1 && part.includes('.')) {
      const ipv4 = parseIpv4Text(part);
      if (ipv4 === undefined) return undefined;
      groups.push((ipv4[0] << 8) | ipv4[1], (ipv4[2] << 8) | ipv4[3]);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

/**
 * @param text "address/length", or an address alone for a single host
 * @returns the prefix with its host bits cleared, or undefined when it cannot be read
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const bits = address.length * 8;
  let prefixLength = bits;
  if (slash >= 0) {
    const lengthText = text.slice(slash + 1);
    if (!/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
    prefixLength = Number(lengthText);
    if (prefixLength > bits) return undefined;
  }
  for (let i = 0; i < address.length; i += 1) {
    const keep = Math.min(8, Math.max(0, prefixLength - 8 * i));
    address[i] &= (0xff00 >> keep) & 0xff;
  }
  return { family: address.length === 4 ? 4 : 6, address, prefixLength };
}

/** "address/length". */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddressBytes(prefix.address)}/${prefix.prefixLength}`;
}

/** Whether the address, of 4 or 16 bytes, lies in the prefix. Never across families. */
export function prefixContains(prefix: Prefix, address: Uint8Array): boolean {
  if (prefix.address.length !== address.length) return false;
  for (let i = 0; i < address.length; i += 1) {
    const keep = Math.min(8, Math.max(0, prefix.prefixLength - 8 * i));
    const mask = (0xff00 >> keep) & 0xff;
    if ((address[i] & mask) !== prefix.address[i]) return false;
  }
  return true;
}
