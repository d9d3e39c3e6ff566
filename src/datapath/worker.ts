/**
 * The datapath's thread: makes the memory, the engine and the loop, and runs until told to stop.
 *
 * It blocks in the loop, so its own event loop never turns: commands are taken with `receiveMessageOnPort` after the
 * eventfd woke it, and what it posts reaches the main thread without its help.
 */
import { setPriority } from 'node:os';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Micros } from '../base/time.ts';
import { CaptureTaps } from '../capture/capture-tap.ts';
import type { EngineEvent, Reply } from '../engine/commands.ts';
import { Engine } from '../engine/engine.ts';
import type { HandshakeBatch } from '../engine/handshakes.ts';
import type { JournalBatch } from '../freeze/journal.ts';
import type { JournalOrder, JournalReport } from '../journal/messages.ts';
import type { EchoRequest, LinkEvent, ResolveRequest } from '../link/events.ts';
import { errnoName } from '../native/errno.ts';
import {
  addressOf,
  gettid,
  MADV_HUGEPAGE,
  madvise,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  PollSet,
  read,
  setTimerSlack,
} from '../native/libc.ts';
import { Rtnetlink } from '../native/rtnetlink.ts';
import { fineMicros, monotonicMicros } from './clock.ts';
import { TunDevice } from './device.ts';
import { DEVICE_GONE, isTold, type LoopHost, READY_COMMANDS, READY_DEVICE, READY_LINKS, runLoop } from './loop.ts';
import type { CaptureMessage, CommandMessage, EchoMessage, WorkerMessage, WorkerStart } from './messages.ts';
import { Taps } from './taps.ts';

/** Below that of ordinary processes, above what the kernel itself needs. */
const DATAPATH_NICE = -10;

const { start, port } = workerData as { start: WorkerStart; port: MessagePort };
const journalPort = typeof start.journal === 'object' ? start.journal?.port : undefined;

class WorkerHost implements LoopHost {
  readonly #poll = new PollSet(3 + 2 * start.taps.length);
  readonly #tun: number;
  readonly #netlink: number;
  readonly #wake: number;
  readonly #rtnetlink: Rtnetlink;
  readonly #engine: Engine;
  readonly #stopFlag = new Int32Array(start.stopFlag);
  /** The eventfd's counter is read here to clear it; its value says nothing. */
  readonly #wakeCount = new Uint8Array(8);
  readonly #wakeAddress = addressOf(this.#wakeCount);

  readonly #taps: Taps;

  readonly #captures: CaptureTaps;

  constructor(engine: Engine, rtnetlink: Rtnetlink, counters: Float64Array, captures: CaptureTaps) {
    this.#captures = captures;
    this.#engine = engine;
    this.#rtnetlink = rtnetlink;
    this.#tun = this.#poll.add(start.tunFd, POLLIN);
    this.#netlink = this.#poll.add(start.netlinkFd, POLLIN);
    this.#wake = this.#poll.add(start.wakeFd, POLLIN);
    this.#taps = new Taps(start.taps, this.#poll, counters);
  }

  /** What was known before the loop began. */
  onLink(event: LinkEvent): void {
    this.#taps.onLink(event);
  }

  now(): Micros {
    return monotonicMicros();
  }

  wait(timeoutMicros: number): number {
    const count = this.#poll.wait(timeoutMicros);
    if (count === 0) return 0;
    // EFAULT or EINVAL: the set itself is wrong. Going on would spin.
    if (count < 0) throw new Error(`ppoll failed: ${errnoName(count)}`);
    let ready = 0;
    const tun = this.#poll.revents(this.#tun);
    if (tun !== 0) {
      ready |= (tun & (POLLERR | POLLHUP | POLLNVAL)) !== 0 ? DEVICE_GONE : READY_DEVICE;
    }
    // A netlink overrun shows as POLLERR: reading fetches the error and clears it.
    if (this.#poll.revents(this.#netlink) !== 0 || this.#taps.isReady) ready |= READY_LINKS;
    if (this.#poll.revents(this.#wake) !== 0) ready |= READY_COMMANDS;
    return ready;
  }

  readLinks(now: Micros, sink: (event: LinkEvent) => void): void {
    // Interfaces first: what a tap heard is then judged by what is known of its link.
    if (this.#poll.revents(this.#netlink) !== 0) {
      this.#rtnetlink.read(now, (event) => {
        this.#taps.onLink(event);
        sink(event);
      });
    }
    this.#taps.read(now, sink);
  }

  pollLinksTimeout(): Micros {
    return Math.min(this.#rtnetlink.pollTimeout(), this.#taps.pollTimeout());
  }

  linksTimeout(now: Micros): void {
    this.#rtnetlink.handleTimeout(now);
    this.#taps.handleTimeout(now);
  }

  serveCommands(now: Micros): boolean {
    // Cleared before the messages are taken: one posted afterwards wakes the loop again.
    read(start.wakeFd, this.#wakeAddress, 8);
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      const message = next.message as CommandMessage | CaptureMessage | EchoMessage;
      if ('echo' in message) this.#engine.handleLink(message.echo, now);
      else if ('capture' in message) post({ kind: 'reply', id: message.id, reply: this.#onCapture(message) });
      else post({ kind: 'reply', id: message.id, reply: this.#engine.handleCommand(message.command, now) });
    }
    this.#readJournal(now);
    return Atomics.load(this.#stopFlag, 0) === 0;
  }

  resolve({ name, address, hardware }: ResolveRequest): void {
    this.#rtnetlink.probe(name, address, hardware);
  }

  writeJournal(batch: JournalBatch): void {
    journalPort?.postMessage(batch satisfies JournalOrder, [batch.buffer]);
  }

  writeHandshakes(batch: HandshakeBatch): void {
    journalPort?.postMessage({ handshakes: batch } satisfies JournalOrder, [batch.buffer]);
  }

  #readJournal(now: Micros): void {
    if (journalPort === undefined) return;
    let synced = 0;
    for (let next = receiveMessageOnPort(journalPort); next !== undefined; next = receiveMessageOnPort(journalPort)) {
      const report = next.message as JournalReport;
      if (report.kind === 'synced') synced = report.number;
      else if (report.kind === 'handshakes-lost') this.#engine.handleHandshakesLost(now);
      else this.#engine.handleJournalState(report.kind === 'failed' ? report.reason : null, now);
    }
    if (synced > 0) this.#engine.handleJournalSync(synced, now);
  }

  #onCapture({ capture }: CaptureMessage): Reply {
    if ('attach' in capture) this.#captures.add(capture.attach);
    else this.#captures.remove(capture.detach);
    return { kind: 'done', flows: 0, message: '' };
  }

  report(events: readonly EngineEvent[], links: readonly LinkEvent[], echoes: readonly EchoRequest[]): void {
    post({ kind: 'report', events, links, echoes });
  }
}

function post(message: WorkerMessage): void {
  port.postMessage(message);
}

function main(): void {
  const degraded: string[] = [];
  const arena = new ArrayBuffer(start.arenaBytes);
  const outbox = new ArrayBuffer(start.outboxBytes);
  const counters = new Float64Array(start.counters);
  if (start.hugePages) {
    const result = madvise(addressOf(arena), arena.byteLength, MADV_HUGEPAGE);
    if (result < 0) degraded.push(`the kernel refused huge pages for the arena (${errnoName(result)})`);
  }
  // Replay is paced by this thread's sleeps: 50 us of the default slack each would bunch packets. No harm where refused.
  setTimerSlack(1);
  try {
    // setpriority(2) with 0 acts on the calling thread. A datapath that waits for the processor compresses ACKs into bursts:
    // measured beside two busy processes, stalls of up to 60 ms, which then overran a queue of 400 packets.
    setPriority(0, DATAPATH_NICE);
  } catch {
    // Without CAP_SYS_NICE it runs like everybody else.
  }
  const engine = new Engine(start.engine, { arena, outbox, counters });
  const rtnetlink = new Rtnetlink(start.netlinkFd);
  const captures = new CaptureTaps(engine, outbox, counters, start.engine.vnetHeaderLength, fineMicros);
  const host = new WorkerHost(engine, rtnetlink, counters, captures);
  const links: LinkEvent[] = [];
  const complete = rtnetlink.sync(monotonicMicros, (event) => {
    engine.handleLink(event, monotonicMicros());
    host.onLink(event);
    if (isTold(event)) links.push(event);
  });
  if (!complete) degraded.push('the kernel did not list its interfaces and routes within 5 s: they will follow');
  if (typeof start.journal === 'string') engine.handleJournalState(start.journal, monotonicMicros());
  else if (start.journal !== null) {
    engine.remember(start.journal.handshakes, monotonicMicros());
    engine.recall(start.journal.records, monotonicMicros());
  }
  post({ kind: 'ready', degraded, thread: gettid() });
  if (links.length > 0) post({ kind: 'report', events: [], links, echoes: [] });
  const device = new TunDevice(start.tunFd, arena, outbox);
  const end = runLoop(engine, device, host, counters, captures);
  if (end === 'device-gone') post({ kind: 'device-gone' });
  // Where they are now: the next process recognises them by it.
  const last = engine.pollHandshakes(true);
  if (last !== null) host.writeHandshakes(last);
  port.close();
  journalPort?.close();
}

main();
