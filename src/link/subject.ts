/**
 * Subject of a verdict: a link or a host, and the evidence against it.
 *
 * Every detector owns one line per subject: a text while it holds the subject for lost, null when it has no complaint. The
 * verdict is lost while any line stands. A command outranks the others in that it stands until it is released. A return that
 * damping does not believe yet is a line of its own, so that a verdict always names why it stands.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { DampingSettings } from './damping.ts';
import { Penalty } from './damping.ts';

/** Order in which reasons are named: the most specific proof first. */
const DETECTORS = [
  'interface',
  'carrier',
  'address',
  'lease',
  'neighbour',
  'icmp',
  'echo',
  'silence',
  'damping',
  'command',
] as const;
export type Detector = (typeof DETECTORS)[number];

/** Those that conclude from what does not come; a packet from beyond refutes them. */
export const INFERRING: readonly Detector[] = ['neighbour', 'icmp', 'echo', 'silence'];

export class Subject {
  isLost = false;
  /** When the present verdict was reached. */
  since: Micros;
  readonly evidence: Record<Detector, string | null> = {
    interface: null,
    carrier: null,
    address: null,
    lease: null,
    neighbour: null,
    icmp: null,
    echo: null,
    silence: null,
    damping: null,
    command: null,
  };
  readonly penalty: Penalty;
  /** When a return that is held back is believed; NEVER while none is. */
  heldUntil: Micros = NEVER;
  #isFaulty = false;

  constructor(damping: DampingSettings | null, now: Micros) {
    this.penalty = new Penalty(damping);
    this.since = now;
  }

  /** The evidence that stands, most specific first. */
  standing(): string[] {
    const lines: string[] = [];
    for (const detector of DETECTORS) {
      const line = this.evidence[detector];
      if (line !== null) lines.push(line);
    }
    return lines;
  }

  /** The detector whose evidence is the most specific; null when there is none. */
  get detector(): Detector | null {
    return DETECTORS.find((detector) => this.evidence[detector] !== null) ?? null;
  }

  get reason(): string {
    for (const detector of DETECTORS) {
      const line = this.evidence[detector];
      if (line !== null) return line;
    }
    return 'operational';
  }

  /** Whether a detector that concludes from silence holds it for lost. */
  get isInferred(): boolean {
    return INFERRING.some((detector) => this.evidence[detector] !== null);
  }

  /** Whether it is lost for a reason that no packet can refute. */
  get isProven(): boolean {
    const { interface: gone, carrier, address, command } = this.evidence;
    return gone !== null || carrier !== null || address !== null || command !== null;
  }

  /**
   * A detector holds it for lost (`text` says why), or has no complaint any more (null).
   * @param isNewLoss false: it is the loss before, which had seemed to be over, and damping does not count it again
   * @returns whether the verdict changed
   */
  say(detector: Detector, text: string | null, now: Micros, isNewLoss = true): boolean {
    this.evidence[detector] = text;
    return this.judge(now, isNewLoss);
  }

  /** When due, believes a return that was held back. @returns whether the verdict changed */
  onTimeout(now: Micros): boolean {
    if (this.heldUntil > now) return false;
    return this.judge(now);
  }

  /** A person says that all is well: evidence that was inferred is void, and damping with it. @returns whether the verdict changed */
  clearInferred(now: Micros): boolean {
    for (const detector of INFERRING) this.evidence[detector] = null;
    this.evidence.lease = null;
    this.penalty.clear();
    return this.judge(now);
  }

  /** Brings the verdict in line with the evidence. @returns whether it changed */
  judge(now: Micros, isNewLoss = true): boolean {
    const { evidence, penalty } = this;
    const isFaulty = DETECTORS.some(
      (detector) => detector !== 'command' && detector !== 'damping' && evidence[detector] !== null,
    );
    // What a person orders is no sign of an unsteady link.
    if (isFaulty && !this.#isFaulty && isNewLoss) penalty.onLoss(now);
    this.#isFaulty = isFaulty;
    const until = isFaulty || !this.isLost ? now : penalty.reuseAt(now);
    const isHeld = until > now;
    this.heldUntil = isHeld ? until : NEVER;
    evidence.damping = isHeld ? `lost ${penalty.losses} times of late: its return is not believed yet` : null;
    const isLost = isFaulty || isHeld || evidence.command !== null;
    if (isLost === this.isLost) return false;
    this.isLost = isLost;
    this.since = now;
    return true;
  }
}
