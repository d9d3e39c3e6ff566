/** Found by thinking as an adversary, mended since: scopes over both ends, both sides lost, forged options, Karn, Eifel. */
import { describe, expect, it } from 'vitest';
import { Half } from '../../src/flow/half.ts';
import { Arena } from '../../src/freeze/arena.ts';
import { Packet } from '../../src/wire/packet.ts';
import { ACK, FIN } from '../../src/wire/tcp-flags.ts';
import { write } from '../flow/packets.ts';
import { Conversation, SEGMENT, stream } from './conversation.ts';
import { LAN, Rig, WAN } from './rig.ts';
import { ack, expectPacket, flags, toNear, window } from './seen.ts';

describe('a commanded scope that covers both ends', () => {
  it.each([
    ['everything', { kind: 'all' }],
    ['a prefix', { kind: 'prefix', prefix: '0.0.0.0/0' }],
  ] as const)('(%s) holds the LAN host (U16)', (_, selector) => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 3);
    c.rig.take();
    c.rig.command({ kind: 'freeze', selector });
    c.tick(10);
    const told = c.seen().find((seen) => seen.to === 'near');
    expectPacket(told, toNear, flags('.'), ack(1 + 3 * SEGMENT), window(0));
  });
});

describe('handback', () => {
  it('while the near side is lost writes nothing towards it (U17)', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 3);
    c.rig.link(WAN, false);
    c.rig.link(LAN, false);
    c.tick(1_000);
    c.rig.link(WAN, true);
    c.tick(20);
    c.rig.take();
    const outcome = c.fromFar({ ack: 1 + SEGMENT, payload: stream(1, 100) });
    expect(outcome.forwarded).toBeNull();
    c.tick(1_000);
    expect(c.seen().filter((seen) => seen.to === 'near')).toEqual([]);
  });

  it('fits the MTU of the link that came back (U18)', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 4);
    c.lose();
    c.tick(100);
    c.rig.event({ kind: 'interface', name: 'wan0', index: 3, up: true, carrier: true, operState: 6, mtu: 600 });
    c.tick(300);
    for (const { bytes } of c.rig.take()) expect(bytes.length).toBeLessThanOrEqual(600);
  });

  it('that brings the last ACK of a connection ends it (U19)', () => {
    const c = new Conversation(new Rig()).open();
    c.fromFar({ flags: FIN | ACK });
    c.data('near', 1);
    c.fromNear({ flags: FIN | ACK });
    c.lose();
    c.tick(1_000);
    c.restore();
    c.tick(20);
    c.acknowledge('far');
    expect(c.rig.flow.phase).toBe('closing');
  });
});

describe('a blind segment', () => {
  it.each([19, 29, 30])('with option %i takes no protection away (U20)', (kind) => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    const bend = (bytes: Uint8Array): void => {
      bytes[42] = kind;
    };
    c.rig.packet(c.bytes('far', { seq: -100_000_000, ack: -1_000_000_000, bend }));
    expect(c.rig.flow.phase).toBe('flowing');
  });
});

describe('arena', () => {
  function retained(segments: readonly (readonly [seq: number, length: number, ts: number, at: number])[]): {
    half: Half;
    arena: Arena;
  } {
    const half = new Half();
    const buffer = new ArrayBuffer(100_000);
    const arena = new Arena(buffer, 1_000);
    const packet = new Packet();
    packet.attach(buffer);
    for (const [seq, payload, ts, at] of segments) {
      const length = write({ seq, payload, ts: [ts, 1] }, arena.bytes, arena.readOffset);
      packet.parse(arena.readOffset, length, 0);
      half.sndNxt = Math.max(half.sndNxt, seq + payload);
      arena.retain(half, packet, at);
    }
    return { half, arena };
  }

  it('takes no round trip from an ACK of exactly what was out at the retransmission (U21, Karn)', () => {
    const { half, arena } = retained([
      [0, 100, 1, 1_000],
      [0, 100, 2, 90_000],
    ]);
    arena.release(half, 100, 91_000);
    expect(half.srtt).toBe(0);
  });

  it('tells the TSval of the first transmission after a larger retransmission, too (U22)', () => {
    const { half, arena } = retained([
      [0, 100, 70, 1],
      [100, 100, 71, 2],
      [0, 250, 99, 3],
    ]);
    arena.release(half, 100, 100);
    expect(arena.firstTsVal(half, 100, -1)).toBe(71);
  });
});
