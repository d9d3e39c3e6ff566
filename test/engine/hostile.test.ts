/**
 * Floods. Somebody off-path who knows addresses and ports tries a million segments of every kind against a frozen flow; somebody on-path
 * opens connections without end. Nothing thaws, ends or grows, what the flow holds is delivered afterwards, and nobody is sent
 * more than one small packet for each that came in.
 */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { ACK, FIN, PSH, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream } from './conversation.ts';
import { Rig } from './rig.ts';

const PACKETS = 1_000_000;
/** Largest answer: headers with timestamps; an ICMP error with its quote is no larger. */
const ANSWER_MAX = 120;
const KINDS = [RST, RST | ACK, FIN | ACK, ACK, ACK | PSH, SYN, SYN | ACK, 0, 511];
const PAYLOAD = new Uint8Array(400).fill(0x66);

/** Makes spoofed segments of one connection; sequence numbers are guesses. */
class Forger {
  readonly #random: Prng;
  readonly #spec = new TcpSpec();
  readonly #bytes = new Uint8Array(2_048);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #ends: readonly [readonly [number, number], readonly [number, number]];
  readonly #sack = new Int32Array(6);

  /** @param ends address word and port of the near endpoint and of the far peer */
  constructor(seed: number, ends: readonly [readonly [number, number], readonly [number, number]]) {
    this.#random = new Prng(seed);
    this.#ends = ends;
  }

  next(): Uint8Array {
    const random = this.#random;
    const spec = this.#spec;
    const from = random.nextBelow(2);
    const [source, target] = from === 0 ? this.#ends : [this.#ends[1], this.#ends[0]];
    spec.addresses[0] = source[0];
    spec.addresses[4] = target[0];
    spec.srcPort = source[1];
    spec.dstPort = target[1];
    spec.seq = random.nextUint32() | 0;
    spec.ack = random.nextUint32() | 0;
    spec.flags = KINDS[random.nextBelow(KINDS.length)]!;
    spec.window = random.nextBelow(3) === 0 ? 0 : random.nextBelow(65_536);
    spec.hasTs = random.nextBelow(2) === 0;
    spec.tsVal = random.nextUint32() | 0;
    spec.tsEcr = random.nextUint32() | 0;
    spec.sackCount = random.nextBelow(4);
    for (let i = 0; i < 6; i++) this.#sack[i] = random.nextUint32() | 0;
    spec.sack = this.#sack;
    spec.payload = PAYLOAD;
    spec.payloadTo = [0, 0, 1, 400][random.nextBelow(4)]!;
    const length = emitTcp(this.#bytes, this.#view, 0, spec);
    if (random.nextBelow(16) === 0) this.#bytes[length - 1]! ^= 0x55;
    return this.#bytes.subarray(0, length);
  }
}

/** As big-endian words. */
const NEAR = 0x0a01_0002;
const FAR = 0xc633_6409 | 0;

describe('a million spoofed segments', () => {
  it.each([
    ['with bytes in custody', 3, PACKETS],
    ['idle', 0, PACKETS / 5],
  ])('neither thaw, end nor feed a frozen flow: %s', (_, held, packets) => {
    const c = new Conversation(new Rig(), PLAIN).open();
    c.data('far', 2);
    c.acknowledge('near');
    c.data('near', 4);
    c.acknowledge('far');
    c.data('near', held);
    c.lose();
    c.rig.take();
    const before = c.rig.flow;
    const forger = new Forger(1, [
      [NEAR, c.parties.nearPort],
      [FAR, c.parties.farPort],
    ]);
    let answers = 0;
    for (let i = 0; i < packets; i++) {
      const outcome = c.rig.packet(forger.next());
      if (outcome.disposition === 0)
        throw new Error(`packet ${i} passed: ${Buffer.from(outcome.forwarded!).toString('hex')}`);
      const emitted = c.rig.take();
      if (emitted.length > 1 || (emitted[0]?.bytes.length ?? 0) > ANSWER_MAX)
        throw new Error(`packet ${i} was amplified`);
      answers += emitted.length;
    }
    expect(c.rig.flow).toEqual(before);
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: held * SEGMENT });
    expect(answers).toBeLessThan(packets);
    expect(c.rig.counter('flowsCreated')).toBe(1);
    expect(c.rig.counter('thaws')).toBe(0);
    // What was promised is kept: everything held reaches the far peer, unchanged.
    c.restore();
    c.tick(400);
    const delivered = new Uint8Array(held * SEGMENT);
    const start = 1 + 4 * SEGMENT;
    for (const seen of c.seen()) {
      if (seen.to === 'far')
        delivered.set(
          seen.payload.subarray(0, Math.max(0, delivered.length - (seen.seq - start))),
          Math.max(0, seen.seq - start),
        );
    }
    expect(delivered).toEqual(stream(start, held * SEGMENT));
  });

  it('to new ports leave an established flow its place and its custody', () => {
    const rig = new Rig({ maxFlows: 256 });
    const c = new Conversation(rig, PLAIN).open();
    c.data('near', 3);
    const random = new Prng(3);
    const spec = new TcpSpec();
    const memory = new Uint8Array(2_048);
    const view = new DataView(memory.buffer);
    for (let i = 0; i < PACKETS / 4; i++) {
      spec.addresses[0] = 0x0a01_0000 | random.nextBelow(65_536);
      spec.addresses[4] = random.nextUint32() | 0;
      spec.srcPort = 1 + random.nextBelow(65_535);
      spec.dstPort = 1 + random.nextBelow(65_535);
      spec.seq = random.nextUint32() | 0;
      spec.flags = random.nextBelow(3) > 0 ? SYN : ACK;
      spec.payload = PAYLOAD;
      spec.payloadTo = random.nextBelow(2);
      const length = emitTcp(memory, view, 0, spec);
      rig.packet(memory.subarray(0, length));
      if (i % 1_000 === 0) rig.advance(10_000);
    }
    const { flows } = statusOf(rig);
    expect(flows.total).toBeLessThanOrEqual(256);
    expect(rig.counter('flowsRefused') + rig.counter('flowsExpired')).toBeGreaterThan(0);
    // Who comes after the flood is served like before it.
    const late = new Conversation(rig, PLAIN, 40_001).open();
    expect(rig.flows().map(({ id }) => id)).toContain(late.id);
    c.lose();
    const flow = rig.flows().find(({ id }) => id === c.id);
    expect(flow).toMatchObject({ phase: 'frozen', custodyBytes: 3 * SEGMENT });
  });
});

function statusOf(rig: Rig) {
  const reply = rig.command({ kind: 'status' });
  if (reply.kind !== 'status') throw new Error('no status');
  return reply;
}
