import { describe, expect, it } from 'vitest';
import type { Flow } from '../../src/flow/flow.ts';
import { BYPASS, CLOSING, FLOWING, OPENING } from '../../src/flow/phase.ts';
import { FlowTable } from '../../src/flow/table.ts';
import {
  ADVANCED_ACK,
  ADVANCED_DATA,
  IMPLAUSIBLE,
  isBypassed,
  isExactReset,
  isFinished,
  isInWindow,
  lastTracked,
  STALE_SEQ,
  track,
  UPDATED_WINDOW,
} from '../../src/flow/tracker.ts';
import { ACK, AE, CWR, ECE, FIN, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { type PacketSketch, packetOf } from './packets.ts';

class Bench {
  readonly flow: Flow;
  readonly isn: readonly [number, number];
  now = 1_000;

  constructor(isn: readonly [number, number] = [1_000, 2_000]) {
    this.isn = isn;
    this.flow = new FlowTable(1, [1, 2]).create(packetOf({}), 0)!;
  }

  /** Relative sequence numbers; 0 is the SYN. */
  send(direction: 0 | 1, { seq = 1, ack = 1, flags = ACK, ...rest }: PacketSketch): number {
    const own = this.isn[direction];
    const other = this.isn[direction === 0 ? 1 : 0];
    const ackField = (flags & ACK) === 0 ? 0 : (other + ack) | 0;
    this.now += 1_000;
    return track(this.flow, direction, packetOf({ ...rest, flags, seq: (own + seq) | 0, ack: ackField }), this.now);
  }

  open(syn: PacketSketch = {}, synAck: PacketSketch = {}): this {
    this.send(0, {
      flags: SYN,
      seq: 0,
      windowScale: 3,
      sackPermitted: true,
      mss: 1_460,
      ts: [10, 0],
      window: 64_000,
      ...syn,
    });
    this.send(1, {
      flags: SYN | ACK,
      seq: 0,
      windowScale: 2,
      sackPermitted: true,
      mss: 1_400,
      ts: [900, 10],
      window: 60_000,
      ...synAck,
    });
    this.send(0, { ts: [11, 900], window: 8_000 });
    return this;
  }

  /** Relative values of what half `h` sends and receives. */
  state(h: 0 | 1): { sndNxt: number; rcvNxt: number; rightEdge: number } {
    const half = this.flow.halves[h];
    const other = this.isn[h === 0 ? 1 : 0];
    return {
      sndNxt: (half.sndNxt - this.isn[h]) | 0,
      rcvNxt: (half.rcvNxt - other) | 0,
      rightEdge: (half.rightEdge - other) | 0,
    };
  }
}

const circles: readonly (readonly [string, readonly [number, number]])[] = [
  ['anywhere', [1_000, 2_000]],
  ['across 2^32', [-1_300, -2]],
  ['across 2^31', [0x7fff_ffff - 1_300, 0x7fff_fffe]],
];

describe('handshake', () => {
  it.each(circles)('sets every variable (%s)', (_, isn) => {
    const bench = new Bench(isn);
    expect(bench.flow.phase).toBe(OPENING);
    bench.open();
    expect(bench.flow.phase).toBe(FLOWING);
    expect(bench.flow.halves[0]).toMatchObject({
      rcvWndShift: 3,
      mss: 1_460,
      sackPermitted: true,
      timestamps: true,
      tsVal: 11,
    });
    expect(bench.flow.halves[1]).toMatchObject({ rcvWndShift: 2, mss: 1_400, rcvWnd: 15_000, tsVal: 900 });
    expect(bench.state(0)).toEqual({ sndNxt: 1, rcvNxt: 1, rightEdge: 1 + 64_000 });
    // The window of the SYN-ACK is not scaled (RFC 7323 2.2).
    expect(bench.state(1)).toEqual({ sndNxt: 1, rcvNxt: 1, rightEdge: 1 + 60_000 });
  });

  const noOption = { windowScale: -1, sackPermitted: false, ts: undefined };
  it.each([
    ['the responder does not know them', {}, noOption],
    ['the originator did not offer them', noOption, {}],
    ['neither has them', noOption, noOption],
  ])('an option of one side alone is off: %s', (_, syn, synAck) => {
    const bench = new Bench().open(syn, synAck);
    for (const half of bench.flow.halves) {
      expect(half).toMatchObject({ rcvWndShift: 0, sackPermitted: false, timestamps: false });
    }
    expect(bench.flow.halves[1].rcvWnd).toBe(60_000);
  });

  it('a shift of zero is still scaling, and differs from none', () => {
    const bench = new Bench().open({ windowScale: 0 }, { windowScale: 7 });
    expect([bench.flow.halves[0].rcvWndShift, bench.flow.halves[1].rcvWndShift]).toEqual([0, 7]);
  });

  it('a repeated SYN undoes nothing', () => {
    const bench = new Bench();
    bench.open({}, { ts: undefined, windowScale: -1 });
    const before = structuredClone(bench.flow.halves.map((half) => ({ ...half })));
    const again = new Bench();
    again.send(0, { flags: SYN, seq: 0, windowScale: 3, sackPermitted: true, ts: [10, 0], mss: 1_460 });
    again.send(1, { flags: SYN | ACK, seq: 0, window: 60_000, sackPermitted: true, mss: 1_400 });
    again.send(0, { flags: SYN, seq: 0, windowScale: 3, sackPermitted: true, ts: [10, 0], mss: 1_460 });
    again.send(0, { window: 8_000 });
    expect(again.flow.halves.map(({ rcvWndShift, timestamps }) => [rcvWndShift, timestamps])).toEqual(
      before.map(({ rcvWndShift, timestamps }) => [rcvWndShift, timestamps]),
    );
    expect(again.flow.halves[0].rcvWndShift).toBe(0);
  });

  it('a new SYN with another number, before any answer, starts afresh', () => {
    const bench = new Bench();
    bench.send(0, { flags: SYN, seq: 0 });
    bench.send(0, { flags: SYN, seq: 5_000_000 });
    expect(bench.send(1, { flags: SYN | ACK, seq: 0, ack: 5_000_001 }) & IMPLAUSIBLE).toBe(0);
    expect(bench.state(1).rcvNxt).toBe(5_000_001);
  });

  it.each([
    ['nothing was opened', 1, true],
    ['it acknowledges more than the SYN', 2, false],
    ['it acknowledges what was never sent', 1_000_000, false],
  ])('a SYN-ACK is not believed when %s', (_, ack, alone) => {
    const bench = new Bench();
    if (!alone) bench.send(0, { flags: SYN, seq: 0 });
    expect(bench.send(1, { flags: SYN | ACK, seq: 0, ack })).toBe(IMPLAUSIBLE);
  });

  it('a SYN in the middle of a connection leaves no mark', () => {
    const bench = new Bench().open();
    const before = bench.state(0);
    expect(bench.send(0, { flags: SYN, seq: 0, windowScale: 14 })).toBe(IMPLAUSIBLE);
    expect(bench.send(1, { flags: SYN | ACK, seq: 77, ack: 1 })).toBe(IMPLAUSIBLE);
    expect(bench.state(0)).toEqual(before);
    expect(bench.flow.halves[0].rcvWndShift).toBe(3);
  });

  const classic = ECE | CWR;
  it.each([
    [SYN | AE | classic, CWR, true],
    [SYN | AE | classic, AE, true],
    [SYN | AE | classic, AE | CWR, true],
    [SYN | AE | classic, 0, false],
    [SYN | AE | classic, ECE, false],
    [SYN | AE | classic, AE | ECE, false],
    [SYN | classic, ECE, false],
    [SYN, 0, false],
  ])('AccECN: SYN %i answered with %i', (syn, synAck, accurate) => {
    const bench = new Bench().open({ flags: syn }, { flags: SYN | ACK | synAck });
    expect(bench.flow.halves.map((half) => half.accurateEcn)).toEqual([accurate, accurate]);
    bench.send(1, { flags: ACK | ECE | CWR });
    expect(bench.flow.halves[1].aceFlags).toBe(accurate ? ECE | CWR : 0);
  });
});

describe('data and acknowledgements', () => {
  it.each(circles)('move their variables, and repetitions do not (%s)', (_, isn) => {
    const bench = new Bench(isn).open();
    const window = 8_000;
    expect(bench.send(0, { payload: 1_000, window })).toBe(ADVANCED_DATA);
    expect(bench.send(0, { payload: 1_000, window })).toBe(0);
    expect(bench.send(0, { seq: 1_001, payload: 500, window })).toBe(ADVANCED_DATA);
    expect(bench.send(1, { ack: 1_001, window: 15_000 })).toBe(ADVANCED_ACK);
    expect(lastTracked.acked).toBe(1_000);
    expect(bench.send(1, { ack: 1_001, window: 14_000 })).toBe(UPDATED_WINDOW);
    expect(bench.state(0).sndNxt).toBe(1_501);
    expect(bench.state(1)).toMatchObject({ rcvNxt: 1_001, rightEdge: 1_001 + 60_000 });
    expect(bench.send(1, { ack: 1, window: 14_000 })).toBe(0);
    expect(bench.state(1).rcvNxt).toBe(1_001);
  });

  it('an ACK of what was not sent, and data far outside, leave no mark', () => {
    const bench = new Bench().open();
    bench.send(0, { payload: 1_000 });
    const before = JSON.stringify(bench.flow.halves);
    expect(bench.send(1, { ack: 1_002, window: 9 })).toBe(IMPLAUSIBLE);
    expect(bench.send(0, { seq: 1 + 66_000, payload: 1_000 })).toBe(IMPLAUSIBLE);
    expect(bench.send(0, { seq: -(2 ** 29), payload: 1_000 })).toBe(IMPLAUSIBLE);
    expect(bench.send(0, { seq: 2 ** 30, payload: 0 })).toBe(IMPLAUSIBLE);
    expect(JSON.stringify(bench.flow.halves)).toBe(before);
  });

  it('one byte beyond the window is a probe and plausible; two are not', () => {
    const bench = new Bench().open({}, { window: 65_535, windowScale: 0 });
    expect(bench.send(0, { seq: 1 + 65_535, payload: 1 }) & IMPLAUSIBLE).toBe(0);
    const other = new Bench().open({}, { window: 65_535, windowScale: 0 });
    expect(other.send(0, { seq: 1 + 65_535, payload: 2 })).toBe(IMPLAUSIBLE);
  });

  it('an older window is not taken, a newer ACK with an older number is (RFC 9293 3.10.7.4, tcp_may_update_window)', () => {
    const bench = new Bench().open();
    bench.send(0, { payload: 1_000 });
    bench.send(1, { seq: 1, payload: 100, ack: 501, window: 12_000 });
    bench.send(1, { seq: 101, ack: 501, window: 11_000 });
    expect(bench.send(1, { seq: 1, ack: 501, window: 300 })).toBe(0);
    expect(bench.flow.halves[1].rcvWnd).toBe(11_000);
    bench.send(1, { seq: 1, payload: 100, ack: 1_001, window: 9_000 });
    expect(bench.flow.halves[1].rcvWnd).toBe(9_000);
  });

  it('timestamps follow forward only, also across their wrap-around', () => {
    const bench = new Bench().open({}, { ts: [-3, 10] });
    const tsVal = (): number => bench.flow.halves[1].tsVal;
    bench.send(1, { ts: [-1, 11] });
    bench.send(1, { ts: [-2, 11] });
    expect(tsVal()).toBe(-1);
    bench.send(1, { ts: [4, 11] });
    expect(tsVal()).toBe(4);
    bench.send(1, { ts: [-1, 11] });
    expect(tsVal()).toBe(4);
  });

  it('the segment size is the largest on the wire, not that of a super-packet', () => {
    const bench = new Bench().open();
    bench.send(0, { payload: 9_000, vnet: true, gsoSize: 1_400 });
    expect(bench.flow.halves[0].segmentSize).toBe(1_400);
    bench.send(0, { seq: 9_001, payload: 1_448 });
    expect(bench.flow.halves[0].segmentSize).toBe(1_448);
    bench.send(0, { seq: 10_449, payload: 10, vnet: true, gsoSize: 0 });
    expect(bench.flow.halves[0].segmentSize).toBe(1_448);
  });
});

describe('the end', () => {
  it('comes when both FINs are acknowledged, in either order', () => {
    for (const first of [0, 1] as const) {
      const second = first === 0 ? 1 : 0;
      const bench = new Bench().open();
      bench.send(first, { flags: FIN | ACK });
      bench.send(second, { flags: FIN | ACK, ack: 2 });
      expect([bench.flow.phase, isFinished(bench.flow)]).toEqual([FLOWING, false]);
      bench.send(first, { seq: 2, ack: 2 });
      expect([bench.flow.phase, isFinished(bench.flow)]).toEqual([CLOSING, true]);
    }
  });

  it('a FIN behind data counts one number after it', () => {
    const bench = new Bench().open();
    bench.send(0, { flags: FIN | ACK, payload: 10 });
    expect((bench.flow.halves[0].finSeq - bench.isn[0]) | 0).toBe(11);
    expect(bench.state(0).sndNxt).toBe(12);
  });

  it('an RST is exact at RCV.NXT only (RFC 5961 3.2), and looked at within the window', () => {
    const bench = new Bench().open();
    bench.send(1, { window: 10 });
    const receiver = bench.flow.halves[1];
    const at = (seq: number): PacketSketch => ({ seq: bench.isn[0] + seq, flags: RST });
    expect([0, 1, 2].map((seq) => isExactReset(receiver, packetOf(at(seq))))).toEqual([false, true, false]);
    // The right edge that was once shown, 60 000, still counts: data may have been sent up to it.
    expect([0, 1, 60_001, 60_002].map((seq) => isInWindow(receiver, bench.isn[0] + seq))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    const unknown = new Bench().flow.halves[0];
    expect([isExactReset(unknown, packetOf({})), isInWindow(unknown, 0)]).toEqual([false, false]);
  });

  it('an RST alone moves nothing', () => {
    const bench = new Bench().open();
    const before = JSON.stringify(bench.flow);
    expect(bench.send(0, { flags: RST | ACK, ack: 1 })).toBe(0);
    expect(JSON.stringify(bench.flow)).toBe(before);
  });

  it('bypassed is what the phase says', () => {
    const { flow } = new Bench();
    expect(isBypassed(flow)).toBe(false);
    flow.phase = BYPASS;
    expect(isBypassed(flow)).toBe(true);
  });
});

describe('adoption in the middle', () => {
  function adopted(): Bench {
    const bench = new Bench();
    bench.flow.adopted = true;
    bench.flow.phase = FLOWING;
    return bench;
  }

  it('learns both numbers from either side, timestamps from each, and never a scale', () => {
    const bench = adopted();
    bench.send(0, { seq: 5_000, ack: 7_000, payload: 100, window: 300, ts: [-5, 2] });
    expect(bench.state(0)).toMatchObject({ sndNxt: 5_100, rcvNxt: 7_000 });
    expect(bench.state(1).sndNxt).toBe(7_000);
    expect(bench.flow.halves[0]).toMatchObject({ timestamps: true, tsVal: -5, rcvWndShift: -1, rcvWnd: 300 });
    expect(bench.flow.halves[0].windowBytes()).toBe(0);
    expect(bench.flow.halves[1]).toMatchObject({ timestamps: false, rcvKnown: false });
    bench.send(1, { seq: 7_000, ack: 5_100, window: 200, ts: [77, -5] });
    expect(bench.flow.halves[1]).toMatchObject({ timestamps: true, tsVal: 77, rcvWnd: 200 });
  });

  it('accepts an acknowledgement of data that passed before', () => {
    const bench = adopted();
    bench.send(0, { seq: 5_000, ack: 7_000 });
    expect(bench.send(1, { seq: 7_000, ack: 9_000 }) & IMPLAUSIBLE).toBe(0);
    expect(bench.state(0).sndNxt).toBe(9_000);
  });
});

describe('an ACK that its addressee would drop', () => {
  /** Each has 3,000 bytes in flight that the other one has; both take SND.UNA for SEG.SEQ, as Linux does behind a shut window. */
  function talkingPast(): Bench {
    const bench = new Bench().open();
    bench.send(0, { payload: 3_000, ts: [12, 900], window: 8_000 });
    bench.send(1, { payload: 3_000, ts: [902, 12], window: 15_000 });
    bench.send(0, { ack: 3_001, ts: [13, 902], window: 7_900 });
    return bench;
  }

  it('is told apart, and learnt from, only where a planned freeze has shut both ends', () => {
    const bench = talkingPast();
    expect(bench.send(1, { ack: 3_001, ts: [905, 12], window: 14_000 })).toBe(0);
    expect(bench.state(1).rcvNxt).toBe(1);
    bench.flow.mayTalkPast = true;
    const found = bench.send(1, { ack: 3_001, ts: [905, 12], window: 14_000 });
    expect(found & STALE_SEQ).toBe(STALE_SEQ);
    expect(found & ADVANCED_ACK).toBe(ADVANCED_ACK);
    expect(bench.state(1).rcvNxt).toBe(3_001);
    // It arrives now, so its timestamp may be repeated.
    expect(bench.flow.halves[1].tsVal).toBe(905);
    expect(bench.send(1, { ack: 3_001, ts: [906, 12], window: 14_000 }) & STALE_SEQ).toBe(STALE_SEQ);
  });

  it('is none that is older than others, that carries data, or that asks', () => {
    const bench = talkingPast();
    bench.flow.mayTalkPast = true;
    bench.send(1, { ack: 3_001, ts: [905, 12], window: 14_000 });
    expect(bench.send(1, { ack: 2_001, ts: [906, 12], window: 14_000 })).toBe(0);
    expect(bench.send(1, { ack: 3_001, payload: 1_000, ts: [906, 12], window: 14_000 })).toBe(0);
    expect(bench.send(1, { seq: 3_000, ack: 3_001, ts: [906, 12], window: 14_000 })).toBe(0);
    expect(bench.send(1, { ack: 4_001, ts: [906, 12], window: 14_000 }) & (STALE_SEQ | ADVANCED_ACK)).toBe(0);
  });
});

describe('the window', () => {
  it('is not taken from an older ACK, however new its sequence number (RFC 9293 3.10.7.4)', () => {
    const bench = new Bench().open();
    bench.send(0, { payload: 2_000, ts: [12, 900], window: 8_000 });
    bench.send(1, { ack: 2_001, ts: [902, 12], window: 14_000 });
    // Sent before it, and overtaken: its window counts from an ACK that is gone.
    bench.send(1, { payload: 1_000, ack: 1_001, ts: [903, 12], window: 15_000 });
    expect(bench.flow.halves[1].rcvWnd).toBe(14_000);
  });
});
