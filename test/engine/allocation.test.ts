/** The hot path allocates nothing (architecture, hot-path habits), and what it costs is printed. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { FORWARD } from '../../src/engine/engine.ts';
import { Conversation, PLAIN, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { watchedRig } from './detection-rig.ts';
import { Rig } from './rig.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const PACKETS = 100_000;

describe('100 000 forwarded packets', () => {
  it.each([
    { name: 'IPv4', variant: PLAIN, vnet: 0, gsoSize: 0, isWatched: false },
    { name: 'IPv4, every detector on', variant: PLAIN, vnet: 0, gsoSize: 0, isWatched: true },
    { name: 'IPv6', variant: VARIANTS[1]!, vnet: 0, gsoSize: 0, isWatched: false },
    { name: 'IPv4, super-packets of 16 000 bytes', variant: PLAIN, vnet: 10, gsoSize: SEGMENT, isWatched: false },
  ] as const)('$name: the heap grows by almost nothing', ({ name, variant, vnet, gsoSize, isWatched }) => {
    const options = { vnetHeaderLength: vnet, arenaBytes: 16 << 20 };
    const rig = isWatched ? watchedRig({}, options) : new Rig(options);
    const c = new Conversation(rig, variant).open();
    const size = gsoSize === 0 ? SEGMENT : 16 * SEGMENT;
    const data = c.bytes('near', { payload: stream(1, size), gsoSize });
    const acknowledgement = c.bytes('far', {});
    const tcpAt = vnet + (variant.family === 4 ? 20 : 40);
    const { engine, arena } = rig;
    const view = new DataView(arena.buffer);
    let now = rig.now;
    let sequence = (variant.nearIsn + 1) | 0;
    let forwarded = 0;
    let turns = 0;
    // Two data packets and one acknowledgement of all but the last two, as a receiver does. Sequence numbers are written into the
    // arena; the acknowledgement's checksum is kept right by hand, because one that advances is verified.
    const checkAt = tcpAt + 16;
    const fresh = new DataView(acknowledgement.buffer, acknowledgement.byteOffset);
    const base = ~fresh.getUint16(checkAt) & 0xffff;
    const old = fresh.getInt32(tcpAt + 8);
    const round = (): void => {
      for (let i = 0; i < 2; i++) {
        const at = engine.readOffset;
        arena.set(data, at);
        view.setInt32(at + tcpAt + 4, sequence);
        if (engine.handlePacket(at, data.length, now) === FORWARD) forwarded++;
        sequence = (sequence + size) | 0;
      }
      const at = engine.readOffset;
      arena.set(acknowledgement, at);
      const ack = (sequence - 2 * size) | 0;
      view.setInt32(at + tcpAt + 8, ack);
      let sum = base + (~old & 0xffff) + ((~old >>> 16) & 0xffff) + (ack & 0xffff) + ((ack >>> 16) & 0xffff);
      sum = (sum & 0xffff) + (sum >>> 16);
      sum = (sum & 0xffff) + (sum >>> 16);
      view.setUint16(at + checkAt, ~sum & 0xffff);
      if (engine.handlePacket(at, acknowledgement.length, now) === FORWARD) forwarded++;
      now += 30;
      // Deadlines are asked for once a turn, not once a packet.
      if (isWatched && ++turns % 20 === 0 && engine.pollTimeout() <= now) engine.handleTimeout(now);
    };
    const rounds = Math.ceil(PACKETS / 3);
    for (let i = 0; i < rounds; i++) round();
    let least = Number.POSITIVE_INFINITY;
    let fastest = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 4; attempt++) {
      collect();
      const before = process.memoryUsage().heapUsed;
      const started = performance.now();
      for (let i = 0; i < rounds; i++) round();
      fastest = Math.min(fastest, ((performance.now() - started) * 1e6) / (3 * rounds));
      least = Math.min(least, (process.memoryUsage().heapUsed - before) / (3 * rounds));
    }
    console.log(
      `engine, ${name}: ${fastest.toFixed(0)} ns and ${Math.max(0, least).toFixed(2)} bytes of heap per packet`,
    );
    expect(forwarded).toBe(5 * 3 * rounds);
    // All of it was tracked: nothing implausible, nothing untrusted.
    expect([rig.counter('outOfWindow'), rig.counter('unsound')]).toEqual([0, 0]);
    // A turn's look at the detectors' deadlines costs a little; an object per packet would cost 16 bytes and more.
    expect(least).toBeLessThan(isWatched ? 6 : 1);
  });
});
