/**
 * Hosts that are held for lost, or have been of late: subjects of a verdict below a whole link.
 *
 * Limits. At most MAX_HOSTS; beyond, what was lost longest ago and is back gives way, and if none is, nothing more is judged.
 */
import { type Micros, NEVER } from '../base/time.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { DampingSettings } from './damping.ts';
import { Subject } from './subject.ts';

export const MAX_HOSTS = 1_024;

export class Host extends Subject {
  readonly port: number;
  readonly family: 4 | 6;
  /** Big-endian words: one or four. */
  readonly words: Int32Array;
  /** As people write it. */
  readonly address: string;

  constructor(port: number, family: 4 | 6, words: Int32Array, damping: DampingSettings | null, now: Micros) {
    super(damping, now);
    this.port = port;
    this.family = family;
    this.words = words;
    this.address = addressText(words);
  }
}

/** Address of one or four big-endian words as text. */
export function addressText(words: Int32Array): string {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) view.setInt32(4 * i, words[i]!);
  return formatAddressBytes(bytes);
}

/** Big-endian words of an address in network byte order. @param address 4 or 16 bytes */
export function addressWords(address: Uint8Array): Int32Array {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  return Int32Array.from({ length: address.byteLength / 4 }, (_, i) => view.getInt32(4 * i));
}

/** Whether the address at `at` is this one. */
export function isSameAddress(words: Int32Array, at: number, address: Int32Array): boolean {
  for (let i = 0; i < address.length; i++) if (words[at + i] !== address[i]) return false;
  return true;
}

export class HostRegistry {
  readonly #hosts = new Map<string, Host>();
  /** Those that are lost, for the question that is asked of every new connection. */
  #lost: readonly Host[] = [];

  get size(): number {
    return this.#hosts.size;
  }

  get lost(): readonly Host[] {
    return this.#lost;
  }

  /** @param words one or four big-endian words */
  find(port: number, words: Int32Array): Host | undefined {
    return this.#hosts.get(`${port} ${addressText(words)}`);
  }

  /** The host with this address behind `port`, made when it is not known. @returns null when there are too many */
  of(port: number, family: 4 | 6, words: Int32Array, damping: DampingSettings | null, now: Micros): Host | null {
    const known = this.find(port, words);
    if (known !== undefined) return known;
    if (this.#hosts.size >= MAX_HOSTS && !this.#makeRoom(now)) return null;
    const host = new Host(port, family, Int32Array.from(words), damping, now);
    this.#hosts.set(`${port} ${host.address}`, host);
    return host;
  }

  /** The verdict on a host changed. */
  changed(): void {
    this.#lost = [...this.#hosts.values()].filter((host) => host.isLost);
  }

  forget(host: Host): void {
    this.#hosts.delete(`${host.port} ${host.address}`);
    this.changed();
  }

  /** When a return that was held back is believed, of all hosts. */
  get deadline(): Micros {
    let next = NEVER;
    for (const host of this.#lost) next = Math.min(next, host.heldUntil);
    return next;
  }

  /** The lost host that an endpoint behind `port` is, or null. */
  at(port: number, family: 4 | 6, words: Int32Array, at: number): Host | null {
    for (const host of this.#lost) {
      if (host.port === port && host.family === family && isSameAddress(words, at, host.words)) return host;
    }
    return null;
  }

  /** Forgets a host that is back and whose penalty is spent, or else the one that has been back for longest. */
  #makeRoom(now: Micros): boolean {
    let oldest: Host | null = null;
    for (const host of this.#hosts.values()) {
      if (host.isLost) continue;
      if (oldest === null || host.since < oldest.since) oldest = host;
      if (host.penalty.level(now) < 0.1) {
        oldest = host;
        break;
      }
    }
    if (oldest === null) return false;
    this.forget(oldest);
    return true;
  }
}
