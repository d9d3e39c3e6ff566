/**
 * The rtnetlink socket: what the kernel says about interfaces, addresses, routes and neighbours of this network namespace.
 *
 * Subscribe first, then dump links, addresses, routes and neighbours one after another (the kernel runs one dump per socket), so
 * that nothing falls between. An overrun (ENOBUFS), an interrupted dump or doubt about routes starts the dump again; the
 * link table compares. The descriptor is non-blocking and meant for a poll set: call `read` when it is readable and
 * `handleTimeout` when `pollTimeout` is due. See native-notes/rtnetlink.md.
 */
import { MICROS_PER_MILLI, type Micros, NEVER } from '../base/time.ts';
import { EAGAIN, EINTR, ENOBUFS, systemError } from './errno.ts';
import {
  addressOf,
  bindSocket,
  close,
  MSG_TRUNC,
  POLLIN,
  PollSet,
  recv,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
  send,
  setsockopt,
  socket,
} from './libc.ts';
import { type DumpKind, type LinkSink, LinkTable } from './link-table.ts';
import { emitProbeRequest } from './neighbour-request.ts';
import {
  type ControlMessage,
  emitDumpRequest,
  parseNetlink,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETNEIGH,
  RTM_GETROUTE,
} from './netlink-messages.ts';

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;

/** uapi/linux/rtnetlink.h, legacy group masks. */
const RTMGRP_LINK = 0x1;
const RTMGRP_NEIGH = 0x4;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
const RTMGRP_IPV6_IFADDR = 0x100;
const RTMGRP_IPV6_ROUTE = 0x400;
const GROUPS =
  RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;

/** Dumps come in datagrams of up to 32 KiB (NLMSG_GOODSIZE grown by the reader's buffer); one link with many virtual functions may be larger. */
const BUFFER_BYTES = 256 * 1024;
/** Room for a burst of some ten thousand route changes before the kernel reports an overrun. */
const RECEIVE_BUFFER_BYTES = 8 << 20;
/** The kernel flushes routes after it sent the message that makes us doubt them; well under a reaction time that matters. */
const DOUBT_MICROS = 50 * MICROS_PER_MILLI;
/** Between dumps that keep being interrupted or refused, so that a storm of changes is not answered by a storm of dumps. */
const RETRY_MICROS = 100 * MICROS_PER_MILLI;
/** Datagrams per `read`: the packets of the datapath wait meanwhile. */
const BATCH = 64;

interface Step {
  readonly type: number;
  readonly kind: DumpKind;
}

const LINKS: Step = { type: RTM_GETLINK, kind: 'link' };
const ADDRESSES: Step = { type: RTM_GETADDR, kind: 'address' };
const ROUTES: Step = { type: RTM_GETROUTE, kind: 'route' };
const NEIGHBOURS: Step = { type: RTM_GETNEIGH, kind: 'neighbour' };
const EVERYTHING = [LINKS, ADDRESSES, ROUTES, NEIGHBOURS] as const;

/** Opens and subscribes the socket. Whoever opens it closes it. @throws TcpfreezeError SYSTEM_* */
export function openRtnetlink(): number {
  const fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (fd < 0) throw systemError('socket(AF_NETLINK)', fd);
  const size = Int32Array.of(RECEIVE_BUFFER_BYTES);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size) < 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size);
  // struct sockaddr_nl {u16 family, u16 pad, u32 pid, u32 groups}; pid 0 lets the kernel choose.
  const address = new Uint8Array(12);
  new Uint16Array(address.buffer)[0] = AF_NETLINK;
  new Uint32Array(address.buffer)[2] = GROUPS;
  const bound = bindSocket(fd, address);
  if (bound < 0) {
    close(fd);
    throw systemError('bind(AF_NETLINK)', bound);
  }
  return fd;
}

export class Rtnetlink {
  readonly fd: number;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #address = addressOf(this.#buffer);
  readonly #table = new LinkTable();
  /** The dumps still to come; the first one is running. */
  #steps: Step[] = [];
  #seq = 0;
  #deadline: Micros = NEVER;
  #deadlineSteps: readonly Step[] = [];
  #overruns = 0;

  /** @param fd from `openRtnetlink`; stays the caller's */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** How often the kernel dropped messages because they were read too late. */
  get overruns(): number {
    return this.#overruns;
  }

  /** Whether a dump is under way: until its end what is known is incomplete. */
  get syncing(): boolean {
    return this.#steps.length > 0;
  }

  /**
   * Dumps everything and waits for it, reporting it as events. For the start, before packets flow.
   * @param timeoutMicros how long at most; the dump goes on behind `read` if that was too short
   * @returns whether everything is known now
   */
  sync(now: () => Micros, sink: LinkSink, timeoutMicros: Micros = 5_000_000): boolean {
    const poll = new PollSet(1);
    poll.add(this.fd, POLLIN);
    const end = now() + timeoutMicros;
    this.#start(EVERYTHING, now());
    while (this.syncing || this.#deadline !== NEVER) {
      const time = now();
      if (time >= end) return false;
      this.handleTimeout(time);
      poll.wait(Math.min(end, this.#deadline) - time);
      this.read(now(), sink);
    }
    return true;
  }

  /** Reads what has arrived (a bounded batch) and reports what changed. Never throws on what the kernel sends. */
  read(now: Micros, sink: LinkSink): void {
    for (let i = 0; i < BATCH; i++) {
      const length = recv(this.fd, this.#address, BUFFER_BYTES, MSG_TRUNC);
      if (length === -EAGAIN || length === -EINTR || length === 0) return;
      if (length < 0) {
        // ENOBUFS is reported once per overrun; the messages still queued are read on.
        if (length === -ENOBUFS) this.#overruns++;
        this.#restart(now);
        if (length !== -ENOBUFS) return;
        continue;
      }
      this.handleDatagram(this.#buffer, length, now, sink);
    }
  }

  /** One datagram as received; `length` beyond the buffer means that it was cut off. */
  handleDatagram(bytes: Uint8Array, length: number, now: Micros, sink: LinkSink): void {
    for (const message of parseNetlink(bytes, length)) {
      if (message.kind === 'control') this.#control(message, now, sink);
      else this.#table.handle(message, sink);
    }
    if (this.#table.routesDoubtful) {
      this.#table.routesDoubtful = false;
      this.#schedule([ROUTES], now + DOUBT_MICROS);
    }
  }

  /**
   * Has the kernel probe a neighbour that it knows, at this hardware address; meanwhile what is for the neighbour goes there. A refusal
   * is of no consequence: the kernel goes on as it would have.
   */
  probe(name: string, address: Uint8Array, hardware: Uint8Array): void {
    const index = this.#table.indexOf(name);
    if (index === undefined) return;
    const request = emitProbeRequest(index, address, hardware);
    send(this.fd, addressOf(request), request.byteLength);
  }

  /** When `handleTimeout` wants to be called, or NEVER. */
  pollTimeout(): Micros {
    return this.#deadline;
  }

  /** Starts a dump that is due. Early calls change nothing. */
  handleTimeout(now: Micros): void {
    if (now < this.#deadline) return;
    const steps = this.#deadlineSteps;
    this.#deadline = NEVER;
    this.#deadlineSteps = [];
    this.#start(steps, now);
  }

  #control(message: ControlMessage, now: Micros, sink: LinkSink): void {
    const step = this.#steps[0];
    const ofDump = step !== undefined && message.seq === this.#seq;
    const failed = message.type === 'error' || message.interrupted || message.errno !== 0;
    if (message.type === 'overrun' || (ofDump && failed)) {
      this.#restart(now);
    } else if (ofDump) {
      this.#table.endDump(step.kind, sink);
      this.#steps.shift();
      this.#next(now);
    }
  }

  /** Everything anew, a little later. */
  #restart(now: Micros): void {
    this.#steps = [];
    this.#schedule(EVERYTHING, now + RETRY_MICROS);
  }

  #schedule(steps: readonly Step[], due: Micros): void {
    if (this.#deadlineSteps.length < steps.length) this.#deadlineSteps = steps;
    this.#deadline = Math.min(this.#deadline, due);
  }

  #start(steps: readonly Step[], now: Micros): void {
    // A dump that is still running would refuse another one (EBUSY): put it off until that is through.
    if (this.syncing) {
      this.#schedule(steps, now + RETRY_MICROS);
    } else {
      this.#steps = [...steps];
      this.#next(now);
    }
  }

  #next(now: Micros): void {
    const step = this.#steps[0];
    if (step === undefined) return;
    this.#table.beginDump();
    this.#seq = (this.#seq + 1) >>> 0;
    const request = emitDumpRequest(step.type, this.#seq);
    if (send(this.fd, addressOf(request), request.byteLength) < 0) this.#restart(now);
  }
}
