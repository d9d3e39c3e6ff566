/**
 * The link emulator: a process in the link namespace that carries frames between two interfaces, with rate, delay, queue and
 * loss per direction, and can be cut. Its arguments are one JSON document (`LinkOptions`), its control lines are
 * those of child.ts: `cut`, `restore`, `statistics`.
 *
 * One synchronous loop: wait in ppoll for a frame, a control line or the next arrival, whichever is first; with nothing
 * under way it sleeps until a frame comes. Frames are read into their slot and sent from it, never copied.
 */
import { execFileSync } from 'node:child_process';
import { readSync, writeSync } from 'node:fs';
import os from 'node:os';
import { addressOf, MSG_TRUNC, POLLHUP, POLLIN, PollSet, recv, send } from '../native/libc.ts';
import { openPacketSocket } from '../native/packet-socket.ts';
import { lineSplitter } from './child.ts';
import { type DirectionSettings, LinkDirection } from './emulator.ts';

export interface LinkOptions {
  /** Interface names of the two ends in this namespace. */
  readonly near: string;
  readonly far: string;
  readonly nearToFar: DirectionSettings;
  readonly farToNear: DirectionSettings;
}

/** A full frame with a VLAN tag is 1518 bytes; what does not fit was not segmented by its sender. */
const SLOT_BYTES = 2048;
/** 200 Mb/s of 64-byte frames for 40 ms are 15,625 frames. */
const SLOTS = 16_384;
/** Frames read from one end before the other end and the deadlines get their turn. */
const BATCH = 32;
const EAGAIN = -11;
const ENOBUFS = -105;

const options = JSON.parse(process.argv[2] ?? '{}') as LinkOptions;

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

let running = true;
let cut = false;

const input = Buffer.alloc(65_536);
const onLine = lineSplitter((line) => {
  const { id, op } = JSON.parse(line) as { id: number; op: string };
  switch (op) {
    case 'cut':
      cut = true;
      for (const lane of lanes) lane.direction.cut();
      return answer({ id, at: monotonic() });
    case 'restore':
      // What piled up in the sockets before this moment belongs to the outage.
      for (const lane of lanes) receiveAll(lane);
      cut = false;
      for (const lane of lanes) lane.direction.restore();
      return answer({ id, at: monotonic() });
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
  poll.wait(next === Number.POSITIVE_INFINITY ? next : next - now());
  if ((poll.revents(0) & (POLLIN | POLLHUP)) !== 0) control();
  if (poll.revents(1) !== 0) receive(lanes[0]!);
  if (poll.revents(2) !== 0) receive(lanes[1]!);
}
// The descriptors go with the process.
process.exit(0);
