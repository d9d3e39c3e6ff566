/**
 * The phase machine of a flow as a table: what is done with each kind of segment, from each side, in each phase, and why.
 *
 * Sides.   `any`: nothing of the flow is lost. `near`: sent by the endpoint on the surviving side, towards the loss.
 *          `far`: sent by the endpoint beyond the loss (a late packet, a second path, or the first sign of life).
 * Kinds.   syn; data (payload or FIN); probe (no payload and SEG.SEQ below what was acknowledged: zero-window probe or
 *          keepalive); ack (no payload, in sequence); rst.
 */
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING, PHASE_NAMES, type Phase } from '../flow/phase.ts';

export const SIDE_ANY = 0;
export const SIDE_NEAR = 1;
export const SIDE_FAR = 2;
export type Side = typeof SIDE_ANY | typeof SIDE_NEAR | typeof SIDE_FAR;
export const SIDE_NAMES: readonly string[] = ['any', 'near', 'far'];

export const KIND_SYN = 0;
export const KIND_DATA = 1;
export const KIND_PROBE = 2;
export const KIND_ACK = 3;
export const KIND_RST = 4;
export const SEGMENT_KINDS: readonly string[] = ['syn', 'data', 'probe', 'ack', 'rst'];

/** Forward unchanged; nothing is learnt. */
export const ACT_BYPASS = 0;
/** Learn, retain, forward unchanged. */
export const ACT_FORWARD = 1;
/** Learn what it acknowledges; drop without an answer. */
export const ACT_ABSORB = 2;
/** Keep the newest copy, drop; it is sent when the link returns. */
export const ACT_PARK = 3;
/** Take what is new into custody as far as allowed, answer with the current ACK. */
export const ACT_TAKE = 4;
/** Answer with the current ACK and window. */
export const ACT_ANSWER = 5;
/** Remember that the sender reset the connection; deliver that when the custody is delivered. */
export const ACT_HOLD_RESET = 6;
/** Forward with custody acknowledged and the window kept shut. */
export const ACT_LATE = 7;
/** Forward a reset that is exact, end the flow, account for what cannot be delivered. */
export const ACT_END = 8;
/** Handback: take the acknowledgement for the replay, forward the rest with ACK raised, clock the near endpoint. */
export const ACT_CLOCK = 9;
/** Handback: retransmission of what is in custody is answered, fresh data forwarded. */
export const ACT_FRESH = 10;
/** Keep the newest SYN for after the end of this connection, drop. */
export const ACT_NEXT = 11;

export interface Cell {
  readonly action: number;
  readonly reason: string;
}

type Row = Readonly<Record<(typeof SEGMENT_KINDS)[number], Cell>>;

const cell = (action: number, reason: string): Cell => ({ action, reason });
const row = (syn: Cell, data: Cell, probe: Cell, ack: Cell, rst: Cell): Row => ({ syn, data, probe, ack, rst });

const forward = cell(ACT_FORWARD, 'the link works: the gateway is a wire that takes notes');
const bypass = cell(
  ACT_BYPASS,
  'the flow cannot be frozen (authentication, MPTCP) or must not be (policy): never touch it',
);
const noLink = cell(
  ACT_ABSORB,
  'nothing that needs a lost link is written: the kernel would answer with an ICMP error',
);
const late = cell(ACT_LATE, 'a late packet from beyond the loss carries data, but must not open the window');
const lateAck = cell(ACT_ABSORB, 'a late acknowledgement shortens custody; passing it on would thaw the flow');
const farReset = cell(ACT_END, 'an exact RST from the far peer ends the connection whatever the phase (RFC 5961 3.2)');
const lostSyn = cell(ACT_ABSORB, 'a SYN of a connection that exists: challenge it once the link is back (RFC 5961 4)');
const nextSyn = cell(
  ACT_NEXT,
  'its sender is through with the connection and uses the ports again: sent when the old one has ended for the far peer',
);

/** PHASE_TABLE[phase][side] */
export const PHASE_TABLE: Readonly<Record<Phase, readonly [any: Row, near: Row, far: Row]>> = {
  [OPENING]: [
    row(forward, forward, forward, forward, forward),
    row(
      cell(
        ACT_PARK,
        'the newest SYN is kept and sent at link-up; its sender waits in SYN-SENT, no SYN-ACK is invented',
      ),
      cell(ACT_ABSORB, 'data before the handshake is complete will be retransmitted; windows are not known yet'),
      noLink,
      noLink,
      noLink,
    ),
    row(
      cell(ACT_FORWARD, 'a SYN or SYN-ACK that did get through opens the connection as usual'),
      forward,
      forward,
      forward,
      forward,
    ),
  ],
  [FLOWING]: [
    row(
      cell(ACT_FORWARD, 'the endpoints answer a SYN in a synchronized state themselves (RFC 5961 4)'),
      forward,
      forward,
      forward,
      forward,
    ),
    row(noLink, noLink, noLink, noLink, noLink),
    row(forward, forward, forward, forward, forward),
  ],
  [FROZEN]: [
    row(forward, forward, forward, forward, forward),
    row(
      nextSyn,
      cell(
        ACT_TAKE,
        'what was under way or ignores the closed window is taken into custody, so that nothing is in flight',
      ),
      cell(ACT_ANSWER, 'every probe and keepalive gets one answer, so that the sender waits for as long as it takes'),
      cell(ACT_ABSORB, 'an acknowledgement of earlier data; the far peer gets the newest one at thaw'),
      cell(ACT_HOLD_RESET, 'the far peer must learn of the reset, after the bytes that were sent before it'),
    ),
    row(lostSyn, late, late, lateAck, farReset),
  ],
  [HANDBACK]: [
    row(forward, forward, forward, forward, forward),
    row(
      nextSyn,
      cell(ACT_FRESH, 'fresh data follows custody data; what custody covers is the gateway’s to deliver'),
      cell(ACT_ANSWER, 'a probe below CE would confuse the far peer, which has not seen those bytes yet'),
      cell(ACT_FORWARD, 'acknowledges the far peer’s data; in its window, so it may pass'),
      cell(ACT_HOLD_RESET, 'a reset must not overtake custody'),
    ),
    row(
      cell(
        ACT_ABSORB,
        'a SYN from the far peer in a synchronized state: it will be challenged after handback (RFC 5961 4)',
      ),
      cell(ACT_CLOCK, 'data passes with ACK raised to CE; what it acknowledges drives the replay'),
      cell(ACT_CLOCK, 'a keepalive of the far peer passes like data: the near endpoint answers it'),
      cell(ACT_CLOCK, 'pure acknowledgements below CE are replaced by the ack clock (theory of operation 5.3)'),
      farReset,
    ),
  ],
  [CLOSING]: [
    row(forward, forward, forward, forward, forward),
    row(noLink, noLink, noLink, noLink, noLink),
    row(forward, forward, forward, forward, forward),
  ],
  [BYPASS]: [
    row(bypass, bypass, bypass, bypass, bypass),
    row(bypass, bypass, bypass, bypass, bypass),
    row(bypass, bypass, bypass, bypass, bypass),
  ],
};

const KINDS = SEGMENT_KINDS.length;
const SIDES = SIDE_NAMES.length;

/** The table flattened for the hot path. */
const ACTIONS: Uint8Array = (() => {
  const flat = new Uint8Array(PHASE_NAMES.length * SIDES * KINDS);
  for (const [phase, sides] of Object.entries(PHASE_TABLE)) {
    sides.forEach((cells, side) => {
      SEGMENT_KINDS.forEach((kind, k) => {
        flat[(Number(phase) * SIDES + side) * KINDS + k] = cells[kind]!.action;
      });
    });
  }
  return flat;
})();

/** What to do with a segment of `kind` from `side` in `phase`. */
export function actionFor(phase: number, side: number, kind: number): number {
  return ACTIONS[(phase * SIDES + side) * KINDS + kind]!;
}
