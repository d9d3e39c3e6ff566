/** `tcpfreeze capture`: packets as the gateway sees them, into a file or a pipe. */
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { TcpfreezeError } from '../base/errors.ts';
import type { CaptureBody, CaptureJson } from '../control/captures.ts';
import { ControlClient } from '../control/client.ts';
import { controlPath } from '../control/socket.ts';
import { agoText, bytesText, table } from './table.ts';

interface ControlFlags {
  readonly control?: string;
  readonly json?: boolean;
}

export interface CaptureStartFlags extends ControlFlags {
  /** Path, or `-` for standard output. */
  readonly file: string;
  readonly filter?: string;
  readonly snaplen?: number;
  readonly rotate?: { readonly size: number; readonly count: number };
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export async function captureStart(flags: CaptureStartFlags): Promise<void> {
  const { file, filter, snaplen, rotate } = flags;
  const body: CaptureBody = {
    ...(filter === undefined ? {} : { filter }),
    ...(snaplen === undefined ? {} : { snaplen }),
  };
  const client = new ControlClient(controlPath(flags.control));
  if (file === '-') {
    if (rotate !== undefined) throw usage('a pipe cannot be rotated', 'leave --rotate out');
    if (process.stdout.isTTY)
      throw usage('a capture is nothing for a terminal', 'redirect it, or pipe it: ... --file - | wireshark -k -i -');
    await streamTo(client, body, process.stdout);
    return;
  }
  // The gateway has another working directory.
  const started = await client.startCapture({
    ...body,
    file: resolve(file),
    ...(rotate === undefined ? {} : { rotate }),
  });
  print(flags.json === true ? JSON.stringify(started) : `capture ${started.id} writes ${started.file}`);
}

/** Passes a live capture on until it ends, its reader goes away or a signal says so; the end of the file is whole then. */
export async function streamTo(client: ControlClient, body: CaptureBody, output: NodeJS.WritableStream): Promise<void> {
  const { id, stream } = await client.streamCapture(body);
  const stop = (): void => {
    client.stopCapture(id).catch(() => stream.destroy());
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    await pipeline(stream, output, { end: false });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    // A reader that has seen enough is no failure.
    if (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') return;
    throw new TcpfreezeError(
      'CAPTURE_CUT',
      `the capture was cut off (${code})`,
      'see the log of the gateway',
      1,
      error,
    );
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

export async function captureStop(id: number | undefined, flags: ControlFlags): Promise<void> {
  const stopped = await new ControlClient(controlPath(flags.control)).stopCapture(id);
  if (flags.json === true) print(JSON.stringify(stopped));
  else if (stopped.length === 0) print('no capture was running');
  else for (const one of stopped) print(`capture ${one.id}: ${figuresOf(one)}, in ${one.file ?? 'a stream'}`);
}

export async function captureStatus(flags: ControlFlags): Promise<void> {
  const running = await new ControlClient(controlPath(flags.control)).captures();
  print(flags.json === true ? JSON.stringify(running) : capturesText(running, Date.now()));
}

function figuresOf({ packets, bytes, dropped }: CaptureJson): string {
  return `${packets} packets, ${bytesText(bytes)}${dropped > 0 ? `, ${dropped} dropped` : ''}`;
}

/** @param now wall-clock milliseconds */
export function capturesText(captures: readonly CaptureJson[], now: number): string {
  if (captures.length === 0) return 'no capture is running';
  const rows = captures.map((one) => [
    String(one.id),
    agoText(one.since, now),
    String(one.packets),
    bytesText(one.bytes),
    String(one.dropped),
    one.filter === '' ? '-' : one.filter,
    one.file ?? '(stream)',
  ]);
  return table([['ID', 'FOR', 'PACKETS', 'BYTES', 'DROPPED', 'FILTER', 'FILE'], ...rows], [2, 3, 4]);
}

function usage(message: string, remedy: string): TcpfreezeError {
  return new TcpfreezeError('USAGE', message, remedy, 2);
}
