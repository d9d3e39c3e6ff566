/**
 * Address epochs: which connections lost their own address when an uplink got another one.
 *
 * A connection that a router translates (NAT) is known beyond the link by the uplink's address of the time when it was opened. When
 * that address goes, packets may pass again over a new one, but not for this connection: whoever thaws it gets a reset. So
 * connections opened while an address was the link's first one are lost as long as it is gone, and given up after GRACE.
 * A host of the LAN whose address was given to another host is not there any more either, for connections opened before.
 * On a LAN, a prefix whose last address goes takes the hosts with such addresses with it. A delegated prefix that is taken back leaves
 * hosts with addresses that nothing from beyond the uplink finds any more, long before they or the LAN's interface drop them.
 *
 * Limits. At most MAX_EPOCHS of each kind; the oldest are forgotten first.
 */
import { type Micros, NEVER, seconds } from '../base/time.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { AddressEvent } from './events.ts';
import { addressText } from './hosts.ts';
import { matchesPrefix } from './routes.ts';

/** How long connections wait for their address. Servers and people have given up by then; a reset is better than nothing. */
export const GRACE: Micros = seconds(120);
const MAX_EPOCHS = 64;
const MAX_ADDRESSES = 64;
/** Nobody is delegated more than a registry is: what is shorter is no prefix of a site. */
const DELEGATED_MIN = 16;

interface Address {
  readonly port: number;
  readonly family: 4 | 6;
  readonly text: string;
  readonly words: Int32Array;
  readonly prefixLength: number;
  readonly since: Micros;
}

/** What is gone: connections over `port` opened in [from, to), or hosts of a prefix behind it. */
export interface Epoch {
  readonly port: number;
  readonly family: 4 | 6;
  readonly label: string;
  readonly kind: 'source' | 'prefix' | 'host' | 'delegated';
  readonly words: Int32Array;
  readonly prefixLength: number;
  readonly from: Micros;
  readonly to: Micros;
  readonly until: Micros;
}

function wordsOf(address: Uint8Array): Int32Array {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  return Int32Array.from({ length: address.byteLength / 4 }, (_, i) => view.getInt32(4 * i));
}

export class EpochList {
  /** Present global addresses, in the order in which they came. */
  #addresses: Address[] = [];
  #gone: Epoch[] = [];
  /** Ports whose connections are known beyond them by the port's own address. */
  readonly #translated = new Set<number>();
  /** Ports behind which hosts have addresses of the port's own prefixes. */
  readonly #lans = new Set<number>();
  /** Counts changes of what is gone, so that flows are looked at again. */
  changes = 0;

  /** @param role of the link behind `port`; @param isTranslated whether its connections are (IPv4 only) */
  configure(port: number, role: 'lan' | 'wan', isTranslated: boolean): void {
    if (role === 'lan') this.#lans.add(port);
    if (role === 'wan' && isTranslated) this.#translated.add(port);
    if (role === 'wan' && !isTranslated) this.#translated.delete(port);
  }

  get size(): number {
    return this.#gone.length;
  }

  get gone(): readonly Epoch[] {
    return this.#gone;
  }

  onAddress(port: number, event: AddressEvent, now: Micros): void {
    const { family, address, prefixLength } = event;
    const text = formatAddressBytes(address);
    const same = (one: Address): boolean =>
      one.port === port && one.text === text && one.prefixLength === prefixLength && one.family === family;
    if (event.present) {
      const words = wordsOf(address);
      this.#return(port, family, words);
      if (!this.#addresses.some(same) && this.#addresses.length < MAX_ADDRESSES)
        this.#addresses.push({ port, family, text, words, prefixLength, since: now });
      this.#returnFirst(port, family);
      return;
    }
    const lost = this.#addresses.find(same);
    if (lost === undefined) return;
    const first = this.#addresses.find((one) => one.port === port && one.family === family);
    this.#addresses = this.#addresses.filter((one) => one !== lost);
    this.#returnFirst(port, family);
    if (family === 4 && this.#translated.has(port) && first === lost) this.#add('source', lost, now);
    if (!this.#lans.has(port)) return;
    const isServed = this.#addresses.some(
      (one) => one.port === port && one.family === family && matchesPrefix(one.words, 0, lost.words, prefixLength),
    );
    // A host route and link-wide prefixes of length 0 are no LAN's prefix.
    if (!isServed && prefixLength > 0 && prefixLength < 32 * lost.words.length) this.#add('prefix', lost, now);
  }

  /**
   * The address of a host behind `port` belongs to another host from now on: connections opened before are not that one's.
   * @param words one or four big-endian words
   */
  onTaken(port: number, family: 4 | 6, words: Int32Array, text: string, now: Micros): void {
    this.#gone = this.#gone.filter((epoch) => epoch.kind !== 'host' || epoch.port !== port || epoch.label !== text);
    this.#add('host', { port, family, text, words, prefixLength: 32 * words.length, since: 0 }, now);
  }

  /** The host has its address again. */
  onTakenBack(port: number, text: string): void {
    const before = this.#gone.length;
    this.#gone = this.#gone.filter((epoch) => epoch.kind !== 'host' || epoch.port !== port || epoch.label !== text);
    if (this.#gone.length < before) this.changes++;
  }

  /**
   * A prefix that was delegated to the gateway over `port` is held (again), or is not any more.
   * @param words four big-endian words
   */
  onDelegated(port: number, words: Int32Array, prefixLength: number, isHeld: boolean, now: Micros): void {
    if (prefixLength < DELEGATED_MIN) return;
    const before = this.#gone.length;
    // Of a longer one within it as well.
    this.#gone = this.#gone.filter(
      (epoch) =>
        epoch.kind !== 'delegated' ||
        epoch.port !== port ||
        epoch.prefixLength < prefixLength ||
        !matchesPrefix(epoch.words, 0, words, prefixLength),
    );
    if (!isHeld)
      this.#add('delegated', { port, family: 6, text: addressText(words), words, prefixLength, since: 0 }, now);
    else if (this.#gone.length < before) this.changes++;
  }

  #add(kind: Epoch['kind'], lost: Address, now: Micros): void {
    const { port, family, words, prefixLength, since, text } = lost;
    if (this.#gone.length >= MAX_EPOCHS) this.#gone.shift();
    const label =
      kind === 'prefix' ? `prefix of ${text}/${prefixLength}` : kind === 'delegated' ? `${text}/${prefixLength}` : text;
    this.#gone.push({ kind, port, family, label, words, prefixLength, from: since, to: now, until: now + GRACE });
    this.changes++;
  }

  /** The prefix has an address again. */
  #return(port: number, family: 4 | 6, words: Int32Array): void {
    this.#keep(
      (epoch) =>
        epoch.kind !== 'prefix' ||
        epoch.port !== port ||
        epoch.family !== family ||
        !matchesPrefix(words, 0, epoch.words, epoch.prefixLength),
    );
  }

  /** The address is the link's first one again: until then masquerading takes another (inet_select_addr in net/ipv4/devinet.c). */
  #returnFirst(port: number, family: 4 | 6): void {
    const first = this.#addresses.find((one) => one.port === port && one.family === family);
    if (first === undefined) return;
    const { text } = first;
    this.#keep(
      (epoch) => epoch.kind !== 'source' || epoch.port !== port || epoch.family !== family || epoch.label !== text,
    );
  }

  #keep(isGone: (epoch: Epoch) => boolean): void {
    const before = this.#gone.length;
    this.#gone = this.#gone.filter(isGone);
    if (this.#gone.length < before) this.changes++;
  }

  /** When the oldest is given up, or NEVER. */
  get deadline(): Micros {
    let next = NEVER;
    for (const epoch of this.#gone) next = Math.min(next, epoch.until);
    return next;
  }

  /** Gives up what has waited for too long. @returns what was given up */
  expire(now: Micros): Epoch[] {
    const over = this.#gone.filter((epoch) => epoch.until <= now);
    if (over.length === 0) return [];
    this.#gone = this.#gone.filter((epoch) => epoch.until > now);
    this.changes++;
    return over;
  }

  /**
   * Whether the endpoint behind `port` of a connection is lost with an address.
   * @param words the endpoint's address at `at`, its peer's at `peerAt`, as big-endian words
   * @param openedAt when the connection was first seen
   */
  covers(port: number, family: 4 | 6, words: Int32Array, at: number, peerAt: number, openedAt: Micros): Epoch | null {
    for (const epoch of this.#gone) {
      if (epoch.port !== port || epoch.family !== family) continue;
      const isOfItsTime = openedAt >= epoch.from && openedAt < epoch.to;
      if ((epoch.kind === 'source' || epoch.kind === 'host') && !isOfItsTime) continue;
      if (epoch.kind === 'source') return epoch;
      if (matchesPrefix(words, epoch.kind === 'delegated' ? peerAt : at, epoch.words, epoch.prefixLength)) return epoch;
    }
    return null;
  }
}
