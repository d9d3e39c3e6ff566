/**
 * Detection: where everything that the shell reports of the network arrives, and where it becomes a verdict on a link.
 */
import type { Micros } from '../base/time.ts';
import type { EchoRequest, LinkEvent } from '../link/events.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import type { Settler } from './settler.ts';
import type { Watch } from './watch.ts';

export class Detection {
  readonly #monitor: LinkMonitor;
  readonly #watch: Watch;
  readonly #settler: Settler;
  readonly #echoes: EchoRequest[] = [];

  constructor(monitor: LinkMonitor, watch: Watch, settler: Settler) {
    this.#monitor = monitor;
    this.#watch = watch;
    this.#settler = settler;
  }

  /** Takes one report; what concerns no configured link is left alone. */
  onEvent(event: LinkEvent, now: Micros): void {
    const link = this.#monitor.onEvent(event, now);
    if (link === null) return;
    this.#watch.forget(link.port, now);
    this.#settler.onVerdict(link, now);
  }

  /** The next echo to be sent, or undefined. */
  pollEcho(): EchoRequest | undefined {
    return this.#echoes.shift();
  }
}
