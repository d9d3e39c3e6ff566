/**
 * The journal's thread: writes batches and reports what is durable. It may sleep in the disk for as long as that takes; the datapath
 * goes on meanwhile. Batches that have gathered are written together and synced once.
 */
import { setPriority } from 'node:os';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { HandshakeBatch } from '../engine/handshakes.ts';
import type { JournalBatch } from '../freeze/journal.ts';
import { addressOf, write } from '../native/libc.ts';
import { JournalFile } from './file.ts';
import { sealFrames } from './frames.ts';
import type { JournalOrder, JournalReport, JournalStart } from './messages.ts';

/** As the datapath, which waits for it. */
const JOURNAL_NICE = -10;
/** How often a journal that cannot be written is tried again. */
const RETRY_MILLIS = 5_000;

const { start, port } = workerData as { start: JournalStart; port: MessagePort };
const one = BigUint64Array.of(1n);
const oneAddress = addressOf(one);
const file = new JournalFile(start.directory);
const handshakes = new JournalFile(start.directory, 'handshakes');
let isFailed = false;

function report(message: JournalReport): void {
  port.postMessage(message);
  write(start.wakeFd, oneAddress, 8);
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

function fail(error: unknown): void {
  isFailed = true;
  file.close();
  report({ kind: 'failed', reason: reasonOf(error) });
  const timer = setInterval(() => {
    try {
      file.replace(new Uint8Array(0));
    } catch {
      return;
    }
    clearInterval(timer);
    isFailed = false;
    report({ kind: 'mended' });
  }, RETRY_MILLIS);
  // When the datapath has ended nobody needs it any more.
  timer.unref();
}

/** Writes the batches in order, and syncs if one of them is urgent. */
function serve(orders: readonly JournalBatch[]): void {
  if (isFailed || orders.length === 0) return;
  let isUrgent = false;
  try {
    for (const { buffer, length, urgent, fresh } of orders) {
      const bytes = new Uint8Array(buffer, 0, length);
      sealFrames(bytes);
      if (fresh && (length > 0 || !file.isOpen)) file.replace(bytes);
      else if (fresh) file.clear();
      else {
        if (!file.isOpen) file.replace(new Uint8Array(0));
        file.append(bytes);
      }
      isUrgent ||= urgent;
    }
    if (isUrgent) file.sync();
  } catch (error) {
    fail(error);
    return;
  }
  if (isUrgent) report({ kind: 'synced', number: orders.at(-1)!.number });
}

/** Nobody waits for these: what cannot be written is done without, and tried again later. */
function keep({ buffer, length, fresh }: HandshakeBatch): void {
  const bytes = new Uint8Array(buffer, 0, length);
  sealFrames(bytes);
  try {
    if (fresh || !handshakes.isOpen) handshakes.replace(bytes);
    else handshakes.append(bytes);
  } catch {
    handshakes.close();
    report({ kind: 'handshakes-lost' });
  }
}

try {
  setPriority(0, JOURNAL_NICE);
} catch {
  // Without CAP_SYS_NICE it runs like everybody else.
}
port.on('message', (order: JournalOrder) => {
  const orders = [order];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    orders.push(next.message as JournalOrder);
  }
  serve(orders.filter((given): given is JournalBatch => !('handshakes' in given)));
  for (const given of orders) if ('handshakes' in given) keep(given.handshakes);
});
