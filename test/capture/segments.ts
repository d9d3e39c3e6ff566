/** Minimal IP packets, byte by byte. */
import { parseAddress } from '../../src/wire/address.ts';

export interface SegmentFields {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly protocol: number;
}

/** An IP packet with 20 bytes of TCP header, or with 20 bytes of something else. */
export function bytesOf({ src, dst, sport, dport, protocol }: SegmentFields): Uint8Array<ArrayBuffer> {
  const source = parseAddress(src)!;
  const target = parseAddress(dst)!;
  const at = source.length === 4 ? 20 : 40;
  const bytes = new Uint8Array(at + 20);
  const view = new DataView(bytes.buffer);
  if (source.length === 4) {
    bytes[0] = 0x45;
    view.setUint16(2, bytes.length);
    bytes[8] = 64;
    bytes[9] = protocol;
    bytes.set(source, 12);
    bytes.set(target, 16);
  } else {
    bytes[0] = 0x60;
    view.setUint16(4, 20);
    bytes[6] = protocol;
    bytes[7] = 64;
    bytes.set(source, 8);
    bytes.set(target, 24);
  }
  if (protocol === 6) {
    view.setUint16(at, sport);
    view.setUint16(at + 2, dport);
    bytes[at + 12] = 0x50;
    bytes[at + 13] = 0x10;
  }
  return bytes;
}
