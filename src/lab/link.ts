/**
 * The link emulator: a process in the link namespace that carries frames between two interfaces, with rate, delay, queue and
 * loss per direction, and can be cut. Its arguments are one JSON document (`LinkOptions`), its control lines are
 * those of child.ts: `cut`, `restore`, `statistics`.
 *
 * It also sets the interfaces down and up that a cut takes along, because only here the moment is known: a program
 * started for it would act milliseconds later, on a busy machine tens of them.
 *
 * One synchronous loop: wait in ppoll for a frame, a control line or the next arrival, whichever is first; with nothing
 * under way it sleeps until a frame comes. Frames are read into their slot and sent from it, never copied.
 */
import { execFileSync } from 'node:child_process';
import { readSync, writeSync } from 'node:fs';
import os from 'node:os';
import { InterfaceFlags } from '../native/interface-flags.ts';
import { addressOf, MSG_TRUNC, POLLHUP, POLLIN, PollSet, recv, send } from '../native/libc.ts';
import { openPacketSocket } from '../native/packet-socket.ts';
import { lineSplitter } from './child.ts';
import { type DirectionSettings, LinkDirection } from './emulator.ts';

export interface LinkOptions {
  /** Interface names of the two ends in this namespace. */
  readonly near: string;
  readonly far: string;
  /** Path of the gateway's network namespace, and its interface on this link. */
  readonly gatewayNamespace: string;
  readonly gatewayInterface: string;
  /** Largest frame, default 2048 bytes. */
  readonly frameBytes?: number;
  readonly nearToFar: DirectionSettings;
  readonly farToNear: DirectionSettings;
}

/** A full frame with a VLAN tag is 1518 bytes; what does not fit was not segmented by its sender. */
const STANDARD_SLOT_BYTES = 2048;
/** 200 Mb/s of 64-byte frames for 40 ms are 15,625 frames; fewer where frames are large, within the same memory or so. */
const STANDARD_SLOTS = 16_384;
const LARGE_SLOTS = 4_096;
/** Frames read from one end before the other end and the deadlines get their turn. */
const BATCH = 32;
const EAGAIN = -11;
const ENOBUFS = -105;
/** Pause between two looks at the state of an interface that is coming up, microseconds. */
const LOOK_MICROS = 200;

const options = JSON.parse(process.argv[2] ?? '{}') as LinkOptions;

const SLOT_BYTES = Math.max(STANDARD_SLOT_BYTES, options.frameBytes ?? 0);
const SLOTS = SLOT_BYTES > STANDARD_SLOT_BYTES ? LARGE_SLOTS : STANDARD_SLOTS;

takePrecedence();

const memory = new Uint8Array(2 * SLOTS * SLOT_BYTES);
const base = addressOf(memory);

/** One direction with the descriptors and memory that belong to it. */
interface Lane {
  readonly direction: LinkDirection;
  readonly from: number;
  readonly to: number;
  readonly address: number;
}

const near = openPacketSocket(options.near).fd;
const far = openPacketSocket(options.far).fd;
const lanes: readonly Lane[] = [
  { direction: new LinkDirection(options.nearToFar, SLOTS), from: near, to: far, address: base },
  { direction: new LinkDirection(options.farToNear, SLOTS), from: far, to: near, address: base + SLOTS * SLOT_BYTES },
];

/** Microseconds of CLOCK_MONOTONIC, so that times compare with those of other processes. */
function monotonic(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

const origin = monotonic() - performance.now() * 1000;

function now(): number {
  return origin + performance.now() * 1000;
}

function receive(lane: Lane): void {
  for (let count = 0; count < BATCH; count++) {
    const length = recv(lane.from, lane.address + lane.direction.readSlot * SLOT_BYTES, SLOT_BYTES, MSG_TRUNC);
    // Also ENETDOWN, reported once when the interface goes down: nothing to read then.
    if (length <= 0) return;
    if (length > SLOT_BYTES) lane.direction.statistics.oversize++;
    else lane.direction.accept(length, now());
  }
}

/**
 * The delay must be right while the processors are busy with the very traffic that is being measured: the lowest real-time priority,
 * for this thread alone (it sleeps whenever nothing is due), else a better one than others, else none: an unprivileged run.
 */
function takePrecedence(): void {
  try {
    execFileSync('chrt', ['--fifo', '--pid', '1', String(process.pid)], { stdio: 'ignore' });
  } catch {
    try {
      os.setPriority(-15);
    } catch {
      // The default priority then; a busy machine shows as jitter.
    }
  }
}

/** Hands over what has arrived. @returns when the next frame arrives */
function deliver(lane: Lane): number {
  const { direction } = lane;
  let time = now();
  for (let arrival = direction.nextArrival(); ; arrival = direction.nextArrival()) {
    if (arrival > time) {
      time = now();
      if (arrival > time) return arrival;
    }
    const sent = send(lane.to, lane.address + direction.headSlot * SLOT_BYTES, direction.headLength);
    // A full ring of the far end empties within microseconds; the frame stays in place until then.
    if (sent === ENOBUFS || sent === EAGAIN) return time + 50;
    direction.pop(sent > 0);
  }
}

/**
 * How a link is lost. `carrier`: the gateway's interface loses its carrier, and packets are gone. `swallow`: packets are
 * silently dropped, which no interface state shows. `admin`: the gateway's interface itself is set down, which also takes its routes.
 */
export type CutKind = 'carrier' | 'swallow' | 'admin';

/** What goes down with a cut of each kind. A veth loses its carrier when its peer is down. */
const switched: Readonly<Record<CutKind, InterfaceFlags | undefined>> = {
  carrier: new InterfaceFlags(options.near),
  swallow: undefined,
  admin: new InterfaceFlags(options.gatewayInterface, options.gatewayNamespace),
};
const gatewayInterface = switched.admin!;

let running = true;
let cut: CutKind | undefined;
/** A `restore` that is answered when the gateway's interface is operational. */
let restoring: { readonly id: number; readonly openedAt: number } | undefined;

const input = Buffer.alloc(65_536);
const onLine = lineSplitter((line) => {
  const request = JSON.parse(line) as { id: number; op: string; kind: CutKind };
  const { id, op } = request;
  switch (op) {
    case 'cut': {
      for (const lane of lanes) lane.direction.cut();
      const at = monotonic();
      cut = request.kind;
      switched[cut]?.set(false);
      return answer({ id, at });
    }
    case 'restore':
      restoring = { id, openedAt: restore() };
      return;
    case 'statistics':
      return answer({
        id,
        at: monotonic(),
        cut,
        nearToFar: lanes[0]!.direction.statistics,
        farToNear: lanes[1]!.direction.statistics,
      });
    default:
      return answer({ id, error: `unknown request ${op}` });
  }
});

/** @returns the moment from which packets are carried; the interface is set up right after it, and has its carrier then */
function restore(): number {
  // What piled up in the sockets before this moment belongs to the outage.
  for (const lane of lanes) receiveAll(lane);
  for (const lane of lanes) lane.direction.restore();
  const openedAt = monotonic();
  if (cut !== undefined) switched[cut]?.set(true);
  cut = undefined;
  return openedAt;
}

/**
 * The operational state follows the carrier with a delay of up to 1 s (net/core/link_watch.c); after a cut shorter than that it never
 * left "up". @returns whether there is more to wait for
 */
function awaitOperational(): boolean {
  if (restoring === undefined) return false;
  if (!gatewayInterface.isOperational()) return true;
  answer({ ...restoring, operationalAt: monotonic() });
  restoring = undefined;
  return false;
}

function receiveAll(lane: Lane): void {
  const { direction } = lane;
  let before: number;
  do {
    before = direction.statistics.cutDrops;
    receive(lane);
  } while (direction.statistics.cutDrops > before);
}

function answer(message: object): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

function control(): void {
  const length = readSync(0, input, 0, input.length, null);
  if (length === 0) running = false;
  else onLine(input.toString('utf8', 0, length));
}

const poll = new PollSet(3);
poll.add(0, POLLIN);
poll.add(near, POLLIN);
poll.add(far, POLLIN);

answer({ event: 'ready' });
while (running) {
  const next = Math.min(deliver(lanes[0]!), deliver(lanes[1]!));
  const pause = next === Number.POSITIVE_INFINITY ? next : next - now();
  poll.wait(awaitOperational() ? Math.min(pause, LOOK_MICROS) : pause);
  if ((poll.revents(0) & (POLLIN | POLLHUP)) !== 0) control();
  if (poll.revents(1) !== 0) receive(lanes[0]!);
  if (poll.revents(2) !== 0) receive(lanes[1]!);
}
// The descriptors go with the process.
process.exit(0);
