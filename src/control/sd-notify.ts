/**
 * Speaks to the service manager that started this process, if one did: readiness, the end, and signs of life, as
 * sd_notify(3) and sd_watchdog_enabled(3) describe them. Without one (no NOTIFY_SOCKET) all of it does nothing.
 */
import { notifySocket } from '../native/notify-socket.ts';

export class SdNotify {
  readonly #socket: string | undefined;
  readonly #answers: () => Promise<void>;
  readonly #watchdogMillis: number;
  #timer: NodeJS.Timeout | undefined;
  #asking = false;

  private constructor(socket: string | undefined, watchdogMillis: number, answers: () => Promise<void>) {
    this.#socket = socket;
    this.#watchdogMillis = watchdogMillis;
    this.#answers = answers;
  }

  /** @param answers waited for before each sign of life; as long as it does not settle, none is given */
  static fromEnvironment(answers: () => Promise<void>, env: NodeJS.ProcessEnv = process.env): SdNotify {
    // A child that inherits the variables must not speak for this process: WATCHDOG_PID names whom they are for.
    const isMeant = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === process.pid;
    const micros = isMeant ? Number(env.WATCHDOG_USEC ?? 0) : 0;
    const socket = env.NOTIFY_SOCKET === '' ? undefined : env.NOTIFY_SOCKET;
    return new SdNotify(socket, Number.isFinite(micros) ? micros / 1_000 : 0, answers);
  }

  /** Traffic can flow. From now on signs of life are given where they are asked for, twice per period. */
  ready(): void {
    this.#tell('READY=1\nSTATUS=forwarding');
    if (this.#socket === undefined || this.#watchdogMillis <= 0) return;
    this.#timer = setInterval(() => void this.#sign(), this.#watchdogMillis / 2);
  }

  /** The end has begun; it may take a while. */
  stopping(): void {
    clearInterval(this.#timer);
    this.#tell('STOPPING=1');
  }

  async #sign(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    await this.#answers();
    this.#asking = false;
    this.#tell('WATCHDOG=1');
  }

  #tell(text: string): void {
    // A manager that went away is nothing that a gateway has to care about.
    if (this.#socket !== undefined) notifySocket(this.#socket, text);
  }
}
