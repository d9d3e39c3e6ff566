/** Takes records out of a capture's ring and makes pcapng blocks of them, words included. */

import { finish, pseudoSum, sum16 } from '../wire/checksum.ts';
import { KIND_TCP, Packet, PROTOCOL_TCP } from '../wire/packet.ts';
import { TCP_CHECKSUM } from '../wire/tcp.ts';
import { commentOf, type Deed, type Fate, newDeed } from './narrator.ts';
import type { PcapngWriter } from './pcapng-writer.ts';
import * as record from './record.ts';
import type { Ring } from './ring.ts';
import { COUNT_ACCEPTED, COUNT_DROPPED, COUNT_SEEN, counterAt } from './ring-counters.ts';

const WORD = 0x1_0000_0000;
const FATES: readonly Fate[] = ['changed', 'changed', 'held', 'made'];
/** Largest IP packet that is whole (RFC 791 3.1). */
const PACKET_MAX = 65_535 + 40;

export class RingReader {
  readonly #ring: Ring;
  readonly #epochHigh: number;
  readonly #epochLow: number;
  readonly #epoch: bigint;
  readonly #texts: string[] = [''];
  readonly #deed: Deed = newDeed();
  readonly #scratch = new Uint8Array(PACKET_MAX);
  readonly #packet = new Packet();
  readonly #decoder = new TextDecoder();
  /** Of the newest record, microseconds since the epoch. */
  #latest = 0;
  /** Packets taken out so far. */
  packets = 0;

  /** @param epoch nanoseconds since 1970 that times in the ring count from */
  constructor(ring: Ring, epoch: bigint) {
    this.#ring = ring;
    this.#epoch = epoch;
    this.#epochHigh = Number(epoch >> 32n);
    this.#epochLow = Number(epoch & 0xffff_ffffn);
    this.#packet.attach(this.#scratch.buffer);
  }

  /** Wall-clock time of the newest record, nanoseconds since 1970. */
  get time(): bigint {
    return this.#epoch + BigInt(Math.round(this.#latest * 1_000));
  }

  /**
   * Writes what waits.
   * @param most records at a time
   * @returns how many there were
   */
  drain(writer: PcapngWriter, most: number): number {
    const ring = this.#ring;
    let count = 0;
    for (let type = ring.next(); type !== 0; type = ring.next()) {
      if (type === record.TEXT) this.#learn();
      else this.#write(writer, type);
      ring.release();
      if (++count === most) break;
    }
    if (count > 0) ring.giveBack();
    return count;
  }

  #learn(): void {
    const { words, bytes, at } = this.#ring;
    const from = at + record.TEXT_BYTES;
    // The decoder does not read shared memory.
    const text = bytes.slice(from, from + words[(at >> 2) + record.TEXT_LENGTH]!);
    this.#texts[words[(at >> 2) + record.TEXT_ID]!] = this.#decoder.decode(text);
  }

  #write(writer: PcapngWriter, type: number): void {
    const ring = this.#ring;
    const { words } = ring;
    const at = ring.at >> 2;
    const micros = ring.doubles[(ring.at + record.TIME) >> 3]!;
    this.#latest = micros;
    const nanos = Math.round(micros * 1_000);
    const place = words[at + record.PLACE]!;
    const kept = words[at + record.KEPT]!;
    const length = words[at + record.LENGTH]!;
    const low = this.#epochLow + (nanos % WORD);
    const high = this.#epochHigh + Math.floor(nanos / WORD) + (low >= WORD ? 1 : 0);
    const comment = type === record.TOLD ? this.#tell(at) : null;
    let bytes: Uint8Array = ring.bytes;
    let from = ring.at + (type === record.TOLD ? record.TOLD_BYTES : record.PLAIN_BYTES);
    if ((place & record.PARTIAL) !== 0 && kept <= PACKET_MAX) {
      this.#scratch.set(bytes.subarray(from, from + kept));
      this.#complete(kept);
      bytes = this.#scratch;
      from = 0;
    }
    const missing = words[at + record.MISSING]! >>> 0;
    writer.frame(place & 0xff, high, low >>> 0, bytes, from, kept, length, (place >> 8) & 0xff, comment, missing);
    this.packets += 1;
  }

  /** Sums what the sending kernel has left to a network card that never saw the packet. */
  #complete(length: number): void {
    const packet = this.#packet;
    if (packet.parse(0, length, 0) !== KIND_TCP) return;
    const { view, bytes, tcpAt, end } = packet;
    const pseudo = pseudoSum(bytes, packet.srcAt, packet.family, PROTOCOL_TCP, end - tcpAt);
    view.setUint16(tcpAt + TCP_CHECKSUM, 0);
    view.setUint16(tcpAt + TCP_CHECKSUM, finish(sum16(bytes, tcpAt, end, pseudo)));
  }

  #tell(at: number): string {
    const { words, doubles } = this.#ring;
    const deed = this.#deed;
    const flow = words[at + record.FLOW]!;
    const state = words[at + record.LOSS_STATE]!;
    deed.fate = FATES[(words[at + record.PLACE]! >> 16) & 0xf] ?? 'changed';
    deed.code = words[at + record.CODE]!;
    deed.flow = flow < 0 ? '' : `${flow}.${words[at + record.GENERATION]! >>> 0}`;
    deed.phase = words[at + record.PHASE]!;
    deed.custodyBytes = words[at + record.CUSTODY]! >>> 0;
    deed.value = words[at + record.VALUE]! >>> 0;
    deed.flags = words[at + record.FLAGS]!;
    deed.ack = words[at + record.ACK]!;
    deed.window = words[at + record.WINDOW]!;
    deed.payloadLength = words[at + record.PAYLOAD]!;
    deed.wasAck = words[at + record.WAS_ACK]!;
    deed.wasWindow = words[at + record.WAS_WINDOW]!;
    deed.lossName = state === 0 ? '' : (this.#texts[words[at + record.LOSS_NAME]!] ?? '');
    deed.lossReason = this.#texts[words[at + record.LOSS_REASON]!] ?? '';
    deed.isLost = state === record.LOST;
    deed.elapsed = doubles[((at << 2) + record.ELAPSED) >> 3]!;
    return commentOf(deed);
  }

  /** Counters of the interfaces as they are now: seen, accepted, dropped. */
  counts(interfaces: number): { received: number; accepted: number; dropped: number }[] {
    const { counters } = this.#ring;
    return Array.from({ length: interfaces }, (_, index) => ({
      received: counters[counterAt(COUNT_SEEN, index)]!,
      accepted: counters[counterAt(COUNT_ACCEPTED, index)]!,
      dropped: counters[counterAt(COUNT_DROPPED, index)]!,
    }));
  }
}
