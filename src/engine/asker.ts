/**
 * Asker: sends what the far end of a connection must answer, in the near end's name: a keepalive (RFC 9293 3.8.4: one sequence
 * number below what was acknowledged), or the SYN that waits.
 */
import type { Flow } from '../flow/flow.ts';
import { NOTE } from '../flow/note.ts';
import { FLOWING, FROZEN, OPENING } from '../flow/phase.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Synthesizer } from '../freeze/synthesis.ts';

export class Asker {
  readonly #synthesizer: Synthesizer;

  constructor(synthesizer: Synthesizer) {
    this.#synthesizer = synthesizer;
  }

  /** Whether a held connection has something to ask with. */
  canAsk(flow: Flow): boolean {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null) return false;
    return flow.phase === OPENING ? frozen.head !== null : flow.phase === FROZEN && !frozen.mute;
  }

  /** A held connection asks its far end. @returns whether it did */
  askFrozen(flow: Flow): boolean {
    if (!this.canAsk(flow)) return false;
    const { head } = flow.frozen as Frozen;
    if (flow.phase === OPENING) return this.#synthesizer.copy(flow, flow.near, head!, NOTE.question);
    return this.#keepalive(flow, flow.near);
  }

  /**
   * Whether a connection that is not held can ask half `far`: it has nothing in flight towards it. What is in flight asks by
   * itself, and the answer to a keepalive is a duplicate ACK to a sender (RFC 5681 2).
   */
  canAskFlowing(flow: Flow, far: 0 | 1): boolean {
    const endpoint = flow.halves[far === 0 ? 1 : 0];
    const peer = flow.halves[far];
    if (flow.phase !== FLOWING || flow.lostMask !== 0) return false;
    if (!endpoint.sndKnown || !endpoint.rcvKnown || !peer.rcvKnown) return false;
    // Half closed is fine: whoever has sent its FIN still answers (RFC 9293 3.10.7.4).
    if (endpoint.finSent && peer.finSent) return false;
    return endpoint.sndNxt === peer.rcvNxt;
  }

  /** A connection that is not held asks half `far`. @returns whether it did */
  askFlowing(flow: Flow, far: 0 | 1): boolean {
    return this.canAskFlowing(flow, far) && this.#keepalive(flow, far === 0 ? 1 : 0);
  }

  #keepalive(flow: Flow, near: 0 | 1): boolean {
    const endpoint = flow.halves[near];
    const peer = flow.halves[near === 0 ? 1 : 0];
    const seq = (peer.rcvNxt - 1) | 0;
    return this.#synthesizer.ack(flow, near, seq, endpoint.rcvNxt, endpoint.rcvWnd, peer.tsVal, NOTE.question);
  }
}
