/** What a capture filter is made of: each part answers for one packet, without allocating. The language is in filter-language.ts. */
import type { Note } from '../flow/note.ts';
import type { Prefix } from '../wire/address.ts';
import type { Packet } from '../wire/packet.ts';

/** What a filter is asked about. */
export interface FilterSubject {
  readonly packet: Packet;
  readonly note: Note;
  /** The gateway made, changed or held it. */
  isTouched: boolean;
}

export interface Filter {
  matches(subject: FilterSubject): boolean;
}

export type Side = 'src' | 'dst' | 'any';

/** Two parts that are asked together. */
abstract class Pair implements Filter {
  protected readonly left: Filter;
  protected readonly right: Filter;

  constructor(left: Filter, right: Filter) {
    this.left = left;
    this.right = right;
  }

  abstract matches(subject: FilterSubject): boolean;
}

export class Or extends Pair {
  override matches(subject: FilterSubject): boolean {
    return this.left.matches(subject) || this.right.matches(subject);
  }
}

export class And extends Pair {
  override matches(subject: FilterSubject): boolean {
    return this.left.matches(subject) && this.right.matches(subject);
  }
}

export class Not implements Filter {
  readonly #filter: Filter;

  constructor(filter: Filter) {
    this.#filter = filter;
  }

  matches(subject: FilterSubject): boolean {
    return !this.#filter.matches(subject);
  }
}

export class Net implements Filter {
  readonly #family: 4 | 6;
  readonly #words: Int32Array;
  readonly #bits: number;
  readonly #side: Side;

  constructor({ family, address, prefixLength }: Prefix, side: Side) {
    const view = new DataView(address.buffer, address.byteOffset, address.length);
    this.#family = family;
    this.#words = Int32Array.from({ length: address.length / 4 }, (_, i) => view.getInt32(4 * i));
    this.#bits = prefixLength;
    this.#side = side;
  }

  matches({ packet }: FilterSubject): boolean {
    if (packet.reason !== 0 || packet.family !== this.#family) return false;
    if (this.#side !== 'dst' && this.#contains(packet, packet.srcAt)) return true;
    return this.#side !== 'src' && this.#contains(packet, packet.dstAt);
  }

  #contains(packet: Packet, at: number): boolean {
    for (let i = 0, left = this.#bits; left > 0; i++, left -= 32) {
      const mask = left >= 32 ? -1 : ~(-1 >>> left);
      if (((packet.view.getInt32(at + 4 * i) ^ this.#words[i]!) & mask) !== 0) return false;
    }
    return true;
  }
}

export class Port implements Filter {
  readonly #from: number;
  readonly #to: number;
  readonly #side: Side;

  constructor(from: number, to: number, side: Side) {
    this.#from = from;
    this.#to = to;
    this.#side = side;
  }

  matches({ packet, note }: FilterSubject): boolean {
    if (packet.tcpAt >= 0) {
      if (this.#side !== 'dst' && this.#contains(packet.srcPort)) return true;
      return this.#side !== 'src' && this.#contains(packet.dstPort);
    }
    const { flow } = note;
    return flow !== null && (this.#contains(flow.originatorPort) || this.#contains(flow.responderPort));
  }

  #contains(port: number): boolean {
    return port >= this.#from && port <= this.#to;
  }
}

export class OfFlow implements Filter {
  readonly #index: number;
  readonly #generation: number;

  constructor(index: number, generation: number) {
    this.#index = index;
    this.#generation = generation;
  }

  matches({ note: { flow } }: FilterSubject): boolean {
    return flow !== null && flow.index === this.#index && flow.generation === this.#generation;
  }
}

export class OfLink implements Filter {
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  matches({ note: { flow } }: FilterSubject): boolean {
    return flow !== null && (flow.halves[0].port === this.#port || flow.halves[1].port === this.#port);
  }
}

export class Touched implements Filter {
  matches({ isTouched }: FilterSubject): boolean {
    return isTouched;
  }
}

export class Family implements Filter {
  readonly #family: number;

  constructor(family: 4 | 6) {
    this.#family = family;
  }

  matches({ packet }: FilterSubject): boolean {
    return packet.reason === 0 && packet.family === this.#family;
  }
}

export class Protocol implements Filter {
  readonly #protocols: readonly number[];

  constructor(...protocols: readonly number[]) {
    this.#protocols = protocols;
  }

  matches({ packet }: FilterSubject): boolean {
    return packet.reason === 0 && this.#protocols.includes(packet.protocol);
  }
}

export class Everything implements Filter {
  matches(): boolean {
    return true;
  }
}
