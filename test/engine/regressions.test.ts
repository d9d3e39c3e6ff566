/** Defects that were found once, each in the smallest story that shows it. */
import { describe, expect, it } from 'vitest';
import { ACK, FIN, PSH, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN, SEGMENT, stream } from './conversation.ts';
import { LAN, Rig, WAN } from './rig.ts';
import { ack, expectPacket, flags, seq, toFar, toNear, window } from './seen.ts';

describe('a handshake that completes into an outage', () => {
  function opened(): Conversation {
    const c = new Conversation(new Rig());
    c.fromNear({ flags: SYN });
    c.tick(10);
    c.fromFar({ flags: SYN | ACK });
    c.lose();
    c.fromNear();
    return c;
  }

  it('is frozen like any flow', () => {
    const c = opened();
    expect(c.rig.flow.phase).toBe('frozen');
    expectPacket(c.seen().at(-1), toNear, flags('.'), ack(1), window(0));
  });

  it('is ordinary after link-up and freezes again the next time', () => {
    const c = opened();
    c.restore();
    c.tick(100);
    c.data('near', 1);
    c.acknowledge('far');
    c.tick(10);
    expect(c.rig.flow.phase).toBe('flowing');
    c.lose();
    expect(c.rig.flow.phase).toBe('frozen');
  });

  it('is frozen too when the SYN-ACK was the last to get through', () => {
    const c = new Conversation(new Rig(), { ...PLAIN, opener: 'far' });
    c.fromFar({ flags: SYN });
    c.fromNear({ flags: SYN | ACK });
    c.lose();
    c.tick(10);
    expect(c.fromFar().disposition).toBe(0);
    expect(c.rig.flow.phase).toBe('frozen');
    c.fromNear({ payload: stream(1, SEGMENT) });
    expectPacket(c.seen().at(-1), toNear, ack(1 + SEGMENT), window(0));
  });
});

describe('bypassed connections', () => {
  it('do not stay in the table for ever, also when admitted during an outage', () => {
    const c = new Conversation(new Rig());
    c.lose();
    c.fromNear({
      flags: SYN,
      bend: (bytes) => {
        bytes[40] = 30;
      },
    });
    expect(c.rig.flow).toMatchObject({ phase: 'bypass', bypassReason: 'mptcp' });
    c.restore();
    c.rig.advance(1_000e6);
    expect(c.rig.flows()).toEqual([]);
  });
});

describe('resets', () => {
  it('of a sender that sees custody being acknowledged bit by bit carry the ACK it was shown', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.tick(30);
    c.acknowledge('far');
    c.data('near', 20);
    c.lose();
    const shown = c.seen().at(-1)!;
    expect(shown.ack).toBeLessThan(c.near.nxt);
    c.fromNear({ flags: RST, seq: shown.ack });
    c.tick(60_000);
    expect(c.seen()).toEqual([]);
    c.restore();
    c.tick(50);
    c.acknowledge('far');
    expectPacket(c.seen().at(-1), toFar, flags('R.'), seq(c.near.nxt));
  });

  it('end a wake-up that is under way', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    c.tick(1_000);
    c.restore();
    c.tick(1);
    c.fromNear({ flags: RST });
    c.rig.take();
    c.tick(5_000);
    expect(c.seen()).toEqual([]);
  });
});

describe('damaged segments', () => {
  it('an ACK with a wrong checksum passes and releases nothing', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 3);
    const damaged = c.fromFar({
      ack: 1 + 2 * SEGMENT,
      bend: (bytes) => {
        bytes[36]! ^= 0x55;
      },
    });
    expect(damaged.unchanged).toBe(true);
    c.lose();
    expect(c.rig.flow.custodyBytes).toBe(3 * SEGMENT);
  });

  it('a FIN that may never have been one is not acknowledged', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.lose();
    c.fromNear({
      flags: FIN | ACK | PSH,
      bend: (bytes) => {
        bytes[36]! ^= 1;
      },
    });
    c.fromNear({ seq: 1, payload: stream(1, SEGMENT) });
    for (const seen of c.seen()) expect(seen.ack).toBe(1 + SEGMENT);
    expect(c.rig.counter('unsound')).toBe(1);
  });

  it('data with a wrong checksum is never taken into custody', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.fromNear({
      payload: stream(1 + SEGMENT, SEGMENT),
      bend: (bytes) => {
        bytes[bytes.length - 1]! ^= 0xff;
      },
    });
    c.lose();
    expect(c.rig.flow.custodyBytes).toBe(SEGMENT);
    // The sender's own retransmission fills the gap.
    c.fromNear({ seq: 1 + SEGMENT, payload: stream(1 + SEGMENT, SEGMENT) });
    expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT);
    expectPacket(c.seen().at(-1), toNear, ack(1 + 2 * SEGMENT), window(0));
  });
});

describe('ports that are used again', () => {
  it('after an end that was not seen belong to the new connection once the other side agrees', () => {
    const c = new Conversation(new Rig()).open();
    const next = new Conversation(c.rig, { ...PLAIN, nearIsn: 77_000_000, farIsn: 5 }).open();
    next.data('near', 2);
    next.lose();
    expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT);
    expectPacket(next.seen().at(-1), toNear, ack(1 + 2 * SEGMENT), window(0));
  });

  it('a stray SYN alone ends nothing', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.rig.packet(c.bytes('near', { flags: SYN, seq: 9_999_999 }));
    c.rig.packet(c.bytes('far', { flags: SYN | ACK, seq: 123, ack: 555 }));
    c.lose();
    expectPacket(c.seen().at(-1), toNear, ack(1 + SEGMENT), window(0));
  });
});

describe('simultaneous open', () => {
  it('settles the options like any handshake', () => {
    const c = new Conversation(new Rig());
    const withoutTimestamps = (bytes: Uint8Array): void => {
      bytes.fill(1, 48, 60);
      // The segment must stay sound: the checksum is made anew from the difference.
      fixChecksum(bytes);
    };
    c.fromNear({ flags: SYN });
    c.fromFar({ flags: SYN, bend: withoutTimestamps });
    c.fromNear({ flags: SYN | ACK, seq: 0, ack: 1 });
    c.fromFar({ flags: SYN | ACK, seq: 0, ack: 1, bend: withoutTimestamps });
    c.data('near', 1);
    c.lose();
    expectPacket(c.seen().at(-1), toNear, ack(1 + SEGMENT), window(0), (seen) =>
      seen.tsVal === null ? null : 'carries timestamps',
    );
  });
});

describe('both sides lost', () => {
  it('who comes back first is told at once', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.rig.link(WAN, false);
    c.rig.link(LAN, false);
    c.rig.take();
    c.tick(100);
    c.rig.link(LAN, true);
    c.tick(60_000);
    expectPacket(c.seen()[0], toNear, ack(1 + 2 * SEGMENT), window(0));
    expect(c.rig.flow.phase).toBe('frozen');
    expect(c.rig.counter('thaws')).toBe(0);
  });
});

/** Writes the right TCP checksum into an IPv4 packet without IP options. */
function fixChecksum(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(36, 0);
  let sum = 6 + bytes.length - 20;
  for (let i = 12; i < bytes.length; i += 2)
    sum += view.getUint8(i) * 256 + (i + 1 < bytes.length ? view.getUint8(i + 1) : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(36, ~sum & 0xffff);
}
