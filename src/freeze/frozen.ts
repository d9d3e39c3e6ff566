/**
 * What the gateway remembers of a flow from the loss until the hand-over back is complete.
 */
import type { LossCause } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { Attachment } from '../flow/flow.ts';
import { seqDiff } from '../wire/seq.ts';
import type { Limit } from './context.ts';
import type { Custody } from './custody.ts';
import type { Replay } from './replay.ts';

const NO_LIMIT: Limit = Object.freeze({ micros: NEVER, by: null });

export class Frozen implements Attachment {
  readonly custody: Custody;
  /** Bytes the near endpoint had in flight at the loss: how much the path and its queues are known to take. */
  inFlight: number;
  /** Custody is not allowed or does not fit: data in flight stays the near endpoint's (theory of operation 3.3). */
  denied = false;
  /**
   * Too little is known to speak for the far peer (no ACK of it was ever seen): the near endpoint is only kept from
   * writing into the void.
   */
  mute = false;
  /** A lead came before the freeze, and part of what has arrived is shown late (freeze/drain.ts). */
  drained = false;
  /** Both ends were told a window of zero before the loss. */
  isShut = false;
  /** An ACK that advanced was sent since the loss, so that every stack has accepted the closed window. */
  advanced = false;
  /** Newest copy of the near endpoint's head segment, virtio-net header included (denied flows). */
  head: Uint8Array | null = null;
  /** The near endpoint has reset the connection; it is passed on after custody. */
  nearReset = false;
  /** The window stays shut although bytes in flight are missing: the alternative is that the sender gives up. */
  lastResort = false;
  /** When the next unsolicited ACK is due. */
  refreshAt: Micros = NEVER;
  /** Denied flows: when a closed window becomes the lesser evil. */
  giveUpAt: Micros = NEVER;
  /** The gateway has ended the connection; the far peer is told at link-up, the near endpoint gets no answer any more. */
  ended = false;
  /** How long the flow may stay frozen, what says so, and when that is over. */
  limit: Limit = NO_LIMIT;
  limitAt: Micros = NEVER;
  /** Interval of the trickle (freeze/trickle.ts), 0: none. */
  trickleEvery: Micros = 0;
  /** A piece up to `trickleEdge` is on offer. */
  trickleOpen = false;
  trickleEdge = 0;
  /** The near endpoint has probed: it has something to send. */
  probed = false;
  /** When it probed last. */
  probedAt: Micros = -NEVER;
  /** When bytes of it were taken last; before that, when it was frozen. */
  takenAt: Micros = 0;
  /** A SYN of it takes a place of the parking. */
  parked = false;
  /** Newest SYN of a connection that wants to succeed this one with the same ports. */
  nextSyn: Uint8Array<ArrayBuffer> | null = null;
  replay: Replay | null = null;
  /** What brought the loss about. */
  cause: LossCause = 'other';
  /** When the handback began. */
  thawedAt: Micros = NEVER;
  /**
   * ACK shown to the near endpoint: at most CE. It lags behind while the flow is being dribbled (freeze/dribble.ts), so
   * that the endpoint's kernel never sees an idle connection, and never passes what the journal holds.
   */
  get shown(): number {
    // Before the loss (freeze/drain.ts) there is no custody, and it lags behind what the far peer itself acknowledged.
    if (!this.isHeld) return this.#shown;
    const { durable } = this.custody;
    return seqDiff(durable, this.#shown) < 0 ? durable : this.#shown;
  }

  set shown(ack: number) {
    this.#shown = ack;
  }

  #shown = 0;
  /** The first ACK after the loss waits for the journal to hold everything below `owedTo`. */
  owed = false;
  owedTo = 0;
  /** TSecr of the ACK that says what has become durable. */
  owedTsEcr = 0;
  /** The first word to the near endpoint is said: from here on a later process has to go on with it. */
  isHeld = false;
  /** Name of this state in the journal; 0: not written yet. */
  journalId = 0;
  /** End of custody that was written. */
  journalledTo = 0;
  /** In the journal's list of what is to be written. */
  isMarked = false;
  /** Ends that have not been heard since the flow was restored from the journal, as a bit per half (engine/proof.ts). */
  unproven = 0;
  /** Newest segment that did not fit the restored flow. */
  foreign: { readonly direction: 0 | 1; readonly seq: number; readonly ack: number } | null = null;
  /** When `shown` moves next; NEVER when it has reached CE. */
  dribbleAt: Micros = NEVER;
  /** Some of custody was shown late: the near endpoint's round-trip estimate is too long now. */
  dribbled = false;
  /** Lower estimate of the near endpoint's smoothed round trip (micros), which the dribble itself inflates. */
  modelSrtt: Micros = 0;
  /** When the segments in flight were sent, roughly. */
  flightSentAt: Micros = 0;
  /** TSecr for ACKs that advance: TSval of the first transmission at the left edge (RFC 7323 4.3). */
  flightTsVal = 0;
  /** Right edge of the window last offered to the near endpoint during handback. */
  offeredEdge = 0;
  /** Right edge that may be offered as soon as the pace allows. */
  allowedEdge = 0;

  constructor(custody: Custody, inFlight: number) {
    this.custody = custody;
    this.inFlight = inFlight;
  }

  /** Nothing is delivered any more, nobody is answered; at the thaw the far peer gets an RST. */
  end(): void {
    this.custody.discard();
    this.ended = true;
    this.nearReset = true;
    this.denied = false;
    this.refreshAt = NEVER;
    this.giveUpAt = NEVER;
    this.dribbleAt = NEVER;
    this.limitAt = NEVER;
    this.trickleEvery = 0;
  }

  get custodyBytes(): number {
    return this.custody.length;
  }
}
