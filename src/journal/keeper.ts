/** Opens the journal that the configuration names, for as long as the gateway runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../base/errors.ts';
import { Journal } from './journal.ts';

/** A gateway that was killed a moment ago may not be quite gone. */
const LOCK_PATIENCE_MILLIS = 3_000;
const LOCK_PAUSE_MILLIS = 50;

export interface Keeper {
  /** What the datapath is given: the journal; why there is none; or nothing where it is off. */
  readonly journal: Journal | string | undefined;
  close(): void;
}

/**
 * @param directory null: the journal is off
 * @param warn is told why custody is off where the journal cannot be kept
 * @throws TcpfreezeError JOURNAL_IN_USE
 */
export async function keepJournal(directory: string | null, warn: (message: string) => void): Promise<Keeper> {
  if (directory === null) return { journal: undefined, close: () => {} };
  for (const deadline = performance.now() + LOCK_PATIENCE_MILLIS; ; ) {
    try {
      const journal = Journal.open(directory);
      return { journal, close: () => journal.close() };
    } catch (error) {
      if (!(error instanceof TcpfreezeError)) throw error;
      if (error.code !== 'JOURNAL_IN_USE') {
        warn(`nothing will be taken into custody: ${error.message}; ${error.remedy}`);
        return { journal: error.message, close: () => {} };
      }
      if (performance.now() > deadline) throw error;
    }
    await sleep(LOCK_PAUSE_MILLIS);
  }
}
