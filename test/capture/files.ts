/** Capture files made by hand, byte by byte: nothing of the code under test. */
import { ByteSource } from '../../src/capture/byte-source.ts';
import type { CapturedPacket } from '../../src/capture/capture.ts';
import { readCapture } from '../../src/capture/capture-file.ts';

export interface Fields {
  readonly seconds: number;
  readonly fraction: number;
  readonly bytes: Uint8Array;
  readonly originalLength?: number;
}

/** A classic pcap file. */
export function pcap(magic: number, little: boolean, linkType: number, records: readonly Fields[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const words = (...values: number[]): void => {
    const bytes = new Uint8Array(4 * values.length);
    const view = new DataView(bytes.buffer);
    values.forEach((value, index) => {
      view.setUint32(4 * index, value, little);
    });
    parts.push(bytes);
  };
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint16(0, 2, little);
  new DataView(header.buffer).setUint16(2, 4, little);
  words(magic);
  parts.push(header);
  words(0, 0, 65_535, linkType);
  for (const { seconds, fraction, bytes, originalLength } of records) {
    words(seconds, fraction, bytes.length, originalLength ?? bytes.length);
    parts.push(bytes);
  }
  return join(parts);
}

/** One pcapng block, its length filled in at both ends; `body` is padded. */
export function block(type: number, little: boolean, body: Uint8Array): Uint8Array {
  const length = 12 + Math.ceil(body.length / 4) * 4;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, little);
  view.setUint32(4, length, little);
  bytes.set(body, 8);
  view.setUint32(length - 4, length, little);
  return bytes;
}

/** Numbers of 1, 2, 4 or 8 bytes, as `[size, value]`. */
export function numbers(
  little: boolean,
  ...values: readonly (readonly [1 | 2 | 4 | 8, number | bigint])[]
): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of values) {
    if (size === 1) view.setUint8(at, Number(value));
    else if (size === 2) view.setUint16(at, Number(value), little);
    else if (size === 4) view.setUint32(at, Number(value), little);
    else view.setBigUint64(at, BigInt(value), little);
    at += size;
  }
  return bytes;
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A source that delivers `step` bytes at a time; `size` is what it says of the whole. */
export function sourceOf(bytes: Uint8Array, step: number, size = 0): ByteSource {
  let at = 0;
  return new ByteSource((target) => {
    const count = Math.min(step, target.length, bytes.length - at);
    target.set(bytes.subarray(at, at + count));
    at += count;
    return count;
  }, size);
}

/** Everything in a file, with copies of the bytes. */
export function readAll(bytes: Uint8Array, step = 1 << 20, size = 0): CapturedPacket[] {
  return [...readCapture(sourceOf(bytes, step, size))].map((packet) => ({ ...packet, bytes: packet.bytes.slice() }));
}
