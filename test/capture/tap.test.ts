/** The way of a packet from the engine through tap, ring and reader to a file, and back out of that file. */
import { describe, expect, test } from 'vitest';
import { COUNTER } from '../../src/base/counters.ts';
import { CaptureTaps } from '../../src/capture/capture-tap.ts';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from '../../src/capture/pcapng-blocks.ts';
import { PcapngWriter } from '../../src/capture/pcapng-writer.ts';
import { Ring } from '../../src/capture/ring.ts';
import { COUNT_ACCEPTED, COUNT_DROPPED, COUNT_SEEN, total } from '../../src/capture/ring-counters.ts';
import { RingReader } from '../../src/capture/ring-reader.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { verifyChecksums } from '../../src/wire/rewrite.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from '../engine/conversation.ts';
import { Rig, type RigOptions } from '../engine/rig.ts';
import { join, readAll } from './files.ts';

const LINKS = ['lan0', 'wan0'];
const INTERFACES = [...LINKS, 'tcpfreeze', 'tun0'].map((name) => ({ name, description: '' }));
const EPOCH = 1_800_000_000_123_000_000n;

interface Options {
  readonly filter?: string;
  readonly snapLength?: number;
  readonly ringBytes?: number;
  readonly rig?: RigOptions;
}

/** A bench whose engine is tapped. */
class Tapped {
  readonly rig: Rig;
  readonly taps: CaptureTaps;
  readonly memory: SharedArrayBuffer;
  readonly #snapLength: number;
  readonly #reader: RingReader;

  constructor({ filter = '', snapLength = 65_535, ringBytes = 1 << 20, rig = {} }: Options = {}) {
    this.rig = new Rig(rig);
    this.#snapLength = snapLength;
    const { engine, counters, outbox, config } = this.rig;
    this.taps = new CaptureTaps(engine, outbox.buffer, counters, config.vnetHeaderLength, () => this.rig.now);
    this.memory = Ring.allocate(ringBytes);
    this.taps.add({ id: 1, ring: this.memory, filter, snapLength, links: LINKS, epoch: 0 });
    const handle = engine.handlePacket.bind(engine);
    const poll = engine.pollTransmit.bind(engine);
    engine.handlePacket = (offset, length, now) => {
      const disposition = handle(offset, length, now);
      this.taps.handled(disposition);
      return disposition;
    };
    engine.pollTransmit = () => {
      const length = poll();
      if (length > 0) this.taps.transmitted(engine.transmitOffset, length);
      return length;
    };
    this.#reader = new RingReader(new Ring(this.memory), EPOCH);
  }

  /** What was captured since the last call, read back from the file. */
  packets() {
    const parts: Uint8Array[] = [];
    const write = (bytes: Uint8Array): void => void parts.push(bytes.slice());
    const writer = new PcapngWriter({ application: 'test' }, INTERFACES, this.#snapLength, write);
    while (this.#reader.drain(writer, 100) > 0);
    writer.flush();
    return readAll(join(parts));
  }

  count(counter: typeof COUNT_SEEN | typeof COUNT_ACCEPTED | typeof COUNT_DROPPED): number {
    return total(new Ring(this.memory).counters, counter);
  }
}

function actions(tapped: Tapped): string[] {
  return tapped.packets().map(({ interface: where, comment }) => {
    const action = /\[tcpfreeze fate=(\w+) action=([\w-]+)/.exec(comment ?? '');
    return `${where.name} ${action === null ? '-' : `${action[1]} ${action[2]}`}`;
  });
}

describe.each(VARIANTS)('$name', (variant) => {
  test('what is captured is what was written, each packet once, and tells what happened', () => {
    const tapped = new Tapped();
    const c = new Conversation(tapped.rig, variant).open();
    const [near, far] = variant.lost === 1 ? ['lan0', 'wan0'] : ['wan0', 'lan0'];
    // The handshake passed; each packet shows where it left.
    expect(actions(tapped).every((line) => line === 'lan0 -' || line === 'wan0 -')).toBe(true);
    c.data('near', 3);
    expect(actions(tapped)).toEqual([`${far} -`, `${far} -`, `${far} -`]);
    c.lose();
    tapped.rig.advance(12_000);
    const [frozen] = tapped.packets();
    expect(frozen!.interface.name).toBe('tcpfreeze');
    expect(frozen!.comment).toMatch(
      /^custody ACK: 3,000 bytes held, window 0; link \w+ lost now: no carrier \[tcpfreeze fate=made action=custody-ack flow=0\.1 phase=frozen custody=3000 reason="no carrier"\]$/,
    );
    // A probe below CE, and one more segment.
    c.send('near', { seq: 3 * SEGMENT });
    expect(actions(tapped)).toEqual([`${near} held probe`, 'tcpfreeze made probe-answer']);
    c.data('near', 1);
    expect(actions(tapped)).toEqual([`${near} held custody`, 'tcpfreeze made custody-ack']);
    c.restore();
    tapped.rig.advance(90_000);
    const thawed = tapped.packets();
    expect(new Set(thawed.map(({ interface: { name } }) => name))).toEqual(new Set(['tcpfreeze']));
    const words = thawed.map(({ comment }) => comment!);
    expect(words.some((one) => /^replay: 1,000 bytes delivered; 4,000 bytes in custody; link \w+ back/.test(one))).toBe(
      true,
    );
    expect(words.some((one) => one.startsWith('ACK sync'))).toBe(true);
    c.acknowledge('far');
    // The last acknowledgement passes as it is.
    expect(actions(tapped)).toEqual([`${near} -`]);
  });
});

describe('a capture', () => {
  test('has the very bytes, times, lengths and directions', () => {
    const tapped = new Tapped();
    const c = new Conversation(tapped.rig).open();
    tapped.packets();
    const bytes = c.bytes('near', { payload: stream(1, 500) });
    tapped.rig.now += 1_234;
    tapped.rig.packet(bytes);
    const [packet] = tapped.packets();
    expect([...packet!.bytes]).toEqual([...bytes]);
    expect(packet).toMatchObject({ originalLength: bytes.length, comment: null });
    const time = BigInt(packet!.seconds) * 1_000_000_000n + BigInt(packet!.nanos);
    expect(time).toBe(EPOCH + BigInt(tapped.rig.now) * 1_000n);
  });

  test('directions: out where it left, in where it was held', () => {
    const ringed = new Tapped();
    const seen: number[] = [];
    const writer = { frame: (...args: unknown[]) => void seen.push(args[7] as number) };
    const c = new Conversation(ringed.rig).open();
    c.data('near', 1);
    c.lose();
    c.send('near', { seq: SEGMENT });
    new RingReader(new Ring(ringed.memory), EPOCH).drain(writer as unknown as PcapngWriter, 100);
    expect(seen.slice(-4)).toEqual([DIRECTION_OUTBOUND, DIRECTION_OUTBOUND, DIRECTION_INBOUND, DIRECTION_OUTBOUND]);
  });

  test('keeps no more than the snap length and says how long packets were', () => {
    const tapped = new Tapped({ snapLength: 60 });
    const c = new Conversation(tapped.rig).open();
    tapped.packets();
    c.data('near', 2);
    for (const packet of tapped.packets()) {
      expect(packet.bytes.length).toBe(60);
      expect(packet.originalLength).toBe(20 + 32 + SEGMENT);
    }
  });

  test('a super-packet is captured whole, its checksum completed', () => {
    const tapped = new Tapped({ rig: { vnetHeaderLength: 10, arenaBytes: 16 << 20 } });
    const c = new Conversation(tapped.rig).open();
    tapped.packets();
    const sent = c.bytes('near', { payload: stream(1, 16_000), gsoSize: SEGMENT });
    tapped.rig.packet(sent);
    const [packet] = tapped.packets();
    expect(packet!.bytes.length).toBe(sent.length - 10);
    const decoder = new Packet();
    decoder.attach(packet!.bytes.slice().buffer as ArrayBuffer);
    expect(decoder.parse(0, packet!.bytes.length, 0)).toBe(KIND_TCP);
    expect(verifyChecksums(decoder)).toBe(true);
    expect([...packet!.bytes.subarray(decoder.payloadAt)]).toEqual([...stream(1, 16_000)]);
  });

  test('the filter decides, and both are counted', () => {
    const tapped = new Tapped({ filter: 'touched' });
    const c = new Conversation(tapped.rig).open();
    c.data('near', 2);
    c.lose();
    expect(actions(tapped)).toEqual(['tcpfreeze made custody-ack']);
    expect(tapped.count(COUNT_ACCEPTED)).toBe(1);
    expect(tapped.count(COUNT_SEEN)).toBeGreaterThan(4);
  });

  test('a full ring drops, counts, and says in the file where', () => {
    const tapped = new Tapped({ ringBytes: 1 << 16 });
    const c = new Conversation(tapped.rig).open();
    for (let i = 0; i < 100; i++) {
      c.data('near', 1);
      c.acknowledge('far');
    }
    const dropped = tapped.count(COUNT_DROPPED);
    expect(dropped).toBeGreaterThan(20);
    expect(tapped.rig.counters[COUNTER.captureDropped]).toBe(dropped);
    expect(tapped.packets().length).toBe(tapped.count(COUNT_ACCEPTED) - dropped);
    const seen: number[] = [];
    const writer = { frame: (...args: unknown[]) => void seen.push(args[9] as number) };
    c.data('near', 1);
    c.acknowledge('far');
    new RingReader(new Ring(tapped.memory), EPOCH).drain(writer as unknown as PcapngWriter, 100);
    expect(seen.reduce((sum, count) => sum + count, 0)).toBe(dropped);
  });

  test('what is no TCP, damaged or of no connection is captured, too', () => {
    const tapped = new Tapped();
    const junk = new Uint8Array(70).fill(0xee);
    tapped.rig.packet(junk);
    const [packet] = tapped.packets();
    expect(packet!.interface.name).toBe('tun0');
    expect([...packet!.bytes]).toEqual([...junk]);
  });

  test('ends when it is taken away, and a second one does not disturb the first', () => {
    const tapped = new Tapped();
    const other = Ring.allocate(1 << 16);
    tapped.taps.add({ id: 2, ring: other, filter: 'port 1', snapLength: 10, links: LINKS, epoch: 0 });
    const c = new Conversation(tapped.rig, PLAIN).open();
    expect(tapped.packets().length).toBe(3);
    expect(total(new Ring(other).counters, COUNT_ACCEPTED)).toBe(0);
    tapped.taps.remove(1);
    expect(tapped.taps.isActive).toBe(true);
    tapped.taps.remove(2);
    expect(tapped.taps.isActive).toBe(false);
    c.data('near', 1);
    expect(tapped.packets()).toEqual([]);
  });
});
