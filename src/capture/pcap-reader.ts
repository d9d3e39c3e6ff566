/**
 * Classic pcap (draft-ietf-opsawg-pcap). Files with microseconds, in both byte orders, are read by `pcap-parser`; those with
 * nanoseconds, which it refuses, and large ones, for which it is too slow, here. It believes every length and every ending, so
 * both are checked around it (native-notes/pcap-parser.md has what was measured).
 */
import { EventEmitter } from 'node:events';
import { type PcapGlobalHeader, type PcapPacketHeader, parse } from 'pcap-parser';
import type { ByteSource } from './byte-source.ts';
import { type CapturedPacket, type CaptureInterface, damaged, FRAME_MAX } from './capture.ts';

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MAGIC_MICROS = 0xa1b2_c3d4;
const MAGIC_NANOS = 0xa1b2_3c4d;
const NANOS_PER_SECOND = 1_000_000_000;

function magicOf(bytes: Uint8Array, little: boolean): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, little);
}

export function isPcapMagic(bytes: Uint8Array): boolean {
  return [true, false].some((little) => [MAGIC_MICROS, MAGIC_NANOS].includes(magicOf(bytes, little)));
}

/** Files larger than this are read here: pcap-parser makes five buffers per packet, and their collection costs as much as a replay. */
export const PARSER_MAX_BYTES: number = 64 * 2 ** 20;

/** @throws TcpfreezeError CAPTURE_DAMAGED with the byte offset */
export function readPcap(source: ByteSource): Generator<CapturedPacket, void, undefined> {
  if (!source.has(FILE_HEADER)) throw damaged(0, `a file header of ${source.available} bytes`);
  const header = new Uint8Array(source.view.buffer, source.at, 4).slice();
  const little = [MAGIC_MICROS, MAGIC_NANOS].includes(magicOf(header, true));
  const major = source.view.getUint16(source.at + 4, little);
  if (major !== 2) throw damaged(4, `version ${major} of pcap is not known`);
  const isMicros = magicOf(header, little) === MAGIC_MICROS;
  if (isMicros && source.size <= PARSER_MAX_BYTES) return byParser(source);
  return byOurselves(source, little, isMicros ? 1_000 : 1);
}

function interfaceOf(linkType: number, snapLength: number): CaptureInterface {
  // The upper bits of the field tell the length of a frame check sequence.
  return { linkType: linkType & 0xffff, snapLength, name: '' };
}

function checkLength(kept: number, offset: number): void {
  if (kept > FRAME_MAX) throw damaged(offset, `a frame of ${kept} bytes`);
}

/** Whole seconds in a fraction that was written too large; readers of libpcap carry them over, too. */
function carryOf(nanos: number): number {
  return nanos < NANOS_PER_SECOND ? 0 : Math.floor(nanos / NANOS_PER_SECOND);
}

/** A stream as pcap-parser wants it, whose chunks are handed to it one by one. */
class Feed extends EventEmitter {
  pause(): void {}
  resume(): void {}
}

function* byParser(source: ByteSource): Generator<CapturedPacket, void, undefined> {
  const feed = new Feed();
  const parser = parse(feed);
  let where: CaptureInterface | undefined;
  let offset = FILE_HEADER;
  let ready: CapturedPacket[] = [];
  parser.on('globalHeader', ({ linkLayerType, snapshotLength }: PcapGlobalHeader) => {
    where = interfaceOf(linkLayerType, snapshotLength);
  });
  // Before the body is awaited: a length of 4 GiB would be waited for, and everything kept until then.
  parser.on('packetHeader', ({ capturedLength }: PcapPacketHeader) => checkLength(capturedLength, offset));
  parser.on('packet', ({ header, data }: { readonly header: PcapPacketHeader; readonly data: Buffer }) => {
    const nanos = header.timestampMicroseconds * 1_000;
    const carry = carryOf(nanos);
    ready.push({
      seconds: header.timestampSeconds + carry,
      nanos: nanos - carry * NANOS_PER_SECOND,
      hasTime: true,
      interface: where!,
      bytes: data,
      originalLength: header.originalLength,
      offset,
      comment: null,
    });
    offset += RECORD_HEADER + header.capturedLength;
  });
  parser.on('error', (error: Error) => {
    throw damaged(0, error.message);
  });
  for (let chunk = source.takeSome(); chunk !== null; chunk = source.takeSome()) {
    // A copy: the parser keeps slices of what it is given.
    let failure: unknown = null;
    try {
      feed.emit('data', Buffer.from(chunk));
    } catch (error) {
      failure = error;
    }
    // What came before a damaged record of the same chunk is delivered first.
    yield* ready;
    ready = [];
    if (failure !== null) throw failure;
  }
  if (offset !== source.offset) throw damaged(offset, `a record of which ${source.offset - offset} bytes are there`);
}

/** @param nanosPerUnit of the fraction of a second */
function* byOurselves(
  source: ByteSource,
  little: boolean,
  nanosPerUnit: number,
): Generator<CapturedPacket, void, undefined> {
  source.take(FILE_HEADER);
  const head = source.at;
  const where = interfaceOf(source.view.getUint32(head + 20, little), source.view.getUint32(head + 16, little));
  for (;;) {
    const offset = source.offset;
    if (!source.has(RECORD_HEADER)) {
      if (source.available === 0) return;
      throw damaged(offset, `a record of which ${source.available} bytes are there`);
    }
    const kept = source.view.getUint32(source.at + 8, little);
    checkLength(kept, offset);
    if (!source.take(RECORD_HEADER + kept))
      throw damaged(offset, `a record of which ${source.available} bytes are there`);
    const { view, at } = source;
    const nanos = view.getUint32(at + 4, little) * nanosPerUnit;
    const carry = carryOf(nanos);
    yield {
      seconds: view.getUint32(at, little) + carry,
      nanos: nanos - carry * NANOS_PER_SECOND,
      hasTime: true,
      interface: where,
      bytes: new Uint8Array(view.buffer, at + RECORD_HEADER, kept),
      originalLength: view.getUint32(at + 12, little),
      offset,
      comment: null,
    };
  }
}
