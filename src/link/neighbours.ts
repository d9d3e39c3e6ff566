/**
 * Neighbours: what the kernel knows of the hosts and next hops on its links (ARP, RFC 4861).
 *
 * FAILED means that somebody wanted to reach the neighbour and it did not answer three times. That alone is no loss: a scan of
 * the LAN makes hundreds. It counts for a neighbour that was known before, and only where connections want it.
 * REACHABLE is proof of life of the neighbour, and of nothing beyond it.
 *
 * Limits. MAX_NEIGHBOURS; the one heard of longest ago gives way.
 */
import type { Micros } from '../base/time.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { NeighbourEvent } from './events.ts';

const MAX_NEIGHBOURS = 4_096;

export interface Neighbour {
  readonly port: number;
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  state: NeighbourEvent['state'];
  since: Micros;
  /** Last known link-layer address. */
  hardware: Uint8Array | null;
  /** It has been reached at some time. */
  wasKnown: boolean;
}

export class Neighbours {
  readonly #known = new Map<string, Neighbour>();

  get size(): number {
    return this.#known.size;
  }

  find(port: number, address: Uint8Array): Neighbour | undefined {
    return this.#known.get(`${port} ${formatAddressBytes(address)}`);
  }

  /** @returns what is known now, and whether the state changed */
  onEvent(
    port: number,
    event: NeighbourEvent,
    now: Micros,
  ): { readonly neighbour: Neighbour; readonly isNew: boolean } {
    const key = `${port} ${formatAddressBytes(event.address)}`;
    const isAlive = event.state === 'reachable';
    const known = this.#known.get(key);
    if (known !== undefined) {
      const isNew = known.state !== event.state;
      if (isNew) known.since = now;
      known.state = event.state;
      known.hardware = event.hardware ?? known.hardware;
      known.wasKnown ||= isAlive || event.state === 'stale';
      // The latest is the last to give way.
      this.#known.delete(key);
      this.#known.set(key, known);
      return { neighbour: known, isNew };
    }
    const { family, state } = event;
    const address = Uint8Array.from(event.address);
    const wasKnown = isAlive || state === 'stale' || state === 'probing';
    const hardware = event.hardware ?? null;
    const neighbour: Neighbour = { port, family, address, state, since: now, hardware, wasKnown };
    if (this.#known.size >= MAX_NEIGHBOURS) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, neighbour);
    return { neighbour, isNew: true };
  }
}
