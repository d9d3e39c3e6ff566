/** A flood of new connections: who shows a second segment is tracked, with everything that the handshake told. */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { FORWARD } from '../../src/engine/engine.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, SHIFT, VARIANTS } from './conversation.ts';
import { Rig, type RigOptions } from './rig.ts';
import { ack, expectPacket, toNear, window } from './seen.ts';

const FLOWS = 4_096;
const PER_SECOND = 100;

/** A bench in the middle of a flood: nobody may enter at once. */
function crowded(options: RigOptions = {}): Rig {
  const rig = new Rig({ maxFlows: FLOWS, newcomersPerSecond: PER_SECOND, ...options });
  flood(rig, 4 * PER_SECOND, SYN);
  return rig;
}

/** Made-up first segments, all at once. */
function flood(rig: Rig, packets: number, flags: number, seed = 3): void {
  const random = new Prng(seed);
  const spec = new TcpSpec();
  const memory = new Uint8Array(256);
  const view = new DataView(memory.buffer);
  spec.vnetLength = rig.config.vnetHeaderLength;
  for (let i = 0; i < packets; i++) {
    spec.addresses[0] = 0x0a01_0000 | random.nextBelow(65_536);
    spec.addresses[4] = random.nextUint32() | 0;
    spec.srcPort = 1 + random.nextBelow(65_535);
    spec.dstPort = 1 + random.nextBelow(65_535);
    spec.seq = random.nextUint32() | 0;
    spec.ack = (flags & ACK) === 0 ? 0 : random.nextUint32() | 0;
    spec.flags = flags;
    const length = emitTcp(memory, view, 0, spec);
    if (rig.packet(memory.subarray(0, length)).disposition !== FORWARD) throw new Error(`packet ${i} did not pass`);
  }
}

describe('in a flood of new connections', () => {
  it.each([SYN, ACK])('first segments are forwarded and take no place (flags %i)', (flags) => {
    const rig = crowded();
    const before = rig.flows().length;
    flood(rig, 20_000, flags, 9);
    expect(rig.flows()).toHaveLength(before);
    expect(rig.counter('newcomersDeferred')).toBe(20_000);
    expect(rig.events.filter(({ name }) => name === 'newcomers-deferred')).toHaveLength(1);
  });

  it.each(VARIANTS)('a connection that opens is held like every other: $name', (variant) => {
    for (const vnetHeaderLength of [0, 10] as const) {
      const rig = crowded({ vnetHeaderLength });
      const c = new Conversation(rig, variant).open();
      expect(rig.counter('newcomersDeferred')).toBe(1);
      c.data('near', 4);
      c.lose();
      const flow = rig.flows().find(({ id }) => id === c.id);
      // Its originator and what the SYNs agreed on are known: it is no connection that was found in the middle.
      expect(flow).toMatchObject({ phase: 'frozen', custodyBytes: 4 * SEGMENT, windowScales: [SHIFT, SHIFT] });
      expectPacket(c.seen().at(-1), toNear, ack(1 + 4 * SEGMENT), window(0));
    }
  });

  it('a SYN that is repeated, and one that meets its answer late, keep their turn', () => {
    const rig = crowded();
    const c = new Conversation(rig, PLAIN);
    for (let i = 0; i < 3; i++) c.send('near', { flags: SYN, seq: 0 });
    // As many others as would fill the gateway's table twice.
    flood(rig, 1_000, SYN, 23);
    c.near.nxt = 1;
    c.send('far', { flags: SYN | ACK });
    c.send('near');
    expect(rig.flows().find(({ id }) => id === c.id)).toMatchObject({ phase: 'flowing', windowScales: [SHIFT, SHIFT] });
  });

  it('a SYN-ACK that answers another SYN lets nobody in under its name', () => {
    const rig = crowded();
    const c = new Conversation(rig, PLAIN);
    c.send('near', { flags: SYN });
    c.send('far', { flags: SYN | ACK, ack: 777 });
    expect(rig.flows().find(({ id }) => id === c.id)).toMatchObject({ windowScales: [null, null] });
  });

  it('a connection in its middle is tracked from its second segment on', () => {
    const rig = crowded();
    const c = new Conversation(rig, PLAIN);
    c.near.nxt = 5_000;
    c.far.nxt = 7_000;
    const before = rig.flows().length;
    c.data('near');
    expect(rig.flows()).toHaveLength(before);
    c.acknowledge('far');
    expect(rig.flows().find(({ id }) => id === c.id)).toMatchObject({ windowScales: [null, null] });
  });

  it('everybody is tracked at once while anything is lost', () => {
    const rig = crowded();
    rig.link(PLAIN.lost, false);
    const c = new Conversation(rig, PLAIN);
    c.send('near', { flags: SYN });
    expect(rig.counter('newcomersDeferred')).toBe(0);
    expect(rig.flows().find(({ id }) => id === c.id)).toMatchObject({ phase: 'opening' });
  });

  it('ends by itself: as soon as fewer come, newcomers enter again', () => {
    const rig = crowded();
    flood(rig, 500, SYN, 5);
    rig.advance(1_000_000);
    const deferred = rig.counter('newcomersDeferred');
    new Conversation(rig, PLAIN).open();
    expect(rig.counter('newcomersDeferred')).toBe(deferred);
  });
});
