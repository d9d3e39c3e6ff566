/**
 * pcapng as the gateway writes it: one little-endian section, one interface block per side, nanoseconds, and a comment on
 * every packet that has something to say. Names and statistics per interface where they are known.
 */
import { copyBytes } from '../wire/emit.ts';
import {
  BLOCK_OVERHEAD,
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  EPB_DROPCOUNT,
  EPB_FLAGS,
  IF_DESCRIPTION,
  IF_NAME,
  IF_TSRESOL,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  ISB_ENDTIME,
  ISB_FILTERACCEPT,
  ISB_IFDROP,
  ISB_IFRECV,
  ISB_STARTTIME,
  ISB_USRDELIV,
  NAME_RESOLUTION,
  NRB_END,
  NRB_IPV4,
  NRB_IPV6,
  OPT_COMMENT,
  OPT_END,
  padded,
  SECTION_HEADER,
  SHB_HARDWARE,
  SHB_OS,
  SHB_USERAPPL,
} from './pcapng-blocks.ts';

/** LINKTYPE_RAW: the frame is an IPv4 or IPv6 packet. */
export const LINKTYPE_RAW = 101;

/** What made the file, and on what. */
export interface WrittenSection {
  readonly application: string;
  readonly hardware?: string;
  readonly os?: string;
}

/** A name that readers may show instead of an address of 4 or 16 bytes. */
export interface WrittenName {
  readonly address: Uint8Array;
  readonly name: string;
}

/** Of one interface, from the start of the file to its end. */
export interface WrittenStatistics {
  /** Packets that were seen. */
  readonly received: number;
  /** Of these, packets that the filter let through. */
  readonly accepted: number;
  /** Of these, packets that could not be written. */
  readonly dropped: number;
}

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

/** 2^32: times are two words. */
const WORD = 0x1_0000_0000;
/** Blocks are collected up to this size. */
const CHUNK = 256 * 1024;
/** 10^-9 s. */
const NANOSECONDS = 9;
/** An option's length is a 16-bit number; a comment is one line. */
const COMMENT_MAX = 1_024;
/** What a packet block has besides packet and comment. */
const FRAME_OVERHEAD = 64;
/** Longest host name (RFC 1035 2.3.4), and room for a block of them. */
const NAME_MAX = 255;
const NAMES_BLOCK_MAX = 64 * 1024;

const encoder = new TextEncoder();

export class PcapngWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #snapLength: number;
  readonly #received: number[];
  readonly #buffer = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#buffer.buffer);
  #length = 0;
  /** Bytes handed over so far. */
  #handedOver = 0;

  /**
   * Writes the section header and the interface blocks.
   * @param snapLength most bytes kept of a packet, 1 .. 65 535
   * @param write takes bytes that are valid during the call only; its errors pass through
   */
  constructor(
    section: WrittenSection,
    interfaces: readonly WrittenInterface[],
    snapLength: number,
    write: (bytes: Uint8Array) => void,
  ) {
    this.#write = write;
    this.#snapLength = snapLength;
    this.#received = interfaces.map(() => 0);
    const at = this.#begin(SECTION_HEADER, 1_024);
    const view = this.#view;
    view.setUint32(at, BYTE_ORDER_MAGIC, true);
    view.setUint16(at + 4, 1, true);
    view.setUint16(at + 6, 0, true);
    // The length of the section is not known while it is being written.
    view.setBigInt64(at + 8, -1n, true);
    let next = at + 16;
    if (section.hardware !== undefined) next = this.#text(next, SHB_HARDWARE, section.hardware);
    if (section.os !== undefined) next = this.#text(next, SHB_OS, section.os);
    this.#end(this.#text(next, SHB_USERAPPL, section.application));
    for (const one of interfaces) {
      const from = this.#begin(INTERFACE_DESCRIPTION, 1_024);
      view.setUint16(from, LINKTYPE_RAW, true);
      view.setUint16(from + 2, 0, true);
      view.setUint32(from + 4, snapLength, true);
      let option = this.#text(from + 8, IF_NAME, one.name);
      option = this.#text(option, IF_DESCRIPTION, one.description);
      this.#end(this.#option(option, IF_TSRESOL, Uint8Array.of(NANOSECONDS)));
    }
  }

  /** Bytes of the file so far, those that wait for `flush` included. */
  get bytesWritten(): number {
    return this.#handedOver + this.#length;
  }

  /** Names for addresses. Those that do not fit into one block are left out. */
  names(names: readonly WrittenName[]): void {
    if (names.length === 0) return;
    const view = this.#view;
    let at = this.#begin(NAME_RESOLUTION, NAMES_BLOCK_MAX);
    const limit = at + NAMES_BLOCK_MAX - 64;
    for (const { address, name } of names) {
      const text = encoder.encode(name.slice(0, NAME_MAX));
      const length = address.length + text.length + 1;
      if (at + 4 + padded(length) > limit) break;
      view.setUint16(at, address.length === 4 ? NRB_IPV4 : NRB_IPV6, true);
      view.setUint16(at + 2, length, true);
      this.#buffer.fill(0, at + 4, at + 4 + padded(length));
      this.#buffer.set(address, at + 4);
      this.#buffer.set(text, at + 4 + address.length);
      at += 4 + padded(length);
    }
    view.setUint16(at, NRB_END, true);
    view.setUint16(at + 2, 0, true);
    this.#end(at + 4);
  }

  packet(packet: WrittenPacket): void {
    const { time, bytes, direction, comment } = packet;
    const high = Number(time >> 32n);
    const low = Number(time & 0xffff_ffffn);
    this.frame(packet.interface, high, low, bytes, 0, bytes.length, packet.originalLength, direction, comment, 0);
  }

  /**
   * As `packet`, without an object per packet.
   * @param high upper word of the nanoseconds since 1970
   * @param low lower word
   * @param from first byte in `bytes`; `length` of them are there
   * @param dropped packets of the interface that are missing just before this one
   */
  frame(
    interfaceIndex: number,
    high: number,
    low: number,
    bytes: Uint8Array,
    from: number,
    length: number,
    originalLength: number,
    direction: number,
    comment: string | null,
    dropped: number,
  ): void {
    const kept = Math.min(length, this.#snapLength);
    this.#received[interfaceIndex]! += 1;
    const at = this.#begin(ENHANCED_PACKET, FRAME_OVERHEAD + kept + (comment === null ? 0 : 3 * COMMENT_MAX));
    const view = this.#view;
    view.setUint32(at, interfaceIndex, true);
    view.setUint32(at + 4, high, true);
    view.setUint32(at + 8, low, true);
    view.setUint32(at + 12, kept, true);
    view.setUint32(at + 16, Math.max(kept, originalLength), true);
    copyBytes(this.#buffer, at + 20, bytes, from, from + kept);
    const end = at + 20 + padded(kept);
    for (let i = at + 20 + kept; i < end; i++) this.#buffer[i] = 0;
    let next = comment === null ? end : this.#text(end, OPT_COMMENT, comment.slice(0, COMMENT_MAX));
    view.setUint16(next, EPB_FLAGS, true);
    view.setUint16(next + 2, 4, true);
    view.setUint32(next + 4, direction, true);
    next += 8;
    if (dropped > 0) {
      view.setUint16(next, EPB_DROPCOUNT, true);
      view.setUint16(next + 2, 8, true);
      view.setUint32(next + 4, dropped, true);
      view.setUint32(next + 8, 0, true);
      next += 12;
    }
    this.#end(next);
  }

  /**
   * Statistics of one interface. The last one written of an interface counts.
   * @param from first instant that they are about, nanoseconds since 1970
   * @param to last instant
   */
  statistics(interfaceIndex: number, from: bigint, to: bigint, counts: WrittenStatistics): void {
    const at = this.#begin(INTERFACE_STATISTICS, 256);
    const view = this.#view;
    view.setUint32(at, interfaceIndex, true);
    view.setUint32(at + 4, Number(to >> 32n), true);
    view.setUint32(at + 8, Number(to & 0xffff_ffffn), true);
    let next = at + 12;
    for (const [code, time] of [
      [ISB_STARTTIME, from],
      [ISB_ENDTIME, to],
    ] as const) {
      view.setUint16(next, code, true);
      view.setUint16(next + 2, 8, true);
      view.setUint32(next + 4, Number(time >> 32n), true);
      view.setUint32(next + 8, Number(time & 0xffff_ffffn), true);
      next += 12;
    }
    for (const [code, value] of [
      [ISB_IFRECV, counts.received],
      [ISB_IFDROP, counts.dropped],
      [ISB_FILTERACCEPT, counts.accepted],
      [ISB_USRDELIV, counts.accepted - counts.dropped],
    ] as const) {
      view.setUint16(next, code, true);
      view.setUint16(next + 2, 8, true);
      view.setUint32(next + 4, value % WORD, true);
      view.setUint32(next + 8, Math.floor(value / WORD), true);
      next += 12;
    }
    this.#end(next);
  }

  /**
   * Writes statistics from what was written, and everything that is still held back. Nothing may follow.
   * @param time nanoseconds since 1970
   * @param dropped packets per interface that are not in the file, in the order of the interfaces
   */
  end(time: bigint, dropped: readonly number[] = []): void {
    this.#received.forEach((received, index) => {
      const lost = dropped[index] ?? 0;
      this.statistics(index, time, time, { received: received + lost, accepted: received + lost, dropped: lost });
    });
    this.flush();
  }

  /** Hands over what has been collected. */
  flush(): void {
    if (this.#length === 0) return;
    const length = this.#length;
    this.#length = 0;
    this.#handedOver += length;
    this.#write(this.#buffer.subarray(0, length));
  }

  /**
   * Begins a block.
   * @param most bytes that its body will have at most
   * @returns where the body begins
   */
  #begin(type: number, most: number): number {
    if (this.#length + BLOCK_OVERHEAD + most + 4 > CHUNK) this.flush();
    this.#view.setUint32(this.#length, type, true);
    return this.#length + 8;
  }

  /** Ends the block. @param next where its body ends; opt_endofopt is put there */
  #end(next: number): void {
    const length = next + 8 - this.#length;
    this.#view.setUint32(next, OPT_END, true);
    this.#view.setUint32(next + 4, length, true);
    this.#view.setUint32(this.#length + 4, length, true);
    this.#length += length;
  }

  #text(at: number, code: number, text: string): number {
    const room = Math.min(text.length * 3, 3 * COMMENT_MAX);
    const { written } = encoder.encodeInto(text, this.#buffer.subarray(at + 4, at + 4 + room));
    return this.#finish(at, code, written);
  }

  #option(at: number, code: number, value: Uint8Array): number {
    this.#buffer.set(value, at + 4);
    return this.#finish(at, code, value.length);
  }

  /** @returns where the next option goes */
  #finish(at: number, code: number, length: number): number {
    this.#view.setUint16(at, code, true);
    this.#view.setUint16(at + 2, length, true);
    const end = at + 4 + padded(length);
    for (let i = at + 4 + length; i < end; i++) this.#buffer[i] = 0;
    return end;
  }
}
