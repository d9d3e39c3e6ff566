/**
 * The TUN device as the loop sees it: reads and writes by address, into the arena and out of arena and outbox.
 */
import { READ_MAX } from '../engine/engine.ts';
import { addressOf, read, write } from '../native/libc.ts';
import type { PacketDevice } from './loop.ts';

export class TunDevice implements PacketDevice {
  readonly #fd: number;
  readonly #arena: ArrayBuffer;
  readonly #outbox: ArrayBuffer;
  readonly #arenaAddress: number;
  readonly #outboxAddress: number;

  /** The buffers are held here, so that their addresses stay valid as long as the device does. */
  constructor(fd: number, arena: ArrayBuffer, outbox: ArrayBuffer) {
    this.#fd = fd;
    this.#arena = arena;
    this.#outbox = outbox;
    this.#arenaAddress = addressOf(arena);
    this.#outboxAddress = addressOf(outbox);
  }

  read(offset: number): number {
    // The kernel writes wherever it is told: an offset out of bounds must never reach it.
    if (offset < 0 || offset + READ_MAX > this.#arena.byteLength) throw new RangeError(`arena offset ${offset}`);
    return read(this.#fd, this.#arenaAddress + offset, READ_MAX);
  }

  write(offset: number, length: number, fromOutbox: boolean): number {
    const memory = fromOutbox ? this.#outbox : this.#arena;
    if (offset < 0 || offset + length > memory.byteLength) throw new RangeError(`packet offset ${offset}`);
    return write(this.#fd, (fromOutbox ? this.#outboxAddress : this.#arenaAddress) + offset, length);
  }
}
