/**
 * A large capture to replay: bulk transfers as a router records them (Ethernet, 1,514-byte frames, an ACK for every second one,
 * time stamps, right checksums), written at the speed of the disk.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { BYTE_ORDER_MAGIC, ENHANCED_PACKET, padded, SECTION_HEADER } from '../../capture/pcapng-blocks.ts';
import { emitTcp, TcpSpec } from '../../wire/emit.ts';
import { ACK, PSH, SYN } from '../../wire/tcp-flags.ts';

/** 10.0.0.2 and 192.0.2.1. */
const HOST = 0x0a00_0002;
const SERVER = 0xc000_0201 | 0;
const FLOWS = 64;
const MSS = 1_460;
const SEGMENT = 1_448;
const WINDOW = 65_535;
/** Recorded pace. */
const BYTES_PER_SECOND = 125_000_000;
const ETHERNET = 14;
const CHUNK = 4 << 20;
const FRAME_ROOM = 2_048;

/** One transfer; half 0 is the host on the LAN. */
interface Transfer {
  readonly port: number;
  /** Who sends the data. */
  readonly sender: 0 | 1;
  readonly next: [number, number];
}

export type CaptureFormat = 'pcap' | 'pcapng';

/** How a file of each format begins, and a packet in it: words of 32 bits, little-endian; sizes in bytes. */
const FORMATS = {
  pcap: { begin: [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1], packetHeader: 16 },
  // Section header and one interface, Ethernet, microseconds by default.
  pcapng: {
    begin: [SECTION_HEADER, 28, BYTE_ORDER_MAGIC, 1, 0xffff_ffff, 0xffff_ffff, 28, 1, 20, 1, 0, 20],
    packetHeader: 28,
  },
} as const;

class CaptureWriter {
  readonly #fd: number;
  readonly #format: CaptureFormat;
  readonly #bytes = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #spec = new TcpSpec();
  #at = 0;
  /** Bytes written, headers of the file format included. */
  written = 0;
  /** Bytes of frames, which set the pace of the clock. */
  #frames = 0;
  packets = 0;

  constructor(path: string, format: CaptureFormat) {
    this.#fd = openSync(path, 'w');
    this.#format = format;
    this.#words(FORMATS[format].begin);
    const { addresses } = this.#spec;
    addresses[0] = HOST;
    addresses[4] = SERVER;
    this.#spec.hasTs = true;
    this.#spec.payload = new Uint8Array(SEGMENT).map((_, i) => (i * 31) & 0xff);
  }

  segment(transfer: Transfer, from: 0 | 1, flags: number, payload: number): void {
    if (this.#at + FRAME_ROOM > CHUNK) this.#flush();
    const spec = this.#spec;
    const micros = Math.floor((this.#frames / BYTES_PER_SECOND) * 1e6);
    spec.srcAt = from === 0 ? 0 : 4;
    spec.dstAt = 4 - spec.srcAt;
    spec.srcPort = from === 0 ? transfer.port : 443;
    spec.dstPort = from === 0 ? 443 : transfer.port;
    spec.seq = transfer.next[from];
    spec.ack = (flags & ACK) === 0 ? 0 : transfer.next[from === 0 ? 1 : 0];
    spec.flags = flags;
    spec.window = WINDOW;
    spec.tsVal = Math.floor(micros / 1_000);
    spec.tsEcr = spec.tsVal;
    const isSyn = (flags & SYN) !== 0;
    spec.mss = isSyn ? MSS : -1;
    spec.windowScale = isSyn ? 7 : -1;
    spec.sackPermitted = isSyn;
    spec.payloadTo = payload;
    const frame = this.#at + FORMATS[this.#format].packetHeader;
    this.#view.setUint32(frame + 12, 0x0800 << 16);
    const length = ETHERNET + emitTcp(this.#bytes, this.#view, frame + ETHERNET, spec);
    if (this.#format === 'pcap') {
      this.#words([Math.floor(micros / 1e6), micros % 1e6, length, length]);
      this.#at += length;
    } else {
      const block = FORMATS.pcapng.packetHeader + padded(length) + 4;
      this.#words([ENHANCED_PACKET, block, 0, Math.floor(micros / 2 ** 32), micros % 2 ** 32, length, length]);
      this.#at += padded(length);
      this.#words([block]);
    }
    this.#frames += length;
    this.packets++;
    transfer.next[from] = (transfer.next[from] + payload + (isSyn ? 1 : 0)) | 0;
  }

  #words(words: readonly number[]): void {
    for (const word of words) {
      this.#view.setUint32(this.#at, word, true);
      this.#at += 4;
    }
  }

  get size(): number {
    return this.written + this.#at;
  }

  end(): void {
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    for (let from = 0; from < this.#at; ) from += writeSync(this.#fd, this.#bytes, from, this.#at - from);
    this.written += this.#at;
    this.#at = 0;
  }
}

/**
 * Writes a capture of about `bytes` bytes.
 * @returns its size and the packets in it
 */
export function writeLargeCapture(
  path: string,
  format: CaptureFormat,
  bytes: number,
): { bytes: number; packets: number } {
  const writer = new CaptureWriter(path, format);
  const transfers: Transfer[] = Array.from({ length: FLOWS }, (_, i) => ({
    port: 40_000 + i,
    sender: i % 3 === 0 ? 0 : 1,
    next: [i * 1_000_003, i * 7_000_003],
  }));
  for (const transfer of transfers) {
    writer.segment(transfer, 0, SYN, 0);
    writer.segment(transfer, 1, SYN | ACK, 0);
    writer.segment(transfer, 0, ACK, 0);
  }
  for (let turn = 0; writer.size < bytes; turn++) {
    const transfer = transfers[turn % FLOWS]!;
    const { sender } = transfer;
    writer.segment(transfer, sender, ACK, SEGMENT);
    writer.segment(transfer, sender, ACK | PSH, SEGMENT);
    writer.segment(transfer, sender === 0 ? 1 : 0, ACK, 0);
  }
  writer.end();
  return { bytes: writer.written, packets: writer.packets };
}
