/**
 * Which interface an address lies behind. One TUN serves all interfaces, so a packet does not say where it came in; the
 * kernel's own main table does, by longest prefix. Routes of an interface that is lost are kept until another
 * interface takes over the same prefix: when a link goes down the kernel forgets its routes, but its hosts have not moved.
 */

interface Entry {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly prefixLength: number;
  readonly port: number;
  readonly metric: number;
  /** The kernel has withdrawn it, and nothing has replaced it yet. */
  stale: boolean;
}

/** Metrics from here on are those of routes outside of the main table (RouteEvent). */
const OTHER_TABLES = 2 ** 32;

/** Most routes remembered; a router with a full Internet table has its interesting ones (connected, default) first. */
const MAX_ENTRIES = 4_096;

/** Big-endian words of an address. */
function wordsOf(address: Uint8Array): Int32Array {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const words = new Int32Array(address.byteLength / 4);
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(4 * i);
  return words;
}

/** Whether the first `bits` bits of `a` at `at` equal those of `b`. */
export function matchesPrefix(a: Int32Array, at: number, b: Int32Array, bits: number): boolean {
  let left = bits;
  for (let i = 0; left > 0; i++, left -= 32) {
    const mask = left >= 32 ? -1 : ~(-1 >>> left);
    if (((a[at + i]! ^ b[i]!) & mask) !== 0) return false;
  }
  return true;
}

export class RouteMap {
  /** Longest prefix first, then lowest metric, fresh before stale. */
  #entries: Entry[] = [];
  /** Counts the changes, so that whoever has looked something up knows whether to look again. */
  version = 0;

  /** A route towards `port` exists. */
  add(family: 4 | 6, destination: Uint8Array, prefixLength: number, port: number, metric: number): void {
    this.version++;
    const words = wordsOf(destination);
    const same = (entry: Entry): boolean =>
      entry.family === family &&
      entry.prefixLength === prefixLength &&
      matchesPrefix(entry.words, 0, words, prefixLength);
    // A route of another table does not hide that of the main table over the same interface.
    const main = this.#entries.find(
      (entry) => same(entry) && !entry.stale && entry.port === port && entry.metric < OTHER_TABLES,
    );
    const least = main !== undefined && metric >= OTHER_TABLES ? main.metric : metric;
    // The kernel's fresh word about a prefix replaces every stale memory of it.
    this.#entries = this.#entries.filter((entry) => !(same(entry) && (entry.stale || entry.port === port)));
    if (this.#entries.length >= MAX_ENTRIES) return;
    this.#entries.push({ family, words, prefixLength, port, metric: least, stale: false });
    this.#entries.sort(
      (a, b) => b.prefixLength - a.prefixLength || Number(a.stale) - Number(b.stale) || a.metric - b.metric,
    );
  }

  /** The kernel withdrew a route; it is remembered as stale unless another interface serves the prefix. */
  remove(family: 4 | 6, destination: Uint8Array, prefixLength: number, port: number): void {
    this.version++;
    const words = wordsOf(destination);
    const same = this.#entries.filter(
      (entry) =>
        entry.family === family &&
        entry.prefixLength === prefixLength &&
        matchesPrefix(entry.words, 0, words, prefixLength),
    );
    const served = same.some((entry) => entry.port !== port && !entry.stale);
    for (const entry of same) if (entry.port === port) entry.stale = true;
    if (served) this.#entries = this.#entries.filter((entry) => !(same.includes(entry) && entry.port === port));
    this.#entries.sort(
      (a, b) => b.prefixLength - a.prefixLength || Number(a.stale) - Number(b.stale) || a.metric - b.metric,
    );
  }

  /**
   * The port that an address lies behind, or -1.
   * @param words address as big-endian words
   * @param at index of its first word
   */
  lookup(family: 4 | 6, words: Int32Array, at: number): number {
    for (const entry of this.#entries) {
      if (entry.family === family && matchesPrefix(words, at, entry.words, entry.prefixLength)) return entry.port;
    }
    return -1;
  }

  get size(): number {
    return this.#entries.length;
  }
}
