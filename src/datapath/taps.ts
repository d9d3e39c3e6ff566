/**
 * The packet taps of all links, in the worker: ICMP errors and DHCP that enter an interface become link events.
 *
 * A flood must not cost the datapath its time. Each socket may hand over a number of messages per second; when they are used up
 * it leaves the poll set for a while, and the kernel drops what does not fit into its buffer. One family's flood does not
 * silence the other's socket, nor another link's.
 */
import { COUNTER } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros, millis, NEVER } from '../base/time.ts';
import { DhcpExchange } from '../link/dhcp-exchange.ts';
import type { LinkEvent } from '../link/events.ts';
import { addressOf, POLLIN, type PollSet, recv } from '../native/libc.ts';
import { TAP_BYTES } from '../native/packet-filter.ts';
import { bindTap } from '../native/packet-tap.ts';

/** Messages that a socket may hand over: in a row, and per second. Genuine ones come in bursts of one per flow at most. */
const BURST = 128;
const PER_SECOND = 400;
/** Messages per socket between two looks at everything else. */
const BATCH = 32;
/** How long a socket that used up its messages is left alone. */
const PAUSE: Micros = millis(100);

/** What the main thread opened for one link; -1: no socket. */
export interface TapStart {
  readonly name: string;
  readonly role: 'lan' | 'wan';
  readonly fd4: number;
  readonly fd6: number;
}

interface Socket {
  readonly fd: number;
  readonly family: 4 | 6;
  readonly slot: number;
  allowance: number;
  since: Micros;
  /** Out of the poll set until then; NEVER: it is in. */
  resumeAt: Micros;
}

interface Tap {
  readonly name: string;
  readonly exchange: DhcpExchange;
  readonly sockets: readonly Socket[];
  /** Interface that the sockets are bound to; 0: none. */
  index: number;
}

export class Taps {
  readonly #taps: readonly Tap[];
  readonly #poll: PollSet;
  readonly #counters: Float64Array;
  readonly #buffer = new Uint8Array(TAP_BYTES);
  readonly #address = addressOf(this.#buffer);

  /** @param poll gets two slots per link */
  constructor(starts: readonly TapStart[], poll: PollSet, counters: Float64Array) {
    this.#poll = poll;
    this.#counters = counters;
    this.#taps = starts.map(({ name, role, fd4, fd6 }) => ({
      name,
      exchange: new DhcpExchange(name, role),
      sockets: [
        { fd: fd4, family: 4 as const },
        { fd: fd6, family: 6 as const },
      ].map(({ fd, family }) => ({
        fd,
        family,
        slot: poll.add(fd, POLLIN),
        allowance: BURST,
        since: 0,
        resumeAt: NEVER,
      })),
      index: 0,
    }));
  }

  /** Follows interfaces: one that comes, or comes back under another index, is listened to. */
  onLink(event: LinkEvent): void {
    if (event.kind !== 'interface' && event.kind !== 'interface-gone') return;
    const tap = this.#taps.find((one) => one.name === event.name);
    if (tap === undefined) return;
    if (event.kind === 'interface-gone') {
      tap.index = 0;
      return;
    }
    tap.exchange.setHardware(event.hardware);
    if (tap.index === event.index) return;
    tap.index = event.index;
    for (const { fd, family } of tap.sockets) {
      // An interface that is gone again by now: the next event will say so.
      if (fd >= 0) bindTap(fd, family, event.index);
    }
  }

  /** Reads what the last `wait` found, a bounded number of messages. */
  read(now: Micros, sink: (event: LinkEvent) => void): void {
    for (const tap of this.#taps) {
      for (const socket of tap.sockets) {
        if (socket.resumeAt === NEVER && this.#poll.revents(socket.slot) !== 0)
          this.#readSocket(tap, socket, now, sink);
      }
    }
  }

  /** Whether the last `wait` found something to read. */
  get isReady(): boolean {
    return this.#taps.some((tap) => tap.sockets.some(({ slot }) => this.#poll.revents(slot) !== 0));
  }

  /** When `handleTimeout` wants to be called, or NEVER. */
  pollTimeout(): Micros {
    let next = NEVER;
    for (const tap of this.#taps) for (const { resumeAt } of tap.sockets) next = Math.min(next, resumeAt);
    return next;
  }

  /** Listens again where a pause is over. */
  handleTimeout(now: Micros): void {
    for (const tap of this.#taps) {
      for (const socket of tap.sockets) {
        if (socket.resumeAt > now) continue;
        socket.resumeAt = NEVER;
        this.#poll.set(socket.slot, socket.fd);
      }
    }
  }

  #readSocket(tap: Tap, socket: Socket, now: Micros, sink: (event: LinkEvent) => void): void {
    const earned = ((now - socket.since) * PER_SECOND) / MICROS_PER_SECOND;
    socket.allowance = Math.min(BURST, socket.allowance + earned);
    socket.since = now;
    for (let i = 0; i < BATCH; i++) {
      if (socket.allowance < 1) {
        socket.resumeAt = now + PAUSE;
        this.#poll.set(socket.slot, -1);
        this.#counters[COUNTER.tapPauses]! += 1;
        return;
      }
      // Errors (ENETDOWN when the interface goes) are told by their netlink events; reading clears them.
      const length = recv(socket.fd, this.#address, TAP_BYTES);
      if (length <= 0) return;
      socket.allowance -= 1;
      const bytes = this.#buffer.slice(0, length);
      if (tap.exchange.handle(bytes, sink)) this.#counters[COUNTER.dhcpHeard]! += 1;
      else {
        this.#counters[COUNTER.icmpHeard]! += 1;
        sink({ kind: 'icmp', name: tap.name, bytes });
      }
    }
  }
}
