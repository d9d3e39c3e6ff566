/**
 * Frames of the journal: each record behind its length and CRC-32, so that whatever a crash or a power cut left behind can be read
 * up to the first record that is not whole, and no further.
 *
 * The engine lays out the frames (freeze/record.ts) and leaves the checksums to the thread that writes them.
 */
import * as zlib from 'node:zlib';
import { FRAME_BYTES } from '../freeze/record.ts';

/** CRC-32 (IEEE 802.3) as in zlib. Node.js brings it from 20.15 on; before that a table of 256 words does. */
export const crc32: (bytes: Uint8Array) => number =
  typeof zlib.crc32 === 'function' ? (bytes) => zlib.crc32(bytes) : byTable;

const TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_none, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? 0xedb8_8320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** The slow twin of `crc32`. */
export function byTable(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

/** Fills in the checksums of the framed records in `bytes`. */
export function sealFrames(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + FRAME_BYTES <= bytes.length; ) {
    const end = at + FRAME_BYTES + view.getUint32(at, true);
    view.setUint32(at + 4, crc32(bytes.subarray(at + FRAME_BYTES, end)), true);
    at = end;
  }
}

export interface FramesRead {
  /** Bodies of the intact records, in order; views of the bytes given. */
  readonly records: readonly Uint8Array[];
  /** Where the first record begins that is not whole; the length of the bytes when all are. */
  readonly end: number;
}

/** Reads records until one is cut off or damaged. */
export function readFrames(bytes: Uint8Array): FramesRead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  let at = 0;
  while (at + FRAME_BYTES <= bytes.length) {
    const end = at + FRAME_BYTES + view.getUint32(at, true);
    if (end > bytes.length || end === at + FRAME_BYTES) break;
    const record = bytes.subarray(at + FRAME_BYTES, end);
    if (crc32(record) !== view.getUint32(at + 4, true)) break;
    records.push(record);
    at = end;
  }
  return { records, end: at };
}
