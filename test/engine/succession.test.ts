/** The ports of a held connection are used again by its host (RFC 9293 3.6.1). */
import { describe, expect, it } from 'vitest';
import { ACK, FIN, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT } from './conversation.ts';
import { Rig } from './rig.ts';
import { expectPackets, flags, seq } from './seen.ts';

describe('ports that are used again during an outage', () => {
  it('after a reset: the far peer gets the RST, then the new SYN, and the new connection opens', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 1);
    c.lose();
    c.tick(1_000);
    c.fromNear({ flags: 0x14, seq: 1 + SEGMENT });
    c.tick(100);
    c.fromNear({ flags: SYN, seq: 900_000 });
    c.tick(3_000);
    c.fromNear({ flags: SYN, seq: 900_000, ts: 20_000 });
    c.rig.take();
    c.restore();
    c.tick(20);
    c.acknowledge('far', 1 + SEGMENT);
    const sent = c.seen().filter((seen) => seen.to === 'far' && (seen.flags & 0x06) !== 0);
    expectPackets(sent, [flags('R.'), seq(1 + SEGMENT)], [flags('S'), seq(900_000)]);
    c.send('far', { flags: SYN | ACK, seq: 700, ack: 900_001 });
    c.fromNear({ seq: 900_001, ack: 701 });
    expect(c.rig.flow.phase).toBe('flowing');
  });

  it('while the connection is alive somebody else’s SYN is not believed', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    c.fromNear({ flags: SYN, seq: 900_000 });
    c.rig.take();
    c.restore();
    c.tick(200);
    expect(c.seen().filter((seen) => (seen.flags & SYN) !== 0)).toEqual([]);
  });

  it('a FIN in custody, and the socket is forgotten meanwhile: no RST follows the FIN', () => {
    const c = new Conversation(new Rig()).open();
    c.lose();
    c.fromNear({ flags: FIN | ACK });
    c.tick(60_000);
    // FIN-WAIT-2 has timed out; the refresh is answered by a kernel that knows nothing.
    c.rig.take();
    c.fromNear({ flags: 0x04, seq: 2 });
    c.restore();
    c.tick(20);
    c.acknowledge('far', 2);
    const sent = c.seen().filter((seen) => seen.to === 'far');
    expect(sent.some((seen) => (seen.flags & FIN) !== 0)).toBe(true);
    expect(sent.some((seen) => (seen.flags & 0x04) !== 0)).toBe(false);
  });
});
