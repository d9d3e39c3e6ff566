import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Flow } from '../../src/flow/flow.ts';
import { FlowTable } from '../../src/flow/table.ts';
import { type PacketSketch, packetOf } from './packets.ts';

const KEY: readonly [number, number] = [0x1357_9bdf, 0x0246_8ace];

interface Pair {
  readonly family: 4 | 6;
  readonly src: readonly number[];
  readonly dst: readonly number[];
  readonly srcPort: number;
  readonly dstPort: number;
}

const reversed = (pair: Pair): Pair => ({
  ...pair,
  src: pair.dst,
  dst: pair.src,
  srcPort: pair.dstPort,
  dstPort: pair.srcPort,
});

/** The same for both directions. */
function nameOf(pair: Pair): string {
  const ends = [`${pair.src.join('.')}:${pair.srcPort}`, `${pair.dst.join('.')}:${pair.dstPort}`].sort();
  return `${pair.family} ${ends.join(' ')}`;
}

// Few addresses and ports, so that pairs meet again, collide and sit next to each other; extremes of the signed words included.
const word = fc.constantFrom(0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0x0a010002);
const port = fc.constantFrom(0, 1, 80, 0x7fff, 0x8000, 0xffff);
const pairs: fc.Arbitrary<Pair> = fc.constantFrom<4 | 6>(4, 6).chain((family) => {
  const address = fc.array(word, { minLength: family === 4 ? 1 : 4, maxLength: family === 4 ? 1 : 4 });
  return fc.record({ family: fc.constant(family), src: address, dst: address, srcPort: port, dstPort: port });
});

describe('flow table', () => {
  it('agrees with a Map under any schedule of creations, look-ups and removals, in both directions', () => {
    // Steps choose from a few pairs, so that the same one is met, removed and made again.
    const pool = fc.array(pairs, { minLength: 30, maxLength: 30 });
    const step = fc.record({
      which: fc.nat(29),
      action: fc.constantFrom('create', 'create', 'find', 'remove'),
      back: fc.boolean(),
    });
    fc.assert(
      fc.property(pool, fc.array(step, { maxLength: 120 }), fc.constantFrom(1, 7, 24), (known, steps, capacity) => {
        const table = new FlowTable(capacity, KEY);
        const twin = new Map<string, { flow: Flow; from: string }>();
        const fromOf = (pair: Pair): string => `${pair.src.join('.')}:${pair.srcPort}`;
        for (const { which, action, back } of steps) {
          const pair = known[which]!;
          const seen = back ? reversed(pair) : pair;
          const expected = twin.get(nameOf(pair));
          const found = table.find(packetOf(seen));
          expect(found).toBe(expected?.flow ?? null);
          if (expected !== undefined) {
            const isSelf = fromOf(seen) === fromOf(reversed(seen));
            expect(table.direction).toBe(isSelf || fromOf(seen) === expected.from ? 0 : 1);
          }
          if (action === 'create' && expected === undefined) {
            const flow = table.create(packetOf(seen), 5);
            if (twin.size === capacity) expect(flow).toBeNull();
            else {
              expect(flow).toMatchObject({ family: seen.family, originatorPort: seen.srcPort, createdAt: 5 });
              twin.set(nameOf(pair), { flow: flow!, from: fromOf(seen) });
            }
          } else if (action === 'remove' && expected !== undefined) {
            table.remove(expected.flow);
            expect(table.isLive(expected.flow)).toBe(false);
            twin.delete(nameOf(pair));
          }
          expect(table.size).toBe(twin.size);
        }
        const live = new Set<Flow>();
        table.forEach((flow) => {
          live.add(flow);
        });
        expect(live).toEqual(new Set([...twin.values()].map(({ flow }) => flow)));
      }),
      { numRuns: 150 },
    );
  });

  it('survives removal from the middle of a cluster that wraps around the end', () => {
    // A full table of 8 in 16 buckets has long clusters; every order of removal has to keep the others findable.
    const all: PacketSketch[] = Array.from({ length: 8 }, (_, i) => ({ srcPort: 5_000 + i }));
    for (let first = 0; first < 8; first++) {
      const table = new FlowTable(8, [first, 99]);
      const flows = all.map((sketch) => table.create(packetOf(sketch), 0)!);
      for (let n = 0; n < 8; n++) {
        table.remove(flows[(first + 3 * n) % 8]!);
        for (let m = n + 1; m < 8; m++) {
          const i = (first + 3 * m) % 8;
          expect(table.find(packetOf(all[i]!))).toBe(flows[i]);
        }
      }
      expect(table.size).toBe(0);
    }
  });

  it('gives a reused entry a new identity and a clean state', () => {
    const table = new FlowTable(1, KEY);
    const flow = table.create(packetOf({}), 1)!;
    const { id } = flow;
    flow.halves[0].sndNxt = 99;
    flow.halves[0].onRoundTrip(5_000, 10);
    flow.halves[1].onDelivered(1_000, 3_000_000);
    flow.halves[1].onDelivered(1_000_000, 3_500_000);
    flow.lostMask = 3;
    flow.near = 1;
    expect(table.byId(id)).toBe(flow);
    table.remove(flow);
    table.remove(flow);
    expect(table.size).toBe(0);
    expect(table.byId(id)).toBeNull();
    const again = table.create(packetOf({ srcPort: 7 }), 2)!;
    expect(again).toBe(flow);
    expect(again.id).not.toBe(id);
    expect(table.byId(id)).toBeNull();
    const fresh = new FlowTable(1, KEY).create(packetOf({ srcPort: 7 }), 2)!;
    fresh.generation = again.generation;
    expect(again).toEqual(fresh);
  });

  it.each(['', '0', '0.', '.1', '0.1x', '-1.1', '0.1.1', '99999999.1', '0.999999999999999', '0.0'])(
    'no flow has the identifier "%s"',
    (id) => {
      const table = new FlowTable(2, KEY);
      table.create(packetOf({}), 0);
      expect(table.byId(id)).toBeNull();
    },
  );

  it('the clock hand visits every flow once per round, also while they are removed', () => {
    const table = new FlowTable(10, KEY);
    for (let i = 0; i < 10; i++) table.create(packetOf({ srcPort: 100 + i }), 0);
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) table.sweep(2, (flow) => seen.push(flow.originatorPort));
    expect(seen).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
    table.sweep(1_000, (flow) => table.remove(flow));
    expect(table.size).toBe(0);
    table.sweep(1_000, () => expect.fail('nothing is left'));
  });

  it('forgets a connection of a host with itself, whichever port is the lower', () => {
    for (const [srcPort, dstPort] of [
      [3, 9],
      [9, 3],
      [0x8000, 0x7fff],
    ] as const) {
      const table = new FlowTable(4, KEY);
      const sketch = { src: [7], dst: [7], srcPort, dstPort };
      const flow = table.create(packetOf(sketch), 0)!;
      expect(table.find(packetOf({ ...sketch, srcPort: dstPort, dstPort: srcPort }))).toBe(flow);
      expect(table.direction).toBe(1);
      table.remove(flow);
      expect([table.size, table.find(packetOf(sketch))]).toEqual([0, null]);
    }
  });

  it('an IPv4 flow and an IPv6 flow of the same words are two', () => {
    const table = new FlowTable(4, KEY);
    const ports = { srcPort: 1, dstPort: 2 };
    const four = table.create(packetOf({ ...ports, src: [5], dst: [6] }), 0);
    expect(table.find(packetOf({ ...ports, family: 6, src: [5, 0, 0, 0], dst: [6, 0, 0, 0] }))).toBeNull();
    const six = table.create(packetOf({ ...ports, family: 6, src: [5, 0, 0, 0], dst: [6, 0, 0, 0] }), 0);
    expect(four).not.toBe(six);
    expect(table.find(packetOf({ ...ports, src: [5], dst: [6] }))).toBe(four);
    // The fourth word alone tells two IPv6 hosts apart.
    expect(table.find(packetOf({ ...ports, family: 6, src: [5, 0, 0, 1], dst: [6, 0, 0, 0] }))).toBeNull();
  });
});
