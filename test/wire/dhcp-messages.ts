/** DHCP messages to measure: built byte by byte, apart from the decoder under test. */

export const COOKIE = [0x63, 0x82, 0x53, 0x63] as const;
export const CLIENT_HARDWARE = [2, 0, 0, 0, 0x81, 7] as const;

export interface Fields {
  readonly op?: number;
  readonly client?: readonly number[];
  readonly your?: readonly number[];
  readonly hardware?: readonly number[];
  readonly options?: readonly number[];
  readonly file?: readonly number[];
  readonly sname?: readonly number[];
}

/** The payload of the UDP datagram; `options` without cookie and end. */
export function dhcpMessage(fields: Fields): Uint8Array {
  const options = [...COOKIE, ...(fields.options ?? []), 255];
  const bytes = new Uint8Array(236 + options.length);
  const hardware = fields.hardware ?? CLIENT_HARDWARE;
  bytes.set([fields.op ?? 1, 1, hardware.length, 0, 0, 0, 0x12, 0x34]);
  bytes.set(fields.client ?? [], 12);
  bytes.set(fields.your ?? [], 16);
  bytes.set(hardware, 28);
  bytes.set(fields.sname ?? [], 44);
  bytes.set(fields.file ?? [], 108);
  bytes.set(options, 236);
  return bytes;
}

/** An IPv4 datagram with UDP inside; checksums are zero, which decoders of what a tap hears do not look at. */
export function udp4(from: readonly number[], srcPort: number, dstPort: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(28 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0]);
  view.setUint16(2, bytes.length);
  bytes.set([64, 17], 8);
  bytes.set(from, 12);
  bytes.set([255, 255, 255, 255], 16);
  view.setUint16(20, srcPort);
  view.setUint16(22, dstPort);
  view.setUint16(24, 8 + payload.length);
  bytes.set(payload, 28);
  return bytes;
}

/** An IPv6 datagram with UDP inside. */
export function udp6(srcPort: number, dstPort: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(48 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x60]);
  view.setUint16(4, 8 + payload.length);
  bytes.set([17, 64], 6);
  view.setUint16(40, srcPort);
  view.setUint16(42, dstPort);
  view.setUint16(44, 8 + payload.length);
  bytes.set(payload, 48);
  return bytes;
}
