/**
 * Suspicion: something looks wrong with a link, but nothing was asked yet that should have been answered. A download that stops
 * may have come to its end; an idle link says nothing at all; an echo was lost; the kernel cannot resolve the next hop. Then a few
 * connections send keepalives, ten times a second, until anything comes back or silence becomes a verdict (link/silence.ts).
 *
 * A download counts as stopped when nothing was heard for STOP_MIN or two and a half round trips. Its end looks the same and costs
 * one keepalive; suspicions of that kind are at least CALM apart.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Asker } from './asker.ts';
import type { PortWatch } from './port-watch.ts';

const STOP_MIN: Micros = millis(280);
const STOP_ROUND_TRIPS = 2.5;
/** Segments between two looks that make a stream. */
const STREAM_MIN = 4;
const CALM: Micros = seconds(1);
const PACE: Micros = millis(100);
/** Connections that ask in one turn; if there are several hosts, to different ones. */
const ASKERS = 3;
/** How long one suspicion is followed up. */
const LENGTH: Micros = seconds(5);

interface Question {
  readonly watch: PortWatch;
  readonly since: Micros;
  until: Micros;
  askAt: Micros;
  /** Connections that ask in the next turn: one where nothing is wrong and the link is only quiet. */
  askers: number;
  flows: readonly { readonly flow: Flow; readonly far: 0 | 1; readonly generation: number }[];
}

export class Suspicions {
  readonly #table: FlowTable;
  readonly #asker: Asker;
  readonly #watches: readonly PortWatch[];
  readonly #questions = new Map<number, Question>();
  /** By port: when the last one was answered. */
  readonly #answeredAt: Float64Array;
  deadline: Micros = NEVER;

  /** @param watches of the configured links, by port */
  constructor(table: FlowTable, asker: Asker, watches: readonly PortWatch[]) {
    this.#table = table;
    this.#asker = asker;
    this.#watches = watches;
    this.#answeredAt = new Float64Array(watches.length).fill(-NEVER);
  }

  /** Something looks wrong behind `port`: ask, unless that is being done. @param askers in the first turn */
  begin(port: number, now: Micros, askers = ASKERS): void {
    const watch = this.#watches[port];
    if (watch === undefined || watch.link?.isLost !== false) return;
    watch.echo?.suspect(now);
    if (watch.silence === null || watch.settings.keepalive === 'off') return;
    const known = this.#questions.get(port);
    if (known !== undefined) {
      known.until = Math.max(known.until, now + LENGTH);
      return;
    }
    const flows = this.#askers(port);
    if (flows.length === 0) return;
    this.#questions.set(port, { watch, since: now, until: now + LENGTH, askAt: now, askers, flows });
    this.deadline = Math.min(this.deadline, now);
  }

  /** Data was heard from behind the link: see in a while whether it goes on. */
  arm(watch: PortWatch, now: Micros): void {
    const { settings } = watch;
    if (settings.keepalive === 'off' || watch.silence === null) {
      watch.streamAt = -NEVER;
      return;
    }
    watch.streamAt = now + this.#stopAfter(watch);
    this.deadline = Math.min(this.deadline, watch.streamAt);
  }

  /** Connections that are being asked about behind `port`. */
  asked(port: number): Question['flows'] {
    return this.#questions.get(port)?.flows ?? [];
  }

  /** The link was judged, or given back: nothing is to be asked. */
  end(port: number): void {
    this.#questions.delete(port);
  }

  run(now: Micros): void {
    if (this.deadline > now) return;
    for (const watch of this.#watches) this.#look(watch, now);
    for (const [port, question] of this.#questions) this.#ask(port, question, now);
    this.deadline = NEVER;
    for (const { askAt } of this.#questions.values()) this.deadline = Math.min(this.deadline, askAt);
    for (const watch of this.#watches)
      if (watch.streamAt > now) this.deadline = Math.min(this.deadline, watch.streamAt);
  }

  /** Does the stream from beyond go on? */
  #look(watch: PortWatch, now: Micros): void {
    if (watch.streamAt > now || watch.streamAt === -NEVER) return;
    const stopped = now - watch.heardAt >= this.#stopAfter(watch);
    const wasStream = watch.streamed >= STREAM_MIN;
    watch.streamed = 0;
    const { keepalive } = watch.settings;
    if (!stopped) {
      // What was heard before this look still counts for the next one.
      if (wasStream) watch.streamed = STREAM_MIN;
      watch.streamAt = watch.heardAt + this.#stopAfter(watch);
      return;
    }
    watch.streamAt = NEVER;
    const isDue = typeof keepalive === 'number' && now - watch.heardAt >= keepalive;
    if (typeof keepalive === 'number') watch.streamAt = isDue ? now + keepalive : watch.heardAt + keepalive;
    if (wasStream && now - this.#answeredAt[watch.port]! >= CALM) this.begin(watch.port, now);
    else if (isDue) this.begin(watch.port, now, 1);
  }

  #ask(port: number, question: Question, now: Micros): void {
    const { watch, flows, since } = question;
    if (watch.heardAt > since) {
      watch.silence?.onRoundTrip(watch.heardAt - since, now);
      this.#answeredAt[port] = now;
      this.#questions.delete(port);
      return;
    }
    if (question.until <= now) {
      this.#questions.delete(port);
      return;
    }
    if (question.askAt > now) return;
    question.askAt = now + PACE;
    let asked = 0;
    for (const { flow, far, generation } of flows) {
      if (asked >= question.askers) break;
      if (flow.generation !== generation || !this.#table.isLive(flow) || !this.#asker.askFlowing(flow, far)) continue;
      watch.silence?.onQuestion(now);
      asked++;
    }
    question.askers = ASKERS;
    if (asked === 0) this.#questions.delete(port);
  }

  #stopAfter(watch: PortWatch): Micros {
    return Math.max(STOP_MIN, STOP_ROUND_TRIPS * (watch.silence?.rtt ?? 0));
  }

  /** A few connections over the link that have nothing in flight: the ones heard last, of different hosts first. */
  #askers(port: number): Question['flows'] {
    const candidates: { flow: Flow; far: 0 | 1; generation: number }[] = [];
    this.#table.forEach((flow) => {
      for (const far of [0, 1] as const) {
        if (flow.halves[far].port !== port || !this.#asker.canAskFlowing(flow, far)) continue;
        candidates.push({ flow, far, generation: flow.generation });
      }
    });
    candidates.sort((a, b) => b.flow.halves[b.far].heardAt - a.flow.halves[a.far].heardAt);
    const chosen: typeof candidates = [];
    for (const isFirstRound of [true, false]) {
      for (const one of candidates) {
        if (chosen.length >= ASKERS) return chosen;
        const isKnownHost = chosen.some((other) => this.#hostHash(other) === this.#hostHash(one));
        if (!chosen.includes(one) && (!isFirstRound || !isKnownHost)) chosen.push(one);
      }
    }
    return chosen;
  }

  #hostHash({ flow, far }: { flow: Flow; far: 0 | 1 }): number {
    const { keys } = this.#table;
    const at = flow.index * KEY_WORDS + 4 * far;
    return keys[at]! ^ keys[at + 1]! ^ keys[at + 2]! ^ keys[at + 3]!;
  }
}
