/** The thread of the loop without an engine: the gateway's memory, device, waiting and loop around an engine that forwards all. */
import { workerData } from 'node:worker_threads';
import { COUNTERS_BYTES } from '../../base/figures.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import { monotonicMicros } from '../../datapath/clock.ts';
import { DEFAULT_ARENA_BYTES, DEFAULT_OUTBOX_BYTES } from '../../datapath/datapath.ts';
import { TunDevice } from '../../datapath/device.ts';
import {
  DEVICE_GONE,
  type LoopEngine,
  type LoopHost,
  READY_COMMANDS,
  READY_DEVICE,
  runLoop,
} from '../../datapath/loop.ts';
import { FORWARD, READ_MAX } from '../../engine/engine.ts';
import { addressOf, MADV_HUGEPAGE, madvise, POLLIN, PollSet, setTimerSlack } from '../../native/libc.ts';

export interface BareLoopStart {
  readonly tunFd: number;
  readonly wakeFd: number;
}

/** Longer than a header with all options: there is payload, which the gateway would keep. */
const LONGEST_HEADER_BYTES = 140;

/** Moves through the arena as the gateway does, so that both touch the same memory. */
class BareEngine implements LoopEngine {
  readonly transmitOffset = 0;
  readOffset = 0;
  readonly #end: number;

  constructor(arenaBytes: number) {
    this.#end = arenaBytes - READ_MAX;
  }

  handlePacket(offset: number, length: number): typeof FORWARD {
    if (length > LONGEST_HEADER_BYTES) {
      const next = offset + ((length + 63) & ~63);
      this.readOffset = next > this.#end ? 0 : next;
    }
    return FORWARD;
  }

  handleLink(): void {}

  handleTimeout(): void {}

  pollTransmit(): number {
    return 0;
  }

  pollTimeout(): Micros {
    return NEVER;
  }

  pollJournal(): null {
    return null;
  }

  pollHandshakes(): null {
    return null;
  }

  pollEvent(): undefined {
    return undefined;
  }

  pollEcho(): undefined {
    return undefined;
  }

  pollResolve(): undefined {
    return undefined;
  }
}

class BareHost implements LoopHost {
  readonly #poll = new PollSet(2);

  constructor({ tunFd, wakeFd }: BareLoopStart) {
    this.#poll.add(tunFd, POLLIN);
    this.#poll.add(wakeFd, POLLIN);
  }

  now(): Micros {
    return monotonicMicros();
  }

  wait(timeoutMicros: number): number {
    this.#poll.wait(timeoutMicros);
    const tun = this.#poll.revents(0);
    const device = tun === 0 ? 0 : tun === POLLIN ? READY_DEVICE : DEVICE_GONE;
    return device | (this.#poll.revents(1) === 0 ? 0 : READY_COMMANDS);
  }

  readLinks(): void {}

  resolve(): void {}

  pollLinksTimeout(): Micros {
    return NEVER;
  }

  linksTimeout(): void {}

  /** The one command is to end. */
  serveCommands(): boolean {
    return false;
  }

  writeJournal(): void {}

  writeHandshakes(): void {}

  report(): void {}
}

const start = workerData as BareLoopStart;
const arena = new ArrayBuffer(DEFAULT_ARENA_BYTES);
madvise(addressOf(arena), arena.byteLength, MADV_HUGEPAGE);
setTimerSlack(1);
const device = new TunDevice(start.tunFd, arena, new ArrayBuffer(DEFAULT_OUTBOX_BYTES));
runLoop(
  new BareEngine(arena.byteLength),
  device,
  new BareHost(start),
  new Float64Array(new SharedArrayBuffer(COUNTERS_BYTES)),
);
