/**
 * pcapng: sections of either byte order, interface descriptions, enhanced, simple and (obsolete) packet blocks. Everything
 * else is skipped by its length. A block must be consistent in itself before anything in it is believed.
 */
import type { ByteSource } from './byte-source.ts';
import { type CapturedPacket, type CaptureInterface, damaged, FRAME_MAX } from './capture.ts';
import {
  BLOCK_MAX,
  BLOCK_OVERHEAD,
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  IF_NAME,
  IF_TSOFFSET,
  IF_TSRESOL,
  INTERFACE_DESCRIPTION,
  OPT_COMMENT,
  OPT_END,
  PACKET,
  padded,
  SECTION_HEADER,
  SIMPLE_PACKET,
} from './pcapng-blocks.ts';

/** Interfaces of one section; more are no capture of any machine. */
const MAX_INTERFACES = 65_536;
/** Longest name or comment that is kept (bytes). */
const TEXT_MAX = 4_096;

interface Clock {
  /** Units per second. */
  readonly units: bigint;
  /** Seconds to add. */
  readonly offset: bigint;
  /** What `units` is where plain numbers suffice; BigInt costs a third of the time that a packet takes. */
  readonly kind: 'micros' | 'nanos' | 'other';
}

/** A time stamp in parts. */
interface Instant {
  seconds: number;
  nanos: number;
}

/** Filled anew for each packet. */
const instant: Instant = { seconds: 0, nanos: 0 };

interface Described extends CaptureInterface {
  readonly clock: Clock;
}

/** One block in the window: `from` is its first body byte, `to` one past the last, both in `view`. */
interface Block {
  readonly type: number;
  readonly view: DataView;
  readonly from: number;
  readonly to: number;
  /** Offset in the file of the block, and of `from`. */
  readonly offset: number;
}

const decoder = new TextDecoder();

export function isPcapngMagic(bytes: Uint8Array): boolean {
  return bytes[0] === 0x0a && bytes[1] === 0x0d && bytes[2] === 0x0d && bytes[3] === 0x0a;
}

/** @throws TcpfreezeError CAPTURE_DAMAGED with the byte offset */
export function* readPcapng(source: ByteSource): Generator<CapturedPacket, void, undefined> {
  let little = true;
  let interfaces: Described[] = [];
  for (;;) {
    const offset = source.offset;
    if (!source.has(BLOCK_OVERHEAD)) {
      if (source.available === 0) return;
      throw damaged(offset, `${source.available} bytes are no block`);
    }
    // The type of a section header reads the same in both orders.
    if (source.view.getUint32(source.at) === SECTION_HEADER) {
      const magic = source.view.getUint32(source.at + 8);
      little = magic !== BYTE_ORDER_MAGIC;
      if (little && source.view.getUint32(source.at + 8, true) !== BYTE_ORDER_MAGIC)
        throw damaged(offset + 8, `byte-order magic ${magic.toString(16)}`);
      interfaces = [];
    }
    const block = takeBlock(source, offset, little);
    switch (block.type) {
      case SECTION_HEADER:
        checkVersion(block, little);
        break;
      case INTERFACE_DESCRIPTION:
        if (interfaces.length >= MAX_INTERFACES) throw damaged(offset, 'too many interfaces');
        interfaces.push(interfaceOf(block, little));
        break;
      case ENHANCED_PACKET:
      case PACKET:
        yield packetOf(block, little, interfaces);
        break;
      case SIMPLE_PACKET:
        yield simplePacketOf(block, little, interfaces);
        break;
    }
  }
}

function takeBlock(source: ByteSource, offset: number, little: boolean): Block {
  const type = source.view.getUint32(source.at, little);
  const length = source.view.getUint32(source.at + 4, little);
  if (length < BLOCK_OVERHEAD || length % 4 !== 0) throw damaged(offset + 4, `a block of ${length} bytes`);
  if (length > BLOCK_MAX) throw damaged(offset + 4, `a block of ${length} bytes, more than ${BLOCK_MAX}`);
  if (!source.take(length)) throw damaged(offset, `a block of ${length} bytes, of which ${source.available} are there`);
  const { view, at } = source;
  const again = view.getUint32(at + length - 4, little);
  if (again !== length) throw damaged(offset + length - 4, `a block of ${length} bytes ends as one of ${again} bytes`);
  return { type, view, from: at + 8, to: at + length - 4, offset };
}

/** Throws unless `count` bytes are in the block's body from its start. */
function need(block: Block, count: number): void {
  if (block.to - block.from < count)
    throw damaged(
      block.offset,
      `block type ${block.type} with ${block.to - block.from} bytes where ${count} are needed`,
    );
}

function checkVersion(block: Block, little: boolean): void {
  need(block, 16);
  const major = block.view.getUint16(block.from + 4, little);
  if (major !== 1) throw damaged(block.offset + 12, `version ${major} of pcapng is not known`);
}

/** Calls `each` with code, start and end of every option from `from` on. */
function forEachOption(
  block: Block,
  from: number,
  little: boolean,
  each: (code: number, at: number, to: number) => void,
): void {
  // A list may end without opt_endofopt (section 3.5).
  for (let at = from; at + 4 <= block.to; ) {
    const code = block.view.getUint16(at, little);
    const length = block.view.getUint16(at + 2, little);
    if (code === OPT_END) return;
    if (at + 4 + length > block.to)
      throw damaged(block.offset + 8 + at - block.from, `option ${code} of ${length} bytes leaves its block`);
    each(code, at + 4, at + 4 + length);
    at += 4 + padded(length);
  }
}

function textOf(view: DataView, at: number, to: number): string {
  return decoder.decode(new Uint8Array(view.buffer, at, Math.min(to - at, TEXT_MAX)));
}

function interfaceOf(block: Block, little: boolean): Described {
  need(block, 8);
  const { view, from } = block;
  let name = '';
  let units = 1_000_000n;
  let offset = 0n;
  forEachOption(block, from + 8, little, (code, at, to) => {
    if (code === IF_NAME) name = textOf(view, at, to);
    else if (code === IF_TSRESOL && to > at) {
      const resolution = view.getUint8(at);
      units = resolution < 0x80 ? 10n ** BigInt(resolution) : 2n ** BigInt(resolution & 0x7f);
    } else if (code === IF_TSOFFSET && to - at >= 8) offset = view.getBigInt64(at, little);
  });
  return {
    linkType: view.getUint16(from, little),
    snapLength: view.getUint32(from + 4, little),
    name,
    clock: { units, offset, kind: units === 1_000_000n ? 'micros' : units === NANOS ? 'nanos' : 'other' },
  };
}

const NANOS = 1_000_000_000n;
const TWO_32 = 2 ** 32;

/**
 * Splits a time stamp of 64 bits, exactly. Microseconds up to the year 2255 fit a double; nanoseconds do without their lowest nine
 * bits, and 10^9 without its factor 2^9.
 */
function split(high: number, low: number, { units, offset, kind }: Clock): void {
  if (kind === 'micros' && high < 2 ** 21) {
    const ticks = high * TWO_32 + low;
    const whole = Math.floor(ticks / 1_000_000);
    instant.nanos = (ticks - whole * 1_000_000) * 1_000;
    instant.seconds = whole + Number(offset);
  } else if (kind === 'nanos' && high < 2 ** 30) {
    const ticks = high * 2 ** 23 + (low >>> 9);
    const whole = Math.floor(ticks / 1_953_125);
    instant.nanos = (ticks - whole * 1_953_125) * 512 + (low & 511);
    instant.seconds = whole + Number(offset);
  } else {
    const ticks = (BigInt(high) << 32n) | BigInt(low);
    const whole = ticks / units;
    instant.nanos = Number(((ticks - whole * units) * NANOS) / units);
    instant.seconds = Number(whole + offset);
  }
}

function packetOf(block: Block, little: boolean, interfaces: readonly Described[]): CapturedPacket {
  need(block, 20);
  const { view, from, offset } = block;
  const index = block.type === PACKET ? view.getUint16(from, little) : view.getUint32(from, little);
  const where = interfaces[index];
  if (where === undefined) throw damaged(offset + 8, `a packet of interface ${index}, which is not described`);
  const kept = view.getUint32(from + 12, little);
  const bytes = frameOf(block, from + 20, kept);
  split(view.getUint32(from + 4, little), view.getUint32(from + 8, little), where.clock);
  let comment: string | null = null;
  if (from + 20 + padded(kept) < block.to) {
    forEachOption(block, from + 20 + padded(kept), little, (code, at, to) => {
      if (code === OPT_COMMENT) comment ??= textOf(view, at, to);
    });
  }
  return {
    seconds: instant.seconds,
    nanos: instant.nanos,
    hasTime: true,
    interface: where,
    bytes,
    originalLength: view.getUint32(from + 16, little),
    offset,
    comment,
  };
}

/** Section 4.4: it belongs to the first interface, whose snap length says how much was kept. */
function simplePacketOf(block: Block, little: boolean, interfaces: readonly Described[]): CapturedPacket {
  need(block, 4);
  const { view, from, to, offset } = block;
  const where = interfaces[0];
  if (where === undefined) throw damaged(offset, 'a simple packet before any interface');
  const originalLength = view.getUint32(from, little);
  const limit = where.snapLength === 0 ? originalLength : Math.min(originalLength, where.snapLength);
  const bytes = frameOf(block, from + 4, Math.min(limit, Math.max(0, to - from - 4)));
  return { seconds: 0, nanos: 0, hasTime: false, interface: where, bytes, originalLength, offset, comment: null };
}

function frameOf(block: Block, at: number, length: number): Uint8Array {
  if (length > FRAME_MAX) throw damaged(block.offset, `a frame of ${length} bytes`);
  if (at + length > block.to)
    throw damaged(block.offset, `a frame of ${length} bytes in a block with room for ${Math.max(0, block.to - at)}`);
  return new Uint8Array(block.view.buffer, at, length);
}
