/** A path that takes smaller packets after the outage: the delivery is cut anew (RFC 1191, RFC 8201). */
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/wire/address.ts';
import { Conversation, PLAIN, stream, VARIANTS, type Variant } from './conversation.ts';
import { Rig } from './rig.ts';

/** "Too big" from a router beyond the link, quoting a segment of the near endpoint with relative sequence number `seq`. */
function tooBig(c: Conversation, mtu: number, seq: number, bend: (bytes: Uint8Array) => void = () => {}): Uint8Array {
  const { family } = c.variant;
  const quoted = c.bytes('near', { seq, payload: stream(1, 8) });
  const header = family === 4 ? 20 : 40;
  const quote = quoted.subarray(0, header + 20);
  const bytes = new Uint8Array(header + 8 + quote.length);
  const view = new DataView(bytes.buffer);
  if (family === 4) {
    bytes.set([0x45, 0, 0, bytes.length, 0, 1, 0, 0, 64, 1]);
    bytes.set(parseAddress('203.0.113.1')!, 12);
    bytes.set(parseAddress(c.nearAddress)!, 16);
    bytes.set([3, 4], header);
    view.setUint16(header + 6, mtu);
  } else {
    bytes[0] = 0x60;
    view.setUint16(4, bytes.length - header);
    bytes.set([58, 64], 6);
    bytes.set(parseAddress('2001:db8::1')!, 8);
    bytes.set(parseAddress(c.nearAddress)!, 24);
    bytes.set([2, 0], header);
    view.setUint32(header + 4, mtu);
  }
  bytes.set(quote, header + 8);
  bend(bytes);
  return bytes;
}

function delivering(variant: Variant = PLAIN): Conversation {
  const c = new Conversation(new Rig(), { ...variant, mss: 1_460 }).open();
  c.data('near', 6, 1_400);
  c.lose();
  c.tick(2_000);
  c.rig.take();
  c.restore();
  c.tick(30);
  return c;
}

/** Replays bytes from `from` on, as one stream, and the largest piece. */
function replayed(c: Conversation): { largest: number; starts: number[] } {
  const sent = c.seen().filter((seen) => seen.to === 'far' && seen.payload.length > 0);
  return { largest: Math.max(0, ...sent.map((seen) => seen.payload.length)), starts: sent.map((seen) => seen.seq) };
}

const report = (c: Conversation, bytes: Uint8Array): void =>
  c.rig.event({ kind: 'icmp', name: c.variant.lost === 1 ? 'wan0' : 'lan0', bytes });

describe.each(VARIANTS.slice(0, 4))('$name', (variant) => {
  it('cuts everything that is not acknowledged to the size that fits, at once', () => {
    const c = delivering(variant);
    const before = replayed(c);
    expect(before.largest).toBe(1_400);
    report(c, tooBig(c, 1_280, 1));
    c.tick(400);
    const after = replayed(c);
    const headers = (variant.family === 4 ? 40 : 60) + (variant.timestamps ? 12 : 0);
    expect(after.starts[0]).toBe(1);
    expect(after.largest).toBeLessThanOrEqual(1_280 - headers);
    expect(c.rig.counter('recuts')).toBe(1);
    c.acknowledge('far');
    expect(c.rig.flow).toMatchObject({ phase: 'flowing', custodyBytes: 0 });
  });
});

describe('is not believed', () => {
  const lies: readonly (readonly [string, (c: Conversation) => Uint8Array])[] = [
    ['about bytes that are not in flight', (c) => tooBig(c, 600, 500_000)],
    ['about another far peer', (c) => tooBig(c, 600, 1, (bytes) => bytes.set([bytes[28 + 19]! ^ 1], 28 + 19))],
    ['about another far port', (c) => tooBig(c, 600, 1, (bytes) => bytes.set([bytes[28 + 23]! ^ 1], 28 + 23))],
    ['with an MTU below that of any link', (c) => tooBig(c, 40, 1)],
    ['of another code', (c) => tooBig(c, 600, 1, (bytes) => bytes.set([1], 21))],
    ['cut off', (c) => tooBig(c, 600, 1).subarray(0, 50)],
    ['that claims more room than there was', (c) => tooBig(c, 9_000, 1)],
  ];
  it.each(lies)('%s', (_, lie) => {
    const c = delivering();
    report(c, lie(c));
    expect(c.rig.counter('recuts')).toBe(0);
  });

  it('while nothing is being delivered', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    report(c, tooBig(c, 600, 1));
    expect(c.rig.counter('recuts')).toBe(0);
    expect(c.rig.flow.phase).toBe('flowing');
  });
});

describe('a path that swallows large packets without a word (RFC 2923)', () => {
  it('gets small ones after some timeouts of a far peer that answers', () => {
    const c = delivering();
    c.rig.take();
    // It is there: an old ACK comes again and again, and nothing gets through.
    for (let i = 0; i < 12; i++) {
      c.acknowledge('far', 1);
      c.tick(1_500);
    }
    const sizes = c.seen().filter((seen) => seen.to === 'far' && seen.payload.length > 0);
    expect(Math.max(...sizes.slice(-4).map((seen) => seen.payload.length))).toBe(500);
    c.acknowledge('far');
    expect(c.rig.flow.custodyBytes).toBe(0);
  });
});
