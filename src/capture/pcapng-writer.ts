/**
 * pcapng as the gateway writes it: one little-endian section, one interface block per side, nanoseconds, and a comment on
 * every packet that has something to say. Statistics per interface at the end.
 */
import {
  BLOCK_OVERHEAD,
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  EPB_FLAGS,
  IF_DESCRIPTION,
  IF_NAME,
  IF_TSRESOL,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  ISB_IFDROP,
  ISB_IFRECV,
  OPT_COMMENT,
  OPT_END,
  padded,
  SECTION_HEADER,
  SHB_USERAPPL,
} from './pcapng-blocks.ts';

/** LINKTYPE_RAW: the frame is an IPv4 or IPv6 packet. */
export const LINKTYPE_RAW = 101;

export interface WrittenInterface {
  readonly name: string;
  readonly description: string;
}

export interface WrittenPacket {
  /** Index in the list of interfaces. */
  readonly interface: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly bytes: Uint8Array;
  /** Bytes of the whole packet, at least those given. */
  readonly originalLength: number;
  /** DIRECTION_INBOUND or DIRECTION_OUTBOUND. */
  readonly direction: number;
  readonly comment: string | null;
}

/** Blocks are collected up to this size. */
const CHUNK = 256 * 1024;
/** 10^-9 s. */
const NANOSECONDS = 9;
/** An option's length is a 16-bit number; a comment is one line. */
const COMMENT_MAX = 1_024;

const encoder = new TextEncoder();

export class PcapngWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #snapLength: number;
  readonly #received: number[];
  readonly #buffer = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#buffer.buffer);
  #length = 0;

  /**
   * Writes the section header and the interface blocks.
   * @param application what made the file, for the section header
   * @param snapLength most bytes kept of a packet, 1 .. 65 535
   * @param write takes bytes that are valid during the call only; its errors pass through
   */
  constructor(
    application: string,
    interfaces: readonly WrittenInterface[],
    snapLength: number,
    write: (bytes: Uint8Array) => void,
  ) {
    this.#write = write;
    this.#snapLength = snapLength;
    this.#received = interfaces.map(() => 0);
    const name = encoder.encode(application);
    this.#block(SECTION_HEADER, 16 + optionLength(name), (view, at) => {
      view.setUint32(at, BYTE_ORDER_MAGIC, true);
      view.setUint16(at + 4, 1, true);
      view.setUint16(at + 6, 0, true);
      // The length of the section is not known while it is being written.
      view.setBigInt64(at + 8, -1n, true);
      this.#option(at + 16, SHB_USERAPPL, name);
    });
    for (const one of interfaces) {
      const options: [number, Uint8Array][] = [
        [IF_NAME, encoder.encode(one.name)],
        [IF_DESCRIPTION, encoder.encode(one.description)],
        [IF_TSRESOL, Uint8Array.of(NANOSECONDS)],
      ];
      const length = options.reduce((sum, [, value]) => sum + optionLength(value), 0);
      this.#block(INTERFACE_DESCRIPTION, 8 + length, (view, at) => {
        view.setUint16(at, LINKTYPE_RAW, true);
        view.setUint16(at + 2, 0, true);
        view.setUint32(at + 4, snapLength, true);
        let next = at + 8;
        for (const [code, value] of options) next = this.#option(next, code, value);
      });
    }
  }

  packet(packet: WrittenPacket): void {
    const kept = Math.min(packet.bytes.length, this.#snapLength);
    const comment = packet.comment === null ? null : encoder.encode(packet.comment.slice(0, COMMENT_MAX));
    this.#received[packet.interface]! += 1;
    const options = 8 + (comment === null ? 0 : optionLength(comment));
    this.#block(ENHANCED_PACKET, 20 + padded(kept) + options, (view, at) => {
      view.setUint32(at, packet.interface, true);
      view.setUint32(at + 4, Number(packet.time >> 32n), true);
      view.setUint32(at + 8, Number(packet.time & 0xffff_ffffn), true);
      view.setUint32(at + 12, kept, true);
      view.setUint32(at + 16, Math.max(kept, packet.originalLength), true);
      this.#buffer.set(packet.bytes.subarray(0, kept), at + 20);
      const end = at + 20 + padded(kept);
      this.#buffer.fill(0, at + 20 + kept, end);
      const next = comment === null ? end : this.#option(end, OPT_COMMENT, comment);
      view.setUint16(next, EPB_FLAGS, true);
      view.setUint16(next + 2, 4, true);
      view.setUint32(next + 4, packet.direction, true);
    });
  }

  /**
   * Writes the statistics and everything that is still held back. Nothing may follow.
   * @param time nanoseconds since 1970
   * @param dropped packets per interface that are not in the file, in the order of the interfaces
   */
  end(time: bigint, dropped: readonly number[] = []): void {
    this.#received.forEach((received, index) => {
      const lost = dropped[index] ?? 0;
      this.#block(INTERFACE_STATISTICS, 12 + 24, (view, at) => {
        view.setUint32(at, index, true);
        view.setUint32(at + 4, Number(time >> 32n), true);
        view.setUint32(at + 8, Number(time & 0xffff_ffffn), true);
        for (const [place, code, value] of [
          [12, ISB_IFRECV, received + lost],
          [24, ISB_IFDROP, lost],
        ] as const) {
          view.setUint16(at + place, code, true);
          view.setUint16(at + place + 2, 8, true);
          view.setBigUint64(at + place + 4, BigInt(value), true);
        }
      });
    });
    this.flush();
  }

  /** Hands over what has been collected. */
  flush(): void {
    if (this.#length > 0) this.#write(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  /** @param bodyLength with options, without opt_endofopt, a multiple of four */
  #block(type: number, bodyLength: number, fill: (view: DataView, at: number) => void): void {
    const length = BLOCK_OVERHEAD + bodyLength + 4;
    if (this.#length + length > CHUNK) this.flush();
    const at = this.#length;
    const view = this.#view;
    view.setUint32(at, type, true);
    view.setUint32(at + 4, length, true);
    fill(view, at + 8);
    view.setUint32(at + length - 8, OPT_END, true);
    view.setUint32(at + length - 4, length, true);
    this.#length += length;
  }

  /** @returns where the next option goes */
  #option(at: number, code: number, value: Uint8Array): number {
    this.#view.setUint16(at, code, true);
    this.#view.setUint16(at + 2, value.length, true);
    this.#buffer.set(value, at + 4);
    const end = at + 4 + padded(value.length);
    this.#buffer.fill(0, at + 4 + value.length, end);
    return end;
  }
}

function optionLength(value: Uint8Array): number {
  return 4 + padded(value.length);
}
