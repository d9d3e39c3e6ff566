/** The program behind a model endpoint: when it writes, when it stops reading, that it closes after its last deed. */
import { type Micros, NEVER } from '../../src/base/time.ts';
import type { EndpointConfig } from './endpoint-config.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';

export class Application {
  /** It closed before the peer did, hence waits in TIME-WAIT (RFC 9293 3.6). */
  isActiveCloser = false;

  readonly #config: EndpointConfig;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  #next = 0;
  #readAt: Micros = NEVER;

  constructor(config: EndpointConfig, sender: Sender, receiver: Receiver) {
    this.#config = config;
    this.#sender = sender;
    this.#receiver = receiver;
  }

  deadline(): Micros {
    return Math.min(this.#config.deeds[this.#next]?.at ?? NEVER, this.#readAt);
  }

  /** Do what is due. Returns whether reading has opened the window enough to tell the peer. */
  act(now: Micros): boolean {
    const { deeds, closes } = this.#config;
    let deed = deeds[this.#next];
    while (deed !== undefined && now >= deed.at) {
      this.#sender.written += deed.write;
      if (deed.pause > 0) this.#readAt = now + deed.pause;
      deed = deeds[++this.#next];
    }
    if (deed === undefined && closes && !this.#sender.closed) {
      this.#sender.closed = true;
      this.isActiveCloser = !this.#receiver.isFinished;
    }
    if (now < this.#readAt) return false;
    this.#readAt = NEVER;
    this.#receiver.readUpTo = this.#receiver.received;
    return this.#receiver.wantsWindowUpdate;
  }

  /** Data came in; it is read at once unless reading pauses. */
  read(): void {
    if (this.#readAt === NEVER) this.#receiver.readUpTo = this.#receiver.received;
  }
}
