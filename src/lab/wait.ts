/** Waiting on a state instead of for a time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../base/errors.ts';

export interface WaitOptions {
  /** What is waited for, for the error. */
  readonly what: string;
  readonly timeoutMillis: number;
  /** Pause between two looks, default 50 ms. */
  readonly everyMillis?: number;
}

/**
 * Looks again and again until `probe` gives something else than undefined or false.
 * @throws TcpfreezeError LAB_TIMEOUT; whatever `probe` throws
 */
export async function until<T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMillis;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) {
      throw new TcpfreezeError('LAB_TIMEOUT', `${options.what}: not within ${options.timeoutMillis / 1000} s`, '');
    }
    await sleep(options.everyMillis ?? 50);
  }
}
