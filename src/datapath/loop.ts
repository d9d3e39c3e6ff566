/**
 * The datapath loop.
 *
 * Theory of operation
 *
 * Purpose. Carry packets from the device through the engine and back, and bring the engine everything else it lives on:
 * link events, commands, time. One thread, one loop, all calls synchronous: a promise per packet would cost more than
 * the packet.
 *
 * A turn:
 *   1. wait: ppoll on device, rtnetlink socket, packet taps and wake-up eventfd, until the nearest deadline. If the last turn left packets
 *      unread it only looks (time-out 0), so that links and commands are served under full load, too.
 *   2. read the clock, once. Everything in this turn happens "now".
 *   3. link events, then commands: what they decide applies to the packets of this very turn.
 *   4. up to BATCH packets: read into the arena where the engine wants it, `handlePacket`, and on FORWARD write from the
 *      same place. No copy, no allocation.
 *   5. deadlines, if due; then drain: synthesized packets are written from the outbox, events are collected and posted.
 *
 * Limits. A batch bounds how stale `now` gets and how long a due replay waits: 64 super-packets take under a
 * millisecond. It never spins: with nothing to do it sleeps in ppoll for as long as the engine allows, and the engine
 * paces replays by deadlines.
 *
 * What fails. Nothing here throws on what the kernel answers. A refused write is counted: `writeDropped` when the kernel
 * had no room (EAGAIN, ENOBUFS, ENOMEM), `writeErrors` when it did not want the packet (EINVAL: a header it cannot parse;
 * EIO: the interface is down; EMSGSIZE). A failing read is counted and ends the batch. If the device itself is gone (POLLERR
 * or POLLHUP, or EBADFD on read) the loop ends with that reason, and traffic falls back to the kernel. Only a programmer error
 * throws: it ends the worker with the same effect.
 *
 * Threads. Everything here runs in the worker. The main thread wakes it by the eventfd and posts commands on a message
 * port that is drained in step 3 (worker.ts).
 */
import { observe } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { EngineEvent } from '../engine/commands.ts';
import { COUNTER } from '../engine/counters.ts';
import { type Disposition, type Engine, FORWARD, READ_MAX } from '../engine/engine.ts';
import type { HandshakeBatch } from '../engine/handshakes.ts';
import type { JournalBatch } from '../freeze/journal.ts';
import type { EchoRequest, LinkEvent, ResolveRequest } from '../link/events.ts';
import { EAGAIN, EINTR, ENOBUFS, ENOMEM } from '../native/errno.ts';

/**
 * Packets read in one turn. Measured at full load: about 20 are waiting on average, so the bound is for bursts and for what
 * else there is to do.
 */
export const BATCH = 64;

/** errno of a read or poll on a TUN whose device was deleted (drivers/net/tun.c: tun_chr_read_iter). */
const EBADFD = 77;

/** Where packets come from and go to. Results as of read(2) and write(2): bytes, or a negative errno. */
export interface PacketDevice {
  /** Reads one packet to `offset` in the arena; at most READ_MAX bytes. -EAGAIN when there is none. */
  read(offset: number): number;
  /** Writes one packet from `offset` in the arena, or in the outbox. */
  write(offset: number, length: number, fromOutbox: boolean): number;
}

/** What `wait` reports, as a sum of bits. */
export const READY_DEVICE = 1;
export const READY_LINKS = 2;
export const READY_COMMANDS = 4;
export const DEVICE_GONE = 8;

/** The rest of the world. */
export interface LoopHost {
  now(): Micros;
  /** Sleeps until something is ready, or for the time given (0: looks only; Infinity: for ever). */
  wait(timeoutMicros: number): number;
  /** Reads link events that have arrived. */
  readLinks(now: Micros, sink: (event: LinkEvent) => void): void;
  /** When `linksTimeout` has to be called, or NEVER. */
  pollLinksTimeout(): Micros;
  linksTimeout(now: Micros): void;
  /** Serves the commands that have arrived. False ends the loop. */
  serveCommands(now: Micros): boolean;
  /** Has the kernel try a neighbour again. */
  resolve(request: ResolveRequest): void;
  /** Hands a batch to the journal; its success comes back through `serveCommands`. */
  writeJournal(batch: JournalBatch): void;
  /** Hands a part of the table of handshakes to the journal; nobody waits for it. */
  writeHandshakes(batch: HandshakeBatch): void;
  /** Events of the engine and of the links, echoes to be sent; called only with at least one, at most once a turn. */
  report(events: readonly EngineEvent[], links: readonly LinkEvent[], echoes: readonly EchoRequest[]): void;
}

/** What the loop needs of the engine. */
export type LoopEngine = Pick<
  Engine,
  | 'readOffset'
  | 'transmitOffset'
  | 'handlePacket'
  | 'handleLink'
  | 'handleTimeout'
  | 'pollTransmit'
  | 'pollTimeout'
  | 'pollEvent'
  | 'pollEcho'
  | 'pollResolve'
  | 'pollJournal'
  | 'pollHandshakes'
>;

/** Whoever records what passes; asked for each packet only while it is active. */
export interface LoopCaptures {
  readonly isActive: boolean;
  /** The engine has handled the packet last read; it was written if it was to be. */
  handled(disposition: Disposition): void;
  /** A packet of the outbox was written. */
  transmitted(offset: number, length: number): void;
}

const NO_CAPTURES: LoopCaptures = { isActive: false, handled: () => {}, transmitted: () => {} };

export type LoopEnd = 'stopped' | 'device-gone';

/**
 * Runs until a command stops it or the device disappears.
 * @param counters the engine's counters; the loop adds its own: turns, readErrors, writeErrors, writeDropped
 */
export function runLoop(
  engine: LoopEngine,
  device: PacketDevice,
  host: LoopHost,
  counters: Float64Array,
  captures: LoopCaptures = NO_CAPTURES,
): LoopEnd {
  const links: LinkEvent[] = [];
  const events: EngineEvent[] = [];
  const echoes: EchoRequest[] = [];
  let now: Micros = host.now();
  const onLink = (event: LinkEvent): void => {
    engine.handleLink(event, now);
    if (isTold(event)) links.push(event);
  };
  // The first turn only looks: the links reported at the start may have left events and deadlines behind.
  let more = true;
  let end = now;
  for (;;) {
    const deadline = Math.min(engine.pollTimeout(), host.pollLinksTimeout());
    const ready = host.wait(more ? 0 : deadline === NEVER ? NEVER : deadline - end);
    now = host.now();
    bump(counters, COUNTER.turns);
    if ((ready & READY_LINKS) !== 0) host.readLinks(now, onLink);
    if (host.pollLinksTimeout() <= now) host.linksTimeout(now);
    if ((ready & READY_COMMANDS) !== 0 && !host.serveCommands(now)) return 'stopped';
    if ((ready & DEVICE_GONE) !== 0) return 'device-gone';
    more = false;
    if ((ready & READY_DEVICE) !== 0) {
      // What links and commands have brought about goes before the packets that come now.
      writeTransmits(engine, device, counters, captures);
      const last = passPackets(engine, device, counters, captures, now);
      if (last === -EBADFD) return 'device-gone';
      more = last > 0;
    }
    if (engine.pollTimeout() <= now) engine.handleTimeout(now);
    const batch = engine.pollJournal(now);
    if (batch !== null) host.writeJournal(batch);
    const handshakes = engine.pollHandshakes();
    if (handshakes !== null) host.writeHandshakes(handshakes);
    writeTransmits(engine, device, counters, captures);
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) events.push(event);
    for (let echo = engine.pollEcho(); echo !== undefined; echo = engine.pollEcho()) {
      bump(counters, COUNTER.echoRequests);
      echoes.push(echo);
    }
    for (let wanted = engine.pollResolve(); wanted !== undefined; wanted = engine.pollResolve()) host.resolve(wanted);
    if (events.length > 0 || links.length > 0 || echoes.length > 0) {
      host.report(events, links, echoes);
      events.length = 0;
      links.length = 0;
      echoes.length = 0;
    }
    end = host.now();
    observe(counters, 'turnTime', end - now);
  }
}

/** Whether the main thread hears of a link event: of what others can bring about at will it does not. */
export function isTold(event: LinkEvent): boolean {
  return event.kind !== 'icmp' && event.kind !== 'neighbour' && event.kind !== 'dhcp' && event.kind !== 'echo';
}

/** One batch. Returns the result of the last read: positive when there may be more. */
function passPackets(
  engine: LoopEngine,
  device: PacketDevice,
  counters: Float64Array,
  captures: LoopCaptures,
  now: Micros,
): number {
  for (let i = 0; i < BATCH; i++) {
    const offset = engine.readOffset;
    const length = device.read(offset);
    if (length <= 0) {
      if (length !== -EAGAIN && length !== -EINTR) bump(counters, COUNTER.readErrors);
      return length;
    }
    const disposition = engine.handlePacket(offset, length, now);
    if (disposition === FORWARD) {
      const written = device.write(offset, length, false);
      if (written < 0) countWrite(counters, written);
    }
    if (captures.isActive) captures.handled(disposition);
    // At once: behind later packets of the batch its sequence number and time stamp would be old (RFC 7323 5.3).
    writeTransmits(engine, device, counters, captures);
  }
  return READ_MAX;
}

function writeTransmits(
  engine: LoopEngine,
  device: PacketDevice,
  counters: Float64Array,
  captures: LoopCaptures,
): void {
  for (let length = engine.pollTransmit(); length > 0; length = engine.pollTransmit()) {
    const written = device.write(engine.transmitOffset, length, true);
    if (written < 0) countWrite(counters, written);
    if (captures.isActive) captures.transmitted(engine.transmitOffset, length);
  }
}

function countWrite(counters: Float64Array, result: number): void {
  const noRoom = result === -EAGAIN || result === -ENOBUFS || result === -ENOMEM;
  bump(counters, noRoom ? COUNTER.writeDropped : COUNTER.writeErrors);
}

function bump(counters: Float64Array, index: number): void {
  counters[index] = (counters[index] ?? 0) + 1;
}
