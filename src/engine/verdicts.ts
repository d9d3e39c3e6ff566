/**
 * Verdicts: the one place where evidence about links and hosts comes together, whoever brings it, and where it takes effect: events
 * are told, flows are brought in line. Weighing is the subject's affair (link/subject.ts): any standing line of evidence
 * keeps it lost, a command outranks the rest, a return is believed when damping allows.
 */
import { observe } from '../base/figures.ts';
import type { Micros } from '../base/time.ts';
import type { DampingSettings } from '../link/damping.ts';
import { type Host, HostRegistry } from '../link/hosts.ts';
import { Link, type LinkMonitor } from '../link/monitor.ts';
import { type Detector, INFERRING } from '../link/subject.ts';
import type { EventQueue } from './event-queue.ts';
import type { Settler } from './settler.ts';

export class Verdicts {
  readonly monitor: LinkMonitor;
  readonly hosts = new HostRegistry();
  readonly #counters: Float64Array;
  /** Called after every verdict. */
  onVerdict: (subject: Link | Host, now: Micros) => void = () => {};
  readonly #events: EventQueue;
  readonly #settler: Settler;
  readonly #damping: readonly (DampingSettings | null)[];

  /** @param damping by port */
  constructor(
    monitor: LinkMonitor,
    events: EventQueue,
    settler: Settler,
    counters: Float64Array,
    damping: readonly (DampingSettings | null)[],
  ) {
    this.monitor = monitor;
    this.#events = events;
    this.#settler = settler;
    this.#damping = damping;
    this.#counters = counters;
  }

  /** The host with this address, as a subject; null when too many are known. */
  hostOf(port: number, family: 4 | 6, words: Int32Array, now: Micros): Host | null {
    return this.hosts.of(port, family, words, this.#damping[port] ?? null, now);
  }

  /**
   * Adds a line of evidence, or takes it back (null).
   * @param cause for a return: what shows it
   */
  say(subject: Link | Host, detector: Detector, text: string | null, now: Micros, cause = ''): void {
    if (subject.say(detector, text, now)) this.announce(subject, now, cause);
  }

  /** As `say`, of a loss that had only seemed to be over: damping does not count it again. */
  sayAgain(subject: Link | Host, detector: Detector, text: string, now: Micros): void {
    if (subject.say(detector, text, now, false)) this.announce(subject, now);
  }

  /** What it took to notice: from the first sign of a loss to its verdict. */
  observeDelay(delay: Micros): void {
    observe(this.#counters, 'detectionDelay', delay);
  }

  /** A packet from beyond refutes everything that was concluded from silence, and what a host's lease says. */
  refute(subject: Link | Host, now: Micros, cause: string): void {
    for (const detector of INFERRING) subject.evidence[detector] = null;
    if (!(subject instanceof Link)) subject.evidence.lease = null;
    if (subject.judge(now)) this.announce(subject, now, cause);
  }

  /** A person says that all is well with it. */
  clear(subject: Link | Host, now: Micros): void {
    if (subject.clearInferred(now)) this.announce(subject, now, 'by command');
  }

  get deadline(): Micros {
    return Math.min(this.monitor.deadline, this.hosts.deadline);
  }

  /** Believes returns that were held back, when due. */
  run(now: Micros): void {
    if (this.deadline > now) return;
    const settled = 'steady again';
    for (const link of this.monitor.links) if (link.onTimeout(now)) this.announce(link, now, settled);
    for (const host of this.hosts.lost) if (host.onTimeout(now)) this.announce(host, now, settled);
  }

  /** The verdict on a subject has changed: tells it and brings flows in line. */
  announce(subject: Link | Host, now: Micros, cause = ''): void {
    const isLink = subject instanceof Link;
    const { isLost } = subject;
    const evidence = subject.standing();
    const what = isLink ? `link ${subject.name}` : `host ${subject.address}`;
    const link = isLink ? subject.name : (this.monitor.links[subject.port]?.name ?? '');
    const why = isLost ? evidence.join('; ') : cause;
    this.#events.push({
      at: now,
      name: isLink ? (isLost ? 'link-lost' : 'link-restored') : isLost ? 'host-lost' : 'host-restored',
      message: `${what} ${isLost ? 'lost' : 'restored'}${why === '' ? '' : `: ${why}`}`,
      link,
      reason: isLost ? subject.reason : cause === '' ? subject.reason : cause,
      ...(isLost ? { evidence } : {}),
    });
    if (!isLink) this.hosts.changed();
    this.onVerdict(subject, now);
    if (isLink) this.#settler.onLink(subject, now);
    else this.#settler.settleAll(now);
  }
}
