/**
 * What the gateway did with a packet, in words of an engineer: the comment in the capture and the line of the trace. Everything
 * is told from what can be seen from outside the engine: the packet, the flow's snapshot after it, and which counters moved.
 */
import type { CounterName } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';
import type { FlowSnapshot } from '../engine/commands.ts';
import type { Packet } from '../wire/packet.ts';
import { FIN, RST, SYN } from '../wire/tcp-flags.ts';

/** What made the engine act. */
export type Trigger = 'packet' | 'link' | 'timer';

/** A flow as the packet concerns it; null where the engine knows none. */
export type Concerned = FlowSnapshot | null;

/** How much a counter moved during the engine's last turn. */
export type Moved = (name: CounterName) => number;

export class Narrator {
  #loss = '';
  #lossAt: Micros = 0;

  /** A link or scope was lost or came back. */
  onLink(text: string, at: Micros): void {
    this.#loss = text;
    this.#lossAt = at;
  }

  /** "wan0 lost 1.250 s ago" */
  #since(now: Micros): string {
    if (this.#loss === '') return 'no loss';
    const elapsed = (now - this.#lossAt) / MICROS_PER_SECOND;
    return elapsed === 0 ? `${this.#loss} now` : `${this.#loss} ${elapsed.toFixed(3)} s ago`;
  }

  /** A packet that the gateway made itself. */
  made(packet: Packet, flow: Concerned, toNear: boolean, trigger: Trigger, moved: Moved, now: Micros): string {
    return `${this.#made(packet, flow, toNear, trigger, moved)}; ${this.#since(now)}`;
  }

  #made(packet: Packet, flow: Concerned, toNear: boolean, trigger: Trigger, moved: Moved): string {
    const held = flow?.custodyBytes ?? 0;
    if (packet.tcpAt < 0) {
      return flow?.phase === 'frozen' && toNear
        ? 'unreachable instead of a zero window: data in flight is not held, the sender undoes its back-off (RFC 6069)'
        : 'wake-up: unreachable to the far sender, which undoes its back-off and retransmits at once (RFC 6069)';
    }
    if ((packet.flags & RST) !== 0) return 'reset: the connection is over';
    if ((packet.flags & SYN) !== 0) return 'handshake that waited for the link, sent on';
    if (packet.payloadLength > 0 || (packet.flags & FIN) !== 0) {
      const what = packet.payloadLength > 0 ? `${packet.payloadLength} held bytes` : 'held FIN';
      const again = moved('retransmittedBytes') > 0 ? ', again' : '';
      return `replay: ${what} delivered${again}; ${held} bytes still in custody`;
    }
    if (!toNear) return 'ACK sync: the far sender learns what its peer has received';
    const window = `window ${packet.window}`;
    if (flow?.phase === 'frozen') {
      if (trigger === 'packet' && moved('probesAnswered') > 0) return `answer to a probe: ${window}`;
      if (trigger === 'timer' && moved('refreshes') > 0) return `refresh: ${window}, so that nobody gives up`;
      return held > 0 ? `custody ACK: ${held} bytes held, ${window}` : `zero-window ACK: nothing in flight, ${window}`;
    }
    if (flow?.phase === 'handback') return `ack clock: ${held} bytes still to be delivered, ${window}`;
    return `window update: handed back, ${window}`;
  }

  /** A packet of the capture that was not passed on. */
  held(flow: Concerned, moved: Moved, now: Micros): string {
    return `${this.#held(flow, moved)}; ${this.#since(now)}`;
  }

  #held(flow: Concerned, moved: Moved): string {
    const taken = moved('custodyBytesTaken');
    if (taken > 0) return `held: ${taken} bytes taken into custody, ${flow?.custodyBytes ?? taken} in all`;
    if (moved('unsound') > 0) return 'dropped: its checksum is wrong, nothing is done on its word';
    if (moved('probesAnswered') > 0) {
      return moved('outOfWindow') > 0
        ? 'held: outside the window, or acknowledges what never passed; answered as a probe'
        : 'held: answered in the name of the far peer';
    }
    if (moved('outOfWindow') > 0) return 'dropped: outside the window, or acknowledges what never passed';
    if (moved('icmpToNear') > 0) return 'held: not in custody, answered with unreachable';
    if (moved('lateFromFar') > 0) return 'dropped: late acknowledgement from beyond the loss, taken note of';
    if (flow?.phase === 'opening') return 'held: the handshake waits for the link';
    if (flow?.phase === 'bypass') return 'dropped: the link is lost, and this flow is left alone';
    if (flow?.phase === 'handback') return 'held: the gateway still delivers what comes before it';
    return 'dropped: it says nothing that is not known';
  }

  /** A packet of the capture that was passed on with other values; `before` holds its headers as they came. */
  changed(packet: Packet, before: DataView, now: Micros): string {
    const at = packet.tcpAt - packet.start;
    const differences: string[] = [];
    const ack = before.getUint32(at + 8);
    if (ack !== packet.ack >>> 0) differences.push(`ack ${ack} -> ${packet.ack >>> 0}`);
    const window = before.getUint16(at + 14);
    if (window !== packet.window) differences.push(`window ${window} -> ${packet.window}`);
    if (differences.length === 0) differences.push('options');
    return `changed: ${differences.join(', ')}; ${this.#since(now)}`;
  }
}
