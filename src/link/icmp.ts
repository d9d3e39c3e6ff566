/**
 * ICMP, passive: routers say that a host or network cannot be reached.
 *
 * Purpose.  A next hop that answers while the path beyond it is dead is seen by no other detector of the link.
 * Rules.    Only errors that concern reachability count: destination unreachable with network, host, or prohibited codes
 *           (RFC 792, RFC 1812 5.2.7.1; ICMPv6: RFC 4443 3.1) and time exceeded in transit, which behind a router that
 *           forwarded before means a routing loop. The quoted segment must be one that its sender may have in flight
 *           (RFC 5927 4.1; the engine checks it against the flow), its checksum right, and it must come in on the link that
 *           it was sent out on. A message is evidence; two about one host within WINDOW, with no word from that host since
 *           the first, are a suspicion that is put to the question; what then stays unanswered is a verdict.
 * Limits.   MAX_SUSPECTS hosts per engine; the oldest evidence gives way.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, IcmpError, icmpChecksumIsRight } from '../wire/icmp.ts';
import { ICMPV6_TIME_EXCEEDED, ICMPV6_UNREACHABLE, icmpv6ChecksumIsRight } from '../wire/icmpv6.ts';
import { KIND_OTHER, Packet, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../wire/packet.ts';

/** Longest error that is looked at: RFC 4443 2.4 (c) limits them to the minimum MTU of IPv6, RFC 1812 4.3.2.3 to 576. */
const DATAGRAM_MAX = 1_500;

/** Meaning by code of type 3 (RFC 792, RFC 1812 5.2.7.1). Others concern protocols, ports or sizes. */
const UNREACHABLE: Readonly<Record<number, string>> = {
  0: 'network unreachable',
  1: 'host unreachable',
  6: 'network unknown',
  7: 'host unknown',
  9: 'network prohibited',
  10: 'host prohibited',
  13: 'communication prohibited',
};
/** Meaning by code of ICMPv6 type 1 (RFC 4443 3.1). */
const UNREACHABLE_V6: Readonly<Record<number, string>> = {
  0: 'no route',
  1: 'communication prohibited',
  2: 'beyond scope of source',
  3: 'address unreachable',
  5: 'source address refused',
  6: 'route rejected',
};

/** What one message says. Addresses are big-endian words; one object is reused. */
export class IcmpReport {
  family: 4 | 6 = 4;
  meaning = '';
  /** Who sent the message. */
  readonly sender: Uint8Array = new Uint8Array(16);
  /** The quoted segment: who sent it, to whom. */
  readonly source: Int32Array = new Int32Array(4);
  readonly destination: Int32Array = new Int32Array(4);
  sourcePort = 0;
  destinationPort = 0;
  seq = 0;

  get senderBytes(): Uint8Array {
    return this.sender.subarray(0, this.family === 4 ? 4 : 16);
  }
}

export class IcmpReader {
  readonly report = new IcmpReport();
  readonly #bytes = new Uint8Array(DATAGRAM_MAX);
  readonly #packet = new Packet();
  readonly #error = new IcmpError();

  constructor() {
    this.#packet.attach(this.#bytes.buffer as ArrayBuffer);
  }

  /**
   * Reads a whole IP datagram into `report`.
   * @returns whether it is a well-formed error about the reachability of a TCP peer; never throws
   */
  read(datagram: Uint8Array): boolean {
    if (datagram.length > DATAGRAM_MAX) return false;
    this.#bytes.set(datagram);
    const packet = this.#packet;
    if (packet.parse(0, datagram.length, 0) !== KIND_OTHER) return false;
    const { family, view, payloadAt, end } = packet;
    if (packet.protocol !== (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return false;
    const error = this.#error;
    if (!error.parse(view, payloadAt, end, family)) return false;
    if (error.protocol !== PROTOCOL_TCP || !error.hasSeq) return false;
    const meaning = meaningOf(family, error.type, error.code);
    if (meaning === null) return false;
    const isRight =
      family === 4
        ? icmpChecksumIsRight(this.#bytes, payloadAt, end)
        : icmpv6ChecksumIsRight(this.#bytes, packet.srcAt, payloadAt, end);
    if (!isRight) return false;
    const { report } = this;
    report.family = family;
    report.meaning = meaning;
    report.sender.set(this.#bytes.subarray(packet.srcAt, packet.srcAt + (family === 4 ? 4 : 16)));
    for (let i = 0; i < 4; i++) {
      const isWord = i === 0 || family === 6;
      report.source[i] = isWord ? view.getInt32(error.srcAt + 4 * i) : 0;
      report.destination[i] = isWord ? view.getInt32(error.dstAt + 4 * i) : 0;
    }
    report.sourcePort = error.srcPort;
    report.destinationPort = error.dstPort;
    report.seq = error.seq;
    return true;
  }
}

/** What an error says about reachability, or null. */
function meaningOf(family: 4 | 6, type: number, code: number): string | null {
  if (family === 4) {
    if (type === ICMP_UNREACHABLE) return UNREACHABLE[code] ?? null;
    return type === ICMP_TIME_EXCEEDED && code === 0 ? 'routing loop' : null;
  }
  if (type === ICMPV6_UNREACHABLE) return UNREACHABLE_V6[code] ?? null;
  return type === ICMPV6_TIME_EXCEEDED && code === 0 ? 'routing loop' : null;
}

/** Messages about one host count together when they come within this time: two repeats of a sender in back-off. */
const WINDOW: Micros = seconds(10);
/** A burst of messages about one flight is one message. */
const SPACING: Micros = millis(20);
/** How long the host has to answer after the second message; the verdict is due within 1 s. */
const ANSWER: Micros = millis(600);
const MAX_SUSPECTS = 256;

/** Evidence against one host. */
export interface Suspect {
  readonly port: number;
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly key: string;
  meaning: string;
  sender: string;
  /** First and last of the messages that count, and how many. */
  since: Micros;
  lastAt: Micros;
  count: number;
  /** When its silence becomes a verdict; NEVER while it has not been put to the question. */
  verdictAt: Micros;
}

export class IcmpSuspects {
  readonly #suspects = new Map<string, Suspect>();

  get size(): number {
    return this.#suspects.size;
  }

  /**
   * A message that counts, about the host with address `words` behind `port`.
   * @param key text that identifies the host
   * @param heardAt when the host was last heard
   * @returns the suspect when it has to be put to the question now, else null
   */
  onMessage(
    host: { readonly port: number; readonly family: 4 | 6; readonly words: Int32Array; readonly key: string },
    meaning: string,
    sender: string,
    heardAt: Micros,
    now: Micros,
  ): Suspect | null {
    let suspect = this.#suspects.get(host.key);
    if (suspect === undefined || now - suspect.since > WINDOW || heardAt > suspect.since) {
      this.#suspects.delete(host.key);
      if (this.#suspects.size >= MAX_SUSPECTS) this.#suspects.delete(this.#suspects.keys().next().value!);
      const words = Int32Array.from(host.words);
      suspect = { ...host, words, meaning, sender, since: now, lastAt: now, count: 1, verdictAt: NEVER };
      this.#suspects.set(host.key, suspect);
      return null;
    }
    if (now - suspect.lastAt < SPACING) return null;
    suspect.lastAt = now;
    suspect.count++;
    suspect.meaning = meaning;
    suspect.sender = sender;
    if (suspect.verdictAt !== NEVER) return null;
    suspect.verdictAt = now + ANSWER;
    return suspect;
  }

  get deadline(): Micros {
    let next = NEVER;
    if (this.#suspects.size === 0) return next;
    for (const { verdictAt } of this.#suspects.values()) next = Math.min(next, verdictAt);
    return next;
  }

  /** Suspects whose time to answer is over; they are forgotten here. */
  due(now: Micros): Suspect[] {
    const over: Suspect[] = [];
    for (const suspect of this.#suspects.values()) if (suspect.verdictAt <= now) over.push(suspect);
    for (const { key } of over) this.#suspects.delete(key);
    return over;
  }

  /** Suspects behind a link that are being put to the question, or have just become a verdict. */
  behind(port: number): Suspect[] {
    return [...this.#suspects.values()].filter((suspect) => suspect.port === port && suspect.verdictAt !== NEVER);
  }

  /** All evidence about hosts behind a link is void. */
  forget(port: number): void {
    for (const suspect of this.#suspects.values()) if (suspect.port === port) this.#suspects.delete(suspect.key);
  }
}
