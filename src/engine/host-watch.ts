/**
 * Host watch: a host of the LAN that falls silent while others on its link do not. What counts is what its senders repeat: a host
 * from which nothing has come for SILENCE_MIN (or three round trips) while segments to it went out again and again, on
 * every connection that has something for it.
 *
 * Only where its link is a LAN. A single server of the Internet that falls silent is most often a server that went down, and
 * its connections are better ended than held.
 * Limits. MAX_SUSPECTS connections at a time, HOSTS_PER_LOOK hosts judged per look.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FLOWING, HANDBACK } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { isSameAddress } from '../link/hosts.ts';
import { seqDiff } from '../wire/seq.ts';
import type { PortWatch } from './port-watch.ts';

const SILENCE_MIN: Micros = seconds(1.2);
const ROUND_TRIPS = 3;
const LOOK: Micros = millis(100);
/** Times that something must have been sent again since the host was heard. */
const REPEATS_MIN = 2;
/** Segments in flight when it fell silent: at most so many count. */
const BEFORE_MAX = 9;
const MAX_SUSPECTS = 256;
const HOSTS_PER_LOOK = 8;

interface Suspect {
  readonly flow: Flow;
  readonly generation: number;
  /** Half that does not answer. */
  readonly half: 0 | 1;
  /** When something was first sent again. */
  since: Micros;
  repeats: number;
}

/** A host that has to be held for lost. */
export interface SilentHost {
  readonly port: number;
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly text: string;
}

export class HostWatch {
  readonly #table: FlowTable;
  readonly #watches: readonly PortWatch[];
  readonly #suspects = new Map<Flow, Suspect>();
  deadline: Micros = NEVER;

  /** @param watches of the configured links, by port */
  constructor(table: FlowTable, watches: readonly PortWatch[]) {
    this.#table = table;
    this.#watches = watches;
  }

  get size(): number {
    return this.#suspects.size;
  }

  /** A segment towards half `half` of `flow` was sent again. */
  onRepeat(flow: Flow, half: 0 | 1, now: Micros): void {
    const known = this.#suspects.get(flow);
    if (known !== undefined && known.generation === flow.generation && known.half === half) {
      if (flow.halves[half].heardAt >= known.since) {
        known.since = now;
        known.repeats = 0;
      }
      known.repeats++;
      return;
    }
    if (known === undefined && this.#suspects.size >= MAX_SUSPECTS) return;
    this.#suspects.set(flow, { flow, generation: flow.generation, half, since: now, repeats: 1 });
    if (this.deadline === NEVER) this.deadline = now + LOOK;
  }

  /** When due: hosts that have fallen silent. */
  run(now: Micros): SilentHost[] {
    if (this.deadline > now) return [];
    const silent: SilentHost[] = [];
    let looks = 0;
    for (const suspect of this.#suspects.values()) {
      const { flow, half, generation, since } = suspect;
      const isOver =
        flow.generation !== generation ||
        !this.#table.isLive(flow) ||
        (flow.phase !== FLOWING && flow.phase !== HANDBACK) ||
        flow.halves[half].heardAt >= since;
      if (isOver) {
        this.#suspects.delete(flow);
        continue;
      }
      if (suspect.repeats < REPEATS_MIN || now - flow.halves[half].heardAt < this.#thresholdOf(flow, half)) continue;
      if (looks++ >= HOSTS_PER_LOOK) break;
      const found = this.#judge(suspect, now);
      if (found === null) continue;
      silent.push(found);
      this.#suspects.delete(flow);
    }
    this.deadline = this.#suspects.size > 0 ? now + LOOK : NEVER;
    return silent;
  }

  #thresholdOf(flow: Flow, half: 0 | 1): Micros {
    return Math.max(SILENCE_MIN, ROUND_TRIPS * flow.halves[half === 0 ? 1 : 0].srtt);
  }

  #judge({ flow, half }: Suspect, now: Micros): SilentHost | null {
    const { keys } = this.#table;
    const at = flow.index * KEY_WORDS + 4 * half;
    const words = keys.slice(at, at + (flow.family === 4 ? 1 : 4));
    const { port } = flow.halves[half];
    const watch = this.#watches[port];
    if (watch === undefined || watch.silence === null) return null;
    let heardAt = -NEVER;
    let questions = 0;
    this.#table.forEach((other) => {
      if (other.family !== flow.family) return;
      for (const side of [0, 1] as const) {
        if (!isSameAddress(keys, other.index * KEY_WORDS + 4 * side, words)) continue;
        heardAt = Math.max(heardAt, other.halves[side].heardAt);
        const sender = other.halves[side === 0 ? 1 : 0];
        const inFlight = seqDiff(sender.sndNxt, other.halves[side].rcvNxt);
        if (inFlight > 0 && sender.segmentSize > 0) {
          questions += Math.min(BEFORE_MAX, Math.ceil(inFlight / sender.segmentSize));
        }
        questions += this.#suspects.get(other)?.repeats ?? 0;
      }
    });
    const silent = now - heardAt;
    if (silent < this.#thresholdOf(flow, half) || questions < watch.silence.needed) return null;
    const text = `silent for ${Math.round(silent / 1_000)} ms, ${questions} segments unanswered`;
    return { port, family: flow.family, words, text };
  }
}
