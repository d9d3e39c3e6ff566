/**
 * A model TCP endpoint: connection opening and closing, acceptability, PAWS, acknowledgements, keepalive; sending and
 * receiving are in sender.ts and receiver.ts. It owns no clock: `handlePacket` and `handleTimeout` go in, packets come
 * out of `output`, `deadline` says when it wants to be called. It judges what it is sent: whatever no correct peer
 * could have sent is a violation with the packet's description.
 */
import { MICROS_PER_SECOND, type Micros, NEVER } from '../../src/base/time.ts';
import { Packet } from '../../src/wire/packet.ts';
import { seqAdd, seqDiff } from '../../src/wire/seq.ts';
import { ACK, FIN, PSH, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Application } from './application.ts';
import { Content } from './content.ts';
import { type EndpointConfig, SYN_RTO_MAX, TIME_WAIT } from './endpoint-config.ts';
import { KeepAlive } from './keepalive.ts';
import { Negotiation } from './negotiation.ts';
import { OutsideAnswers } from './outside.ts';
import { describe, inspect, type Quote, readBlocks } from './reader.ts';
import { type Interval, Receiver } from './receiver.ts';
import { SegmentWriter } from './segment-writer.ts';
import { Sender, TICK } from './sender.ts';

export type State = 'idle' | 'syn-sent' | 'syn-received' | 'established' | 'time-wait' | 'closed' | 'failed';

export class Endpoint {
  readonly config: EndpointConfig;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** Packets to send, oldest first; the network takes them away. */
  readonly output: Uint8Array[] = [];
  readonly violations: string[] = [];
  state: State = 'idle';
  /** Why it failed: `reset`, `timeout`, `keepalive`, `unreachable`, `aborted`. */
  failure: string | null = null;
  challengeAcks = 0;
  icmpReceived = 0;
  /** When the stream last moved, for the stories that measure stalls. */
  lastProgressAt: Micros = 0;

  readonly #packet = new Packet();
  readonly #writer: SegmentWriter;
  readonly #terms = new Negotiation();
  readonly #application: Application;
  readonly #keepAlive: KeepAlive;
  readonly #outside: OutsideAnswers;
  #lastAckSent = 0;
  #synBackoff = 0;
  #synAt: Micros = NEVER;
  #synSentAt: Micros = 0;
  #ackAt: Micros = NEVER;
  #unacked = 0;
  #duplicate: Interval | null = null;
  #waitUntil: Micros = NEVER;
  #now: Micros = 0;

  constructor(config: EndpointConfig) {
    this.config = config;
    this.sender = new Sender(config, (from, to) => this.#sendRange(from, to));
    this.receiver = new Receiver(config.receiveBuffer, config.mss, new Content(config.peerContentSeed));
    this.#writer = new SegmentWriter(config);
    this.#keepAlive = new KeepAlive(config);
    this.#outside = new OutsideAnswers(config.windowRule);
    this.#application = new Application(config, this.sender, this.receiver);
    if (config.active) this.#synAt = config.opensAt;
  }

  get isDone(): boolean {
    return this.sender.isFinished && this.receiver.isFinished;
  }

  get usesTimestamps(): boolean {
    return this.#terms.hasTs;
  }

  tsValAt(now: Micros): number {
    return seqAdd(this.config.tsOffset, Math.floor(now / TICK));
  }

  /** Sequence number of an offset in the own stream. */
  seqOf(offset: number): number {
    return seqAdd(this.config.iss, offset + 1);
  }

  /** Offset in the own stream of a sequence number near SND.UNA. */
  offsetOf(seq: number): number {
    return this.sender.sndUna + seqDiff(seq, this.seqOf(this.sender.sndUna));
  }

  /** Scale of the windows that it advertises. */
  get rcvShift(): number {
    return this.#terms.rcvShift;
  }

  deadline(): Micros {
    if (this.state === 'failed' || this.state === 'closed') return NEVER;
    const abort = this.config.abortsAt;
    if (this.state !== 'established' && this.state !== 'time-wait') return Math.min(this.#synAt, abort);
    return Math.min(
      this.sender.deadline(),
      this.#ackAt,
      this.#waitUntil,
      this.#application.deadline(),
      this.#keepAlive.at,
      abort,
    );
  }

  handleTimeout(now: Micros): void {
    this.#now = now;
    if (this.state === 'failed' || this.state === 'closed') return;
    if (now >= this.config.abortsAt) {
      if (!this.config.vanishes) this.#emit(RST | ACK, this.sender.sndNxt, 0, 0);
      this.#fail('aborted');
      return;
    }
    if (now >= this.#synAt) this.#sendSyn();
    if (this.state !== 'established' && this.state !== 'time-wait') return;
    this.#act();
    if (now >= this.#waitUntil) {
      this.state = 'closed';
      this.#waitUntil = NEVER;
      return;
    }
    if (now >= this.#ackAt) this.#sendAck();
    this.sender.handleTimeout(now);
    if (this.sender.hasGivenUp) this.#fail('timeout');
    if (now >= this.#keepAlive.at) this.#probeIdle();
  }

  /**
   * One packet arrived, virtio-net header included.
   * @param strict the gateway's own making, on a path that keeps order: dropping it by PAWS is a violation
   * @param mayProbe the sender probes closed windows with data, and may have been shown one that the peer never closed
   */
  handlePacket(bytes: Uint8Array, strict: boolean, mayProbe: boolean, now: Micros): void {
    this.#now = now;
    const packet = this.#packet;
    const quote = inspect(bytes, packet, this.config, (text) => this.#violation(text));
    if (quote === 'bad') return;
    if (quote !== 'tcp') this.#handleUnreachable(quote);
    else if (this.state === 'closed' || this.state === 'failed') this.#refuse();
    else if (this.state === 'idle') this.#handleListen();
    else if (this.state === 'syn-sent') this.#handleSynSent();
    else this.#handleSynchronized(strict, mayProbe);
  }

  #violation(text: string): void {
    const { name } = this.config;
    if (this.violations.length < 20) this.violations.push(`${this.#now} us ${name}: ${text}`);
  }

  #fail(reason: string): void {
    this.state = 'failed';
    this.failure = reason;
  }

  #handleUnreachable(quote: Quote): void {
    this.icmpReceived++;
    const offset = this.offsetOf(quote.seq);
    // Behind SND.UNA it was overtaken by an ACK and is ignored; ahead of SND.MAX nobody can have seen it.
    if (offset > this.sender.sndMax) this.#violation(`ICMP quotes ${offset}, beyond ${this.sender.sndMax}`);
    // tcp_v4_err: in SYN_SENT any unreachable ends the attempt, later it is a soft error.
    if (this.state === 'syn-sent') this.#fail('unreachable');
    else if (this.state === 'established') {
      this.sender.handleUnreachable(offset, this.#now);
      if (this.sender.hasGivenUp) this.#fail('timeout');
    }
  }

  /** RFC 9293 3.10.7.1: there is no connection. */
  #refuse(): void {
    const packet = this.#packet;
    if ((packet.flags & RST) !== 0) return;
    if ((packet.flags & ACK) !== 0) this.output.push(this.#writer.reset(packet.ack, 0, false));
    else this.output.push(this.#writer.reset(0, seqAdd(packet.seq, packet.segLength), true));
  }

  #handleListen(): void {
    const packet = this.#packet;
    if (this.config.active || (packet.flags & RST) !== 0) return;
    if ((packet.flags & (SYN | ACK)) !== SYN) {
      this.#refuse();
      return;
    }
    this.#terms.take(packet, this.config);
    this.state = 'syn-received';
    this.#sendSyn();
  }

  #handleSynSent(): void {
    const packet = this.#packet;
    const acceptable = (packet.flags & ACK) !== 0 && packet.ack === this.seqOf(0);
    if ((packet.flags & RST) !== 0) {
      if (acceptable) this.#fail('reset');
      return;
    }
    if (!acceptable) {
      if ((packet.flags & ACK) !== 0) this.#refuse();
      return;
    }
    if ((packet.flags & SYN) === 0) return;
    this.#terms.take(packet, this.config);
    this.#open(packet.window);
    this.#sendAck();
  }

  #open(window: number): void {
    this.state = 'established';
    this.#synAt = NEVER;
    this.#keepAlive.heard(this.#now);
    this.#act();
    this.sender.start(window, 0, this.#synBackoff === 1 ? this.#now - this.#synSentAt : -1, this.#now);
  }

  #sendSyn(): void {
    if (this.state === 'idle') this.state = 'syn-sent';
    this.#synSentAt = this.#now;
    this.#emit(this.state === 'syn-sent' ? SYN : SYN | ACK, -1, 0, 0);
    this.#synAt = this.#now + Math.min(SYN_RTO_MAX, MICROS_PER_SECOND * 2 ** this.#synBackoff++);
  }

  #handleSynchronized(strict: boolean, mayProbe: boolean): void {
    const packet = this.#packet;
    const { receiver, sender } = this;
    if ((packet.flags & SYN) !== 0) {
      // A repeated SYN or SYN-ACK: our answer was lost. Anything else is challenged (RFC 5961 4.2).
      if (this.state === 'syn-received' && (packet.flags & ACK) === 0) this.#sendSyn();
      else this.#challenge();
      return;
    }
    const from = receiver.rcvNxt + seqDiff(packet.seq, this.#terms.peerSeq(receiver.rcvNxt));
    const to = from + packet.segLength;
    // Whoever sees a closed window may probe it with data (RFC 9293 3.8.6.1).
    const isClosed = receiver.rightEdge - receiver.rcvNxt < this.config.mss;
    if (!this.#passesPaws(strict)) return;
    if (to < this.#lastAckSent || from > receiver.rightEdge) {
      if (to > receiver.rightEdge && packet.segLength > 0 && !mayProbe) {
        this.#violation(`beyond the window: ${describe(packet)}`);
      }
      if ((packet.flags & RST) === 0 && this.#outside.may(packet.segLength, this.#now)) this.#sendAck();
      return;
    }
    if (to > receiver.rightEdge && !isClosed && packet.segLength > 0 && !mayProbe) {
      this.#violation(`ends ${to - receiver.rightEdge} beyond the window: ${describe(packet)}`);
    }
    if ((packet.flags & RST) !== 0) {
      if (from === receiver.rcvNxt) this.#fail('reset');
      else this.#challenge();
      return;
    }
    if ((packet.flags & ACK) === 0) return;
    const ack = sender.sndUna + seqDiff(packet.ack, this.seqOf(sender.sndUna));
    if (ack > sender.sndMax) {
      this.#violation(`ACK of ${ack - sender.sndMax} never sent: ${describe(packet)}`);
      this.#sendAck();
      return;
    }
    if (ack < sender.sndUna - Math.max(sender.maxWnd, 1)) {
      this.#challenge();
      return;
    }
    const window = packet.window * 2 ** this.#terms.sndShift;
    if (this.state === 'syn-received') {
      if (ack < 0) return;
      this.#open(window);
    }
    if (from <= this.#lastAckSent) this.#terms.remember(packet.tsVal);
    if (this.state === 'established') this.#keepAlive.heard(this.#now);
    this.#takeAck(ack, window, from);
    if (packet.segLength > 0) this.#takeData(from);
    this.#settle();
  }

  /** RFC 7323 section 5, with the slack of one that Linux allows (TCP_PAWS_WINDOW). */
  #passesPaws(strict: boolean): boolean {
    const packet = this.#packet;
    if (!this.#terms.hasTs || (packet.flags & RST) !== 0) return true;
    if (packet.tsAt < 0) {
      this.#violation(`timestamps were negotiated: ${describe(packet)}`);
      return false;
    }
    if (seqDiff(packet.tsEcr, this.tsValAt(this.#now)) > 0 && (packet.flags & ACK) !== 0) {
      this.#violation(`echoes a timestamp never sent: ${describe(packet)}`);
    }
    if (this.#terms.passesPaws(packet.tsVal)) return true;
    if (strict) this.#violation(`fails PAWS (newest ${this.#terms.tsRecent}): ${describe(packet)}`);
    this.#sendAck();
    return false;
  }

  #takeAck(ack: number, window: number, from: number): void {
    const packet = this.#packet;
    const { sender } = this;
    if (ack < sender.sndUna) return;
    const blocks: Interval[] = [];
    for (const block of readBlocks(packet, (seq) => this.offsetOf(seq))) {
      if (block.to > sender.sndMax || block.from >= block.to) {
        this.#violation(`SACK of data never sent: ${describe(packet)}`);
      } else if (block.from >= ack) blocks.push(block);
    }
    let age = -1;
    if (this.#terms.hasTs) {
      const tick = Math.floor(this.#now / TICK) + seqDiff(packet.tsEcr, this.tsValAt(this.#now));
      age = Math.max(0, this.#now - tick * TICK);
    }
    if (ack > sender.sndUna) this.lastProgressAt = this.#now;
    sender.handleAck(ack, window, from, packet.segLength === 0, blocks, age, this.#now);
  }

  #takeData(from: number): void {
    const packet = this.#packet;
    const { receiver } = this;
    const length = Math.min(packet.payloadLength, Math.max(0, receiver.rightEdge - from));
    const fin = (packet.flags & FIN) !== 0 && length === packet.payloadLength;
    if (length < packet.payloadLength || (length === 0 && !fin)) this.#ackAt = this.#now;
    if (length === 0 && !fin) return;
    if (from < 0 || (receiver.finAt >= 0 && from + length > receiver.finAt)) {
      this.#violation(`data outside the stream at ${from}: ${describe(packet)}`);
      return;
    }
    const arrival = receiver.accept(packet.bytes, packet.payloadAt, length, from, fin);
    if (arrival.corruptAt >= 0) this.#violation(`wrong byte at ${arrival.corruptAt}: ${describe(packet)}`);
    if (arrival.advanced > 0) this.lastProgressAt = this.#now;
    this.#application.read();
    if (this.#terms.hasSack && arrival.duplicate !== null) this.#duplicate = arrival.duplicate;
    this.#unacked += length;
    if (arrival.ackNow || this.#unacked >= 2 * this.config.mss || this.config.delayedAck === 0) this.#ackAt = this.#now;
    else if (this.#ackAt === NEVER) this.#ackAt = this.#now + this.config.delayedAck;
  }

  /** After a segment: acknowledge if due, and close when both directions are through. */
  #settle(): void {
    if (this.#now >= this.#ackAt) this.#sendAck();
    if (!this.isDone || this.state !== 'established') return;
    if (this.#application.isActiveCloser) {
      this.state = 'time-wait';
      this.#waitUntil = this.#now + TIME_WAIT;
      this.#keepAlive.stop();
    } else this.state = 'closed';
  }

  #act(): void {
    if (this.#application.act(this.#now)) this.#sendAck();
    this.sender.send(this.#now);
  }

  /** In the form of Linux: no data, the sequence number before SND.NXT; not while data is outstanding. */
  #probeIdle(): void {
    if (!this.#keepAlive.probe()) this.#fail('keepalive');
    else if (this.sender.board.isEmpty) this.#emit(ACK, this.sender.sndUna - 1, 0, 0);
  }

  /** RFC 5961: an ACK that tells the truth and nothing else. */
  #challenge(): void {
    this.challengeAcks++;
    this.#sendAck();
  }

  /** Linux keeps SEG.SEQ of a pure ACK inside the peer's window (tcp_acceptable_seq); others use SND.NXT. */
  #sendAck(): void {
    const { sndUna, sndNxt, sndWnd } = this.sender;
    const edge = this.config.windowRule === 'linux' ? Math.max(sndUna, sndUna + sndWnd) : sndNxt;
    this.#emit(ACK, Math.min(sndNxt, edge), 0, 0);
  }

  #sendRange(from: number, to: number): void {
    const { sender } = this;
    const end = Math.min(to, sender.written);
    const push = end > from && end === sender.written ? PSH : 0;
    this.#emit(ACK | push | (to > sender.written ? FIN : 0), from, from, end);
  }

  #emit(flags: number, offset: number, from: number, to: number): void {
    const { receiver } = this;
    const isSyn = (flags & SYN) !== 0;
    const field = receiver.advertise(isSyn ? 0 : this.#terms.rcvShift);
    const blocks = this.#terms.hasSack && !isSyn ? receiver.sackBlocks(this.#terms.hasTs ? 3 : 4, this.#duplicate) : [];
    if ((flags & ACK) !== 0 && !isSyn) {
      this.#lastAckSent = receiver.rcvNxt;
      this.#ackAt = NEVER;
      this.#unacked = 0;
      this.#duplicate = null;
    }
    this.output.push(
      this.#writer.segment({
        flags,
        seq: this.seqOf(offset),
        ack: (flags & ACK) === 0 ? 0 : this.#terms.peerSeq(receiver.rcvNxt),
        window: field,
        ...this.#terms.offer(flags, this.config),
        tsVal: this.tsValAt(this.#now),
        tsEcr: this.#terms.tsRecent,
        blocks: blocks.map((block) => ({ from: this.#terms.peerSeq(block.from), to: this.#terms.peerSeq(block.to) })),
        from,
        to,
      }),
    );
  }
}
