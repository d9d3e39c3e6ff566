/** What the two SYNs agreed on, and the timestamps that follow from it (RFC 7323). */
import type { Packet } from '../../src/wire/packet.ts';
import { seqAdd, seqDiff } from '../../src/wire/seq.ts';
import { ACK, SYN } from '../../src/wire/tcp-flags.ts';
import type { EndpointConfig } from './endpoint-config.ts';

export class Negotiation {
  hasTs = false;
  hasSack = false;
  hasScale = false;
  /** Of the peer's windows, and of the own. */
  sndShift = 0;
  rcvShift = 0;
  tsRecent = 0;
  peerIss = 0;

  /** The peer's SYN: initial sequence number, and each option only if both sides have it. */
  take(packet: Packet, config: EndpointConfig): void {
    this.peerIss = packet.seq;
    this.hasTs = config.timestamps && packet.tsAt >= 0;
    this.hasSack = config.sack && packet.sackPermitted;
    this.hasScale = config.windowScale >= 0 && packet.windowScale >= 0;
    this.sndShift = this.hasScale ? packet.windowScale : 0;
    this.rcvShift = this.hasScale ? config.windowScale : 0;
    if (this.hasTs) this.tsRecent = packet.tsVal;
  }

  /** What a segment says of the options: a SYN offers, a SYN-ACK agrees, later ones carry timestamps only. */
  offer(flags: number, config: EndpointConfig): { hasTs: boolean; offersSack: boolean; offersScale: boolean } {
    if ((flags & SYN) === 0) return { hasTs: this.hasTs, offersSack: false, offersScale: false };
    if ((flags & ACK) !== 0) return { hasTs: this.hasTs, offersSack: this.hasSack, offersScale: this.hasScale };
    return { hasTs: config.timestamps, offersSack: config.sack, offersScale: config.windowScale >= 0 };
  }

  /** Sequence number of an offset in the peer's stream. */
  peerSeq(offset: number): number {
    return seqAdd(this.peerIss, offset + 1);
  }

  /** RFC 7323 section 5, with the slack of one that Linux allows (TCP_PAWS_WINDOW). */
  passesPaws(tsVal: number): boolean {
    return !this.hasTs || seqDiff(this.tsRecent, tsVal) <= 1;
  }

  /** RFC 7323 4.3: remember the timestamp of a segment that is not ahead of what was last acknowledged. */
  remember(tsVal: number): void {
    if (this.hasTs && seqDiff(tsVal, this.tsRecent) > 0) this.tsRecent = tsVal;
  }
}
