/**
 * The journal as the main thread holds it (theory of operation 3: write-ahead).
 *
 * Purpose.  Keeps what the engine's batches say (freeze/journal.ts) in a directory of its own, and hands the next process what is left.
 * Threads.  Main: directory, lock, reading. Journal thread: writing and syncing. The datapath's thread talks to the journal thread
 *           directly, so that a busy main thread never delays an ACK.
 * Limits.   One gateway per directory (flock(2), which dies with the process). The file is a little larger than what is held.
 * Fails.    Writing: reported to the engine, which closes custody, until it works again. Reading: what is damaged or of another
 *           boot is left out, with a reason.
 */
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { TcpfreezeError } from '../base/errors.ts';
import { errnoName } from '../native/errno.ts';
import { close, lockFile, O_CREAT, O_RDWR, open } from '../native/libc.ts';
import { type Found, readJournal } from './file.ts';
import type { JournalStart } from './messages.ts';

export const DEFAULT_JOURNAL_DIRECTORY = '/var/lib/tcpfreeze';

const DIRECTORY_MODE = 0o700;
const LOCK_NAME = 'lock';

/** A directory that belongs to this process until `close`. */
export class Journal {
  readonly directory: string;
  readonly #lockFd: number;

  private constructor(directory: string, lockFd: number) {
    this.directory = directory;
    this.#lockFd = lockFd;
  }

  /**
   * Makes the directory where it is missing, and takes possession of it.
   * @throws TcpfreezeError JOURNAL_UNUSABLE, JOURNAL_IN_USE
   */
  static open(directory: string): Journal {
    try {
      mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
      // What is in custody is what people sent: nobody else's to read.
      if ((statSync(directory).mode & 0o077) !== 0) chmodSync(directory, DIRECTORY_MODE);
    } catch (error) {
      throw unusable(directory, (error as NodeJS.ErrnoException).code ?? (error as Error).message, error as Error);
    }
    const fd = open(join(directory, LOCK_NAME), O_RDWR | O_CREAT, 0o600);
    if (fd < 0) throw unusable(directory, errnoName(fd));
    const locked = lockFile(fd);
    if (locked < 0) {
      close(fd);
      throw new TcpfreezeError(
        'JOURNAL_IN_USE',
        `another gateway keeps its journal in ${directory}`,
        'give this one another directory (journal: in the configuration)',
      );
    }
    return new Journal(directory, fd);
  }

  /** What an earlier process, or an earlier datapath of this one, left. @throws TcpfreezeError JOURNAL_UNUSABLE */
  read(): Found {
    try {
      return readJournal(this.directory);
    } catch (error) {
      throw unusable(this.directory, (error as NodeJS.ErrnoException).code ?? (error as Error).message, error as Error);
    }
  }

  /** What only the handshakes of connections tell that an earlier process has seen; without them they are learnt from the middle. */
  readHandshakes(): readonly Uint8Array[] {
    try {
      return readJournal(this.directory, 'handshakes').records;
    } catch {
      return [];
    }
  }

  /** Gives the directory back. */
  close(): void {
    close(this.#lockFd);
  }
}

function unusable(directory: string, why: string, cause?: Error): TcpfreezeError {
  return new TcpfreezeError(
    'JOURNAL_UNUSABLE',
    `the journal cannot be kept in ${directory}: ${why}`,
    'name another directory (journal: in the configuration), or "journal: off" to hold custody in memory only',
    1,
    cause,
  );
}

/** The thread that writes; one per datapath. */
export class JournalWriter {
  /** The datapath's end. */
  readonly port: MessagePort;
  /** Settles when the thread has ended, with the reason if it was not asked to. Never rejects. */
  readonly exited: Promise<Error | undefined>;

  /** @param wakeFd eventfd of the datapath; stays open until `exited` */
  constructor(directory: string, wakeFd: number) {
    const channel = new MessageChannel();
    this.port = channel.port1;
    const start: JournalStart = { directory, wakeFd };
    const worker = new Worker(new URL('./thread.js', import.meta.url), {
      name: 'tcpfreeze-journal',
      workerData: { start, port: channel.port2 },
      transferList: [channel.port2],
    });
    this.exited = new Promise((resolve) => {
      let reason: Error | undefined;
      worker.on('error', (error: unknown) => {
        reason = error instanceof Error ? error : new Error(String(error));
      });
      worker.once('exit', () => resolve(reason));
    });
  }
}
