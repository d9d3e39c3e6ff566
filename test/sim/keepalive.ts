/** RFC 9293 3.8.4: when an idle connection asks whether the peer is still there, and when it stops asking. */
import type { Micros } from '../../src/base/time.ts';
import type { EndpointConfig } from './endpoint-config.ts';

export class KeepAlive {
  at: Micros = Number.POSITIVE_INFINITY;

  readonly #config: EndpointConfig;
  #out = 0;
  #heardAt: Micros = 0;

  constructor(config: EndpointConfig) {
    this.#config = config;
  }

  /** Something acceptable came from the peer. */
  heard(now: Micros): void {
    this.#heardAt = now;
    this.#out = 0;
    this.at = now + this.#config.keepIdle;
  }

  /** The connection is closed. */
  stop(): void {
    this.at = Number.POSITIVE_INFINITY;
  }

  /** It is time for a probe. Returns false if enough have gone unanswered. */
  probe(): boolean {
    const { keepIdle, keepInterval, keepProbes } = this.#config;
    if (this.#out >= keepProbes) return false;
    this.#out++;
    this.at = this.#heardAt + keepIdle + this.#out * keepInterval;
    return true;
  }
}
