/** Floods in the name of a passing connection: what cannot be of it is forwarded up to a rate, and beyond that dropped. */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { FORWARD } from '../../src/engine/engine.ts';
import { FORGERIES_PER_SECOND } from '../../src/engine/forgeries.ts';
import { ACK, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT, stream, VARIANTS } from './conversation.ts';
import { Rig } from './rig.ts';

const ONE_BYTE = Uint8Array.of(0x41);
/** Numbers that no tracked window is near to. */
const OFF = 1_000_000_000;
const FLOOD = 50_000;

/** One second of made-up segments; how many passed. */
function flood(c: Conversation, random: Prng, flags: number, payload?: Uint8Array): number {
  let passed = 0;
  for (let i = 0; i < FLOOD; i++) {
    const place = { seq: OFF + random.nextBelow(2 ** 31), ack: OFF + random.nextBelow(2 ** 31) };
    const bytes = c.bytes('near', { ...place, flags, ...(payload === undefined ? {} : { payload }) });
    if (c.rig.packet(bytes).disposition === FORWARD) passed++;
    if (i % 50 !== 49) continue;
    c.rig.advance(1_000);
    // The connection goes on meanwhile, and all of it passes.
    const { nxt } = c.near;
    const data = c.send('near', { payload: stream(nxt, SEGMENT) });
    const answer = c.send('far');
    if (!data.unchanged || !answer.unchanged) throw new Error(`a segment of the connection did not pass (${i})`);
  }
  return passed;
}

describe('a flood of segments that cannot be of a passing connection', () => {
  it.each(VARIANTS)('is cut to a rate, the connection itself passes: $name', (variant) => {
    const c = new Conversation(new Rig(), variant).open();
    const random = new Prng(11);
    const passed = flood(c, random, ACK, ONE_BYTE);
    // What was saved up, and what a second earns.
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThanOrEqual(2 * FORGERIES_PER_SECOND);
    expect(c.rig.counter('outOfWindow')).toBe(FLOOD);
    expect(c.rig.counter('dropped')).toBe(FLOOD - passed);
    const told = c.rig.events.filter(({ name }) => name === 'forgeries-dropped');
    expect(told).toHaveLength(1);
    // Probes and resets are no better.
    expect(flood(c, random, ACK)).toBeLessThanOrEqual(FORGERIES_PER_SECOND + 1);
    expect(flood(c, random, RST)).toBeLessThanOrEqual(FORGERIES_PER_SECOND + 1);
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('is forwarded as long as it is no flood', () => {
    const c = new Conversation(new Rig()).open();
    for (let i = 0; i < 3 * FORGERIES_PER_SECOND; i++) {
      expect(c.rig.packet(c.bytes('far', { seq: OFF + i, ack: OFF })).disposition).toBe(FORWARD);
      c.rig.advance(1_500);
    }
    expect(c.rig.counter('dropped')).toBe(0);
  });

  it('never cuts a connection that went on without the gateway: its segments follow one another', () => {
    const c = new Conversation(new Rig()).open();
    c.tick(2_000);
    // Half a gigabyte went another way; then 20,000 segments a second come by here.
    let seq = 500_000_000;
    for (let i = 0; i < 20_000; i++, seq += SEGMENT) {
      const data = c.rig.packet(c.bytes('near', { seq, payload: stream(seq, SEGMENT) }));
      const answer = c.rig.packet(c.bytes('far', { ack: seq + SEGMENT }));
      if (!data.unchanged || !answer.unchanged) throw new Error(`segment ${i} did not pass`);
      c.rig.advance(50);
    }
    expect(c.rig.counter('outOfWindow')).toBeGreaterThan(30_000);
  });

  it('lets every SYN pass: one may begin the next connection', () => {
    const c = new Conversation(new Rig()).open();
    const random = new Prng(5);
    flood(c, random, ACK);
    for (let i = 0; i < 2_000; i++) {
      const bytes = c.bytes('near', { seq: OFF + random.nextBelow(2 ** 31), flags: SYN });
      expect(c.rig.packet(bytes).disposition).toBe(FORWARD);
    }
  });
});
