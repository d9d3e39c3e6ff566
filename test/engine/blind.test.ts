/** What somebody off-path can do who knows addresses and ports but no sequence number (RFC 5961): nothing. */
import { describe, expect, it } from 'vitest';
import { ACK, FIN, RST } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT } from './conversation.ts';
import { Rig } from './rig.ts';
import { ack, expectPacket, toNear, tsVal, window } from './seen.ts';

const FAR_AWAY = { seq: -100_000_000, ack: -1_000_000_000 };

describe('a segment from nowhere', () => {
  it.each([
    ['of the far peer', 'far', FAR_AWAY],
    ['of the far peer, with a good sequence number and an ancient ACK', 'far', { ack: -1_000_000_000 }],
    ['of the near endpoint', 'near', FAR_AWAY],
  ] as const)('%s moves neither clock nor window nor end', (_, side, place) => {
    const c = new Conversation(new Rig()).open();
    c.data('far', 1);
    c.acknowledge('near');
    const { said } = c.far;
    c.rig.packet(c.bytes(side, { ...place, flags: FIN | ACK, window: 65_535, ts: said + 1_000_000_000 }));
    c.rig.packet(c.bytes(side, { ...FAR_AWAY, flags: RST }));
    c.data('near', 2);
    c.lose();
    expectPacket(c.seen()[0], toNear, ack(1 + 2 * SEGMENT), window(0), tsVal(said));
    expect(c.rig.flow.custodyBytes).toBe(2 * SEGMENT);
  });

  it('cannot thaw, end or feed a frozen flow', () => {
    const c = new Conversation(new Rig()).open();
    c.data('near', 2);
    c.lose();
    c.rig.take();
    for (const flags of [ACK, FIN | ACK, RST]) {
      for (const side of ['near', 'far'] as const) {
        const bytes = c.bytes(side, { ...FAR_AWAY, flags, ts: c.far.said + 1_000_000_000 });
        expect(c.rig.packet(bytes).forwarded).toBeNull();
      }
    }
    expect(c.rig.flow).toMatchObject({ phase: 'frozen', custodyBytes: 2 * SEGMENT });
    for (const seen of c.seen()) expectPacket(seen, toNear, ack(1 + 2 * SEGMENT), window(0), tsVal(c.far.said));
  });
});
