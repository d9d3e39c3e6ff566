/**
 * Hosts: what each host of the LAN takes of the gateway's resources, so that none can take everything. A host is charged for its
 * flows, its bytes in custody and its parked SYNs.
 *
 * Share.  A host may hold as much as is still free (Choudhury and Hahne, Dynamic queue length thresholds for shared-memory
 *         packet switches, 1998, with a factor of 1): one busy host gets half, two get a third each, n get 1/(n+1) each, and a
 *         newcomer always finds something. Nothing of one host is ever taken away for another.
 * Limits. One record per host with flows; at most as many as flows.
 */

export class Host {
  flows = 0;
  /** Flows whose handshake is not complete. */
  opening = 0;
  custodyBytes = 0;
  parkedSyns = 0;
}

/**
 * How much more a host may take.
 * @param held what it holds now
 * @param used what all hosts hold together
 * @param total what there is
 */
export function shareOf(held: number, used: number, total: number): number {
  // After taking x: held + x <= total - (used + x).
  return Math.max(0, Math.floor((total - used - held) / 2));
}

/** Hosts by address. Only looked up when a flow begins or ends. */
export class HostTable {
  readonly #hosts = new Map<number, Host>();
  readonly #wide = new Map<string, Host>();

  get size(): number {
    return this.#hosts.size + this.#wide.size;
  }

  /**
   * The record of a host, made when it is new; counts one more flow.
   * @param keys address as big-endian words from `at` on
   */
  enter(family: 4 | 6, keys: Int32Array, at: number): Host {
    const known = this.find(family, keys, at);
    const host = known ?? new Host();
    if (known === undefined) {
      if (family === 4) this.#hosts.set(keys[at]!, host);
      else this.#wide.set(wideKey(keys, at), host);
    }
    host.flows++;
    return host;
  }

  find(family: 4 | 6, keys: Int32Array, at: number): Host | undefined {
    return family === 4 ? this.#hosts.get(keys[at]!) : this.#wide.get(wideKey(keys, at));
  }

  /** One flow less; a host without flows is forgotten. */
  leave(host: Host, family: 4 | 6, keys: Int32Array, at: number): void {
    host.flows--;
    if (host.flows > 0) return;
    if (family === 4) this.#hosts.delete(keys[at]!);
    else this.#wide.delete(wideKey(keys, at));
  }

  /** Most flows that one host has. */
  get busiest(): number {
    let most = 0;
    for (const host of this.#hosts.values()) most = Math.max(most, host.flows);
    for (const host of this.#wide.values()) most = Math.max(most, host.flows);
    return most;
  }
}

function wideKey(keys: Int32Array, at: number): string {
  return `${keys[at]!},${keys[at + 1]!},${keys[at + 2]!},${keys[at + 3]!}`;
}
