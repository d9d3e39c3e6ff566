/**
 * What the gateway remembers of a flow from the loss until the hand-over back is complete.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { Attachment } from '../flow/flow.ts';
import type { Custody } from './custody.ts';
import type { Replay } from './replay.ts';

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
  /** An ACK that advanced was sent since the loss, so that every stack has accepted the closed window. */
  advanced = false;
  /** Newest copy of the near endpoint's head segment, virtio-net header included (denied flows). */
  head: Uint8Array | null = null;
  /** The near endpoint has reset the connection; it is passed on after custody. */
  nearReset = false;
  /** When the next unsolicited ACK is due. */
  refreshAt: Micros = NEVER;
  /** Denied flows: when a closed window becomes the lesser evil. */
  giveUpAt: Micros = NEVER;
  replay: Replay | null = null;
  /** Right edge of the window last offered to the near endpoint during handback. */
  offeredEdge = 0;

  constructor(custody: Custody, inFlight: number) {
    this.custody = custody;
    this.inFlight = inFlight;
  }

  get custodyBytes(): number {
    return this.custody.length;
  }
}
