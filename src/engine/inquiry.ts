/**
 * Inquiries: as long as a link or host is held for lost by what did not come, it is asked whether it is back. Frozen connections
 * send keepalives in their near endpoint's name (RFC 9293 3.8.4), connections that wait to be opened repeat their SYN; a LAN
 * host is sent echoes too. Whatever comes back from a connection refutes everything that was inferred. The pace falls off as
 * the outage grows. What is asked beyond a link that is lost by proof would only go astray, and waits.
 *
 * Limits. MAX_INQUIRIES at a time; beyond, verdicts stand until something is heard. All together ask at most ASKS_PER_SECOND.
 */
import { type Micros, millis, NEVER, seconds } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FROZEN } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Frozen } from '../freeze/frozen.ts';
import { type Host, isSameAddress } from '../link/hosts.ts';
import { Link } from '../link/monitor.ts';
import type { Asker } from './asker.ts';
import type { Verdicts } from './verdicts.ts';

/** Connections that ask in one turn. */
const ASKERS = 3;
/** Pace of asking: until the outage is this old, at this interval; beyond, once a second. */
const PACE: readonly (readonly [Micros, Micros])[] = [
  [seconds(10), millis(100)],
  [seconds(60), millis(250)],
  [seconds(300), millis(500)],
];
const PACE_LAST: Micros = seconds(1);
/** A sign of life is fresh for this long; longer than the slowest pace. */
const FRESH: Micros = seconds(1.5);
/** Whoever answered and has not been heard for this long is lost again. */
const BLINK: Micros = millis(700);
const MAX_INQUIRIES = 1_024;
const ASKS_PER_SECOND = 600;
/** A loss of which nobody can ask is given back to the connections' own retransmissions after this long. */
const MUTE_HOLD: Micros = seconds(10);
/** A LAN host is sent an echo this often. */
const ECHO_PACE: Micros = seconds(1);
/** How often the connections concerned are looked up again. */
const LOOKUP_PACE: Micros = seconds(1);
const FLOWS_MAX = 32;

interface Inquiry {
  readonly subject: Link | Host;
  readonly since: Micros;
  heardAt: Micros;
  /** It answers, and damping does not believe it yet. */
  isDoubted: boolean;
  askAt: Micros;
  echoAt: Micros;
  lookedUpAt: Micros;
  /** Connections that can ask, of the last look-up, and whether any is concerned at all. */
  flows: readonly { readonly flow: Flow; readonly generation: number }[];
  isConcerning: boolean;
  turn: number;
}

export class Inquiries {
  readonly #table: FlowTable;
  readonly #verdicts: Verdicts;
  readonly #asker: Asker;
  readonly #inquiries = new Map<Link | Host, Inquiry>();
  /** Sends an echo to a LAN host. */
  onEcho: (host: Host, now: Micros) => void = () => {};
  deadline: Micros = NEVER;

  constructor(table: FlowTable, verdicts: Verdicts, asker: Asker) {
    this.#table = table;
    this.#verdicts = verdicts;
    this.#asker = asker;
  }

  get size(): number {
    return this.#inquiries.size;
  }

  /** Begins to ask about a subject that is held for lost by inference. */
  begin(subject: Link | Host, now: Micros): void {
    if (this.#inquiries.has(subject) || this.#inquiries.size >= MAX_INQUIRIES) return;
    this.#inquiries.set(subject, {
      subject,
      since: now,
      heardAt: -NEVER,
      isDoubted: false,
      askAt: now,
      echoAt: now,
      lookedUpAt: -NEVER,
      flows: [],
      isConcerning: true,
      turn: 0,
    });
    this.deadline = now;
  }

  /** Whether an inquiry about the subject is under way. */
  has(subject: Link | Host): boolean {
    return this.#inquiries.has(subject);
  }

  /** A plausible packet came from half `half` of a connection that is held. */
  onLife(flow: Flow, half: 0 | 1, now: Micros): void {
    if (this.#inquiries.size === 0) return;
    for (const inquiry of this.#inquiries.values()) {
      if (!this.#concerns(inquiry.subject, flow, half)) continue;
      inquiry.heardAt = now;
      this.deadline = now;
    }
  }

  /** Something else says that the subject may be back: ask at once. */
  onSign(subject: Link | Host, now: Micros): void {
    const inquiry = this.#inquiries.get(subject);
    if (inquiry === undefined) return;
    inquiry.askAt = Math.min(inquiry.askAt, now);
    this.deadline = Math.min(this.deadline, now);
  }

  run(now: Micros): void {
    if (this.deadline > now) return;
    for (const inquiry of this.#inquiries.values()) this.#attend(inquiry, now);
    this.deadline = NEVER;
    for (const { askAt } of this.#inquiries.values()) this.deadline = Math.min(this.deadline, askAt);
  }

  #attend(inquiry: Inquiry, now: Micros): void {
    const { subject } = inquiry;
    if (!isInferred(subject)) {
      this.#inquiries.delete(subject);
      return;
    }
    const isHeard = inquiry.heardAt > inquiry.since && now - inquiry.heardAt < FRESH;
    if (isHeard && subject.penalty.reuseAt(now) <= now) {
      this.#end(inquiry, 'answers again', now);
      return;
    }
    // It blinks on while its return is held back: every further loss counts.
    if (isHeard && now - inquiry.heardAt < BLINK) inquiry.isDoubted = true;
    else if (inquiry.isDoubted && now - inquiry.heardAt >= BLINK) {
      inquiry.isDoubted = false;
      subject.penalty.onLoss(now);
    }
    if (inquiry.askAt > now) return;
    const age = now - inquiry.since;
    const pace = PACE.find(([until]) => age < until)?.[1] ?? PACE_LAST;
    const link = subject instanceof Link ? subject : this.#verdicts.monitor.links[subject.port]!;
    // A host is asked by one connection at a time; many hosts share what may be asked in a second.
    const askers = subject instanceof Link ? ASKERS : 1;
    inquiry.askAt = now + Math.max(pace, (askers * this.#inquiries.size * 1e6) / ASKS_PER_SECOND);
    // What is lost by proof, or by a command, is not asked: the answer would change nothing.
    if (link.isProven || subject.isProven) return;
    if (now - inquiry.lookedUpAt >= LOOKUP_PACE) this.#lookUp(inquiry, now);
    if (!inquiry.isConcerning) {
      this.#end(inquiry, 'no connection left that needs it', now);
      return;
    }
    const { flows } = inquiry;
    let asked = 0;
    for (let i = 0; i < Math.min(askers, flows.length); i++) {
      const { flow, generation } = flows[(inquiry.turn + i) % flows.length]!;
      if (flow.generation === generation && this.#table.isLive(flow) && this.#asker.askFrozen(flow)) asked++;
    }
    inquiry.turn += askers;
    if (!(subject instanceof Link) && link.role === 'lan' && inquiry.echoAt <= now) {
      inquiry.echoAt = now + ECHO_PACE;
      this.onEcho(subject, now);
    }
    if (asked === 0 && flows.length === 0 && now - inquiry.since >= MUTE_HOLD && !subject.evidence.lease)
      this.#end(inquiry, 'nobody can ask for it', now);
  }

  #end(inquiry: Inquiry, cause: string, now: Micros): void {
    this.#inquiries.delete(inquiry.subject);
    this.#verdicts.refute(inquiry.subject, now, cause);
  }

  #lookUp(inquiry: Inquiry, now: Micros): void {
    const found: { flow: Flow; generation: number }[] = [];
    inquiry.lookedUpAt = now;
    inquiry.isConcerning = false;
    this.#table.forEach((flow) => {
      const frozen = flow.frozen as Frozen | null;
      const far = flow.near === 0 ? 1 : 0;
      if (frozen === null || !this.#concerns(inquiry.subject, flow, far)) return;
      if (flow.phase === FROZEN || frozen.head !== null) inquiry.isConcerning = true;
      if (found.length < FLOWS_MAX && this.#asker.canAsk(flow)) found.push({ flow, generation: flow.generation });
    });
    inquiry.flows = found;
  }

  #concerns(subject: Link | Host, flow: Flow, half: 0 | 1): boolean {
    if (flow.halves[half].port !== subject.port) return false;
    if (subject instanceof Link) return true;
    return (
      subject.family === flow.family &&
      isSameAddress(this.#table.keys, flow.index * KEY_WORDS + 4 * half, subject.words)
    );
  }
}

/** Held for lost by something that a packet can refute. */
function isInferred(subject: Link | Host): boolean {
  return subject.isInferred || (!(subject instanceof Link) && subject.evidence.lease !== null);
}
