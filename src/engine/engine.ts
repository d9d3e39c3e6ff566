/**
 * The one object that the shell talks to. (Bootstrap: forwards everything.)
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { LinkEvent } from '../link/events.ts';
import type { Command, EngineEvent, Reply } from './commands.ts';

/** Verdicts of `handlePacket`. */
export const FORWARD = 0;
export const DROP = 1;
export const CONSUME = 2;
export type Disposition = typeof FORWARD | typeof DROP | typeof CONSUME;

/** Largest thing one read can deliver: virtio-net header and a 64 KiB datagram. The shell offers that much room. */
export const READ_MAX = 12 + 65_535;

export interface PortConfig {
  /** Interface name; the port's identifier is its index in the list. */
  readonly name: string;
  readonly role: 'lan' | 'wan';
}

export interface EngineConfig {
  readonly ports: readonly PortConfig[];
  /** Bytes of virtio-net header before each datagram: 10 with IFF_VNET_HDR, 0 without. */
  readonly vnetHeaderLength: 0 | 10;
  /** Whether GSO super-packets may be emitted (the kernel accepted TUNSETOFFLOAD). */
  readonly gso: boolean;
  readonly maxFlows: number;
  readonly custodyBytesPerFlow: number;
  readonly custodyBytesTotal: number;
  /** Refuse all freezing: the engine then is a wire (invariant 3). */
  readonly freezing: boolean;
  /** Key of the flow table's hash: two random 32-bit words from the shell. */
  readonly hashKey: readonly [number, number];
  /** Seed of the repeatable generator. */
  readonly seed: number;
}

/**
 * Memory that the shell owns and the engine works in. The shell knows the native address of `arena` and `outbox`,
 * reads each packet to `arena` at `engine.readOffset`, and writes forwarded packets from there.
 */
export interface EngineMemory {
  /** The ring into which packets are read; at least 4 * READ_MAX; default 64 MiB. */
  readonly arena: ArrayBuffer;
  /** Where synthesized packets are built; at least 64 KiB; default 1 MiB. */
  readonly outbox: ArrayBuffer;
  /** COUNTERS_BYTES bytes, may be shared. */
  readonly counters: Float64Array;
}

export class Engine {
  /** Offset in the arena at which the next packet has to be read; READ_MAX bytes are free there. */
  readOffset = 0;
  /** After `pollTransmit`: where in the outbox the packet starts. */
  transmitOffset = 0;

  constructor(_config: EngineConfig, _memory: EngineMemory) {}

  /**
   * One packet was read to `arena[readOffset .. readOffset + length)`, virtio-net header included. It may be rewritten
   * in place; on FORWARD the shell writes exactly those bytes. `readOffset` may change for the next read, so the
   * shell must remember the offset of this packet before calling.
   */
  handlePacket(_offset: number, _length: number, _now: Micros): Disposition {
    return FORWARD;
  }

  handleLink(_event: LinkEvent, _now: Micros): void {}

  handleCommand(_command: Command, _now: Micros): Reply {
    return { kind: 'refused', code: 'NOT_READY', message: 'not ready', remedy: '' };
  }

  handleTimeout(_now: Micros): void {}

  /** Length of the next packet to write from the outbox at `transmitOffset`, or 0. Valid until the next engine call. */
  pollTransmit(): number {
    return 0;
  }

  /** When `handleTimeout` wants to be called next, or NEVER. */
  pollTimeout(): Micros {
    return NEVER;
  }

  pollEvent(): EngineEvent | undefined {
    return undefined;
  }
}
