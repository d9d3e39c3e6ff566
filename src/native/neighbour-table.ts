/**
 * Neighbours as the kernel knows them (ARP, neighbour discovery), and what changes of them are worth an event.
 *
 * The kernel reports every step of its state machine (net/core/neighbour.c). DELAY and PROBE are one thing here: it asks. An
 * entry that is resolved for the first time is not reported while it is INCOMPLETE. NOARP entries (multicast, point-to-point)
 * are never asked and so say nothing; PERMANENT ones neither, but they name a hardware address.
 */
import type { NeighbourEvent } from '../link/events.ts';
import type { NeighbourMessage } from './netlink-messages.ts';

/** uapi/linux/neighbour.h. */
const NUD_INCOMPLETE = 0x01;
const NUD_REACHABLE = 0x02;
const NUD_STALE = 0x04;
const NUD_DELAY = 0x08;
const NUD_PROBE = 0x10;
const NUD_FAILED = 0x20;
const NUD_PERMANENT = 0x80;

/** The kernel keeps at most gc_thresh3 (1,024 by default) per family; beyond this, further ones are not followed. */
const MAX_NEIGHBOURS = 65_536;

interface Known {
  readonly message: NeighbourMessage;
  readonly state: NeighbourEvent['state'];
  generation: number;
}

export class NeighbourTable {
  readonly #known = new Map<string, Known>();
  readonly #nameOf: (index: number) => string | undefined;

  /** @param nameOf name of an interface by its index */
  constructor(nameOf: (index: number) => string | undefined) {
    this.#nameOf = nameOf;
  }

  /** Applies one message and reports it if state or hardware address changed. */
  handle(message: NeighbourMessage, generation: number, sink: (event: NeighbourEvent) => void): void {
    const key = `${message.index} ${message.address.join('.')}`;
    const known = this.#known.get(key);
    const state = message.added ? stateOf(message, known?.state) : undefined;
    if (state === undefined) {
      // An entry that failed is reported as such before it is deleted.
      if (known !== undefined) this.#drop(key, known, sink);
      return;
    }
    if (known === undefined && this.#known.size >= MAX_NEIGHBOURS) return;
    this.#known.set(key, { message, state, generation });
    if (known?.state === state && sameBytes(known.message.hardware, message.hardware)) return;
    this.#emit(message, state, sink);
  }

  /** A dump is over: reports as gone what it did not mention. */
  dropBefore(generation: number, sink: (event: NeighbourEvent) => void): void {
    for (const [key, known] of this.#known) if (known.generation !== generation) this.#drop(key, known, sink);
  }

  /** An interface went away, and its neighbours with it. */
  dropLink(index: number, sink: (event: NeighbourEvent) => void): void {
    for (const [key, known] of this.#known) if (known.message.index === index) this.#drop(key, known, sink);
  }

  snapshot(sink: (event: NeighbourEvent) => void): void {
    for (const { message, state } of this.#known.values()) this.#emit(message, state, sink);
  }

  #drop(key: string, known: Known, sink: (event: NeighbourEvent) => void): void {
    this.#known.delete(key);
    this.#emit(known.message, 'gone', sink);
  }

  #emit(message: NeighbourMessage, state: NeighbourEvent['state'], sink: (event: NeighbourEvent) => void): void {
    const name = this.#nameOf(message.index);
    if (name === undefined) return;
    const { family, address, hardware } = message;
    const event = { kind: 'neighbour', name, family, address, state } as const;
    sink(hardware === undefined || state === 'failed' ? event : { ...event, hardware });
  }
}

/** @param before what was known until now. Undefined for states that say nothing. */
function stateOf(
  { state, probes }: NeighbourMessage,
  before: NeighbourEvent['state'] | undefined,
): NeighbourEvent['state'] | undefined {
  if ((state & NUD_FAILED) !== 0) {
    // Deleting an entry by hand (`ip neigh del`, `flush`) passes through FAILED, too, but nobody was asked then.
    const wasAsked = probes > 0 && before !== 'reachable' && before !== 'stale';
    return wasAsked ? 'failed' : undefined;
  }
  if ((state & NUD_REACHABLE) !== 0) return 'reachable';
  if ((state & (NUD_STALE | NUD_PERMANENT)) !== 0) return 'stale';
  if ((state & (NUD_INCOMPLETE | NUD_DELAY | NUD_PROBE)) !== 0) return 'probing';
  return undefined;
}

export function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
