/**
 * Captures over the control socket:
 *
 *     GET  /capture                            those that run
 *     POST /capture/start                      body: {file, filter?, snaplen?, rotate?: {size, count}}; sizes in bytes
 *     POST /capture/stop                       body: {id?}; without: all that write files
 *     POST /capture/stream                     body: {filter?, snaplen?}; the answer is the capture itself, as it comes (pcapng)
 *
 * A stream ends when it is stopped, when its reader goes away or when the gateway ends.
 */
import type { ServerResponse } from 'node:http';
import type { CaptureStatus, Captures } from '../capture/captures.ts';
import type { CaptureRequest } from '../capture/live-capture.ts';
import { SNAP_LENGTH_MAX } from '../policy/policy.ts';
import { badRequest } from './api.ts';

export interface CaptureJson {
  readonly id: number;
  /** File that is being written; null for a stream. */
  readonly file: string | null;
  readonly filter: string;
  readonly snaplen: number;
  readonly rotate: { readonly size: number; readonly count: number } | null;
  readonly since: string;
  readonly packets: number;
  readonly bytes: number;
  /** Packets that could not be recorded. */
  readonly dropped: number;
  readonly files: number;
}

/** Body of POST /capture/start and /capture/stream. */
export interface CaptureBody {
  readonly file?: string;
  readonly filter?: string;
  readonly snaplen?: number;
  readonly rotate?: { readonly size: number; readonly count: number };
}

/** Registered by nobody, understood by all readers. */
export const CAPTURE_CONTENT_TYPE = 'application/x-pcapng';
/** Header that names a stream's capture. */
export const CAPTURE_ID_HEADER = 'x-capture-id';

export function toCaptureJson(status: CaptureStatus): CaptureJson {
  const { id, file, filter, snapLength, rotation, since, packets, bytes, dropped, files } = status;
  return {
    id,
    file,
    filter,
    snaplen: snapLength,
    rotate: rotation === null ? null : { size: rotation.bytes, count: rotation.count },
    since: since.toISOString(),
    packets,
    bytes,
    dropped,
    files,
  };
}

const KEYS: readonly string[] = ['file', 'filter', 'snaplen', 'rotate'];

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws TcpfreezeError BAD_REQUEST */
export function toCaptureRequest(body: unknown, isStream: boolean): CaptureRequest {
  if (!isRecord(body)) throw badRequest('the body must be a JSON object');
  const unknown = Object.keys(body).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw badRequest(`a capture has no ${unknown}; it has ${KEYS.join(', ')}`);
  const { file, filter = '', snaplen = SNAP_LENGTH_MAX, rotate } = body;
  if (typeof filter !== 'string') throw badRequest('filter must be a text');
  const snapLength = wholeNumber('snaplen', snaplen, 1, SNAP_LENGTH_MAX);
  if (isStream) {
    if (file !== undefined || rotate !== undefined) throw badRequest('a stream has no file');
    return { file: null, filter, snapLength, rotation: null };
  }
  if (typeof file !== 'string' || file === '') throw badRequest('file must be a path');
  if (rotate === undefined) return { file, filter, snapLength, rotation: null };
  if (!isRecord(rotate)) throw badRequest('rotate must have size and count');
  const size = wholeNumber('rotate.size', rotate.size, 65_536, Number.MAX_SAFE_INTEGER);
  const count = wholeNumber('rotate.count', rotate.count, 1, 99_999);
  return { file, filter, snapLength, rotation: { bytes: size, count } };
}

function wholeNumber(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw badRequest(`${name} must be a whole number, ${least} to ${most}`);
  return value;
}

/** Ends the captures that a request names. @throws TcpfreezeError BAD_REQUEST, NO_CAPTURE */
export async function stopCaptures(captures: Captures, body: unknown): Promise<CaptureStatus[]> {
  if (!isRecord(body) || Object.keys(body).some((key) => key !== 'id'))
    throw badRequest('the body may have an id only');
  if (body.id === undefined) return captures.stopAll(false);
  return [await captures.stop(wholeNumber('id', body.id, 1, Number.MAX_SAFE_INTEGER))];
}

/** Answers with a capture as it is being made. @throws TcpfreezeError before anything was answered */
export async function streamCapture(captures: Captures, body: unknown, response: ServerResponse): Promise<void> {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const { status, ended } = await captures.start(toCaptureRequest(body, true), async (bytes) => {
    await opened;
    await new Promise<void>((resolve) => {
      if (response.destroyed) resolve();
      else response.write(bytes, () => resolve());
    });
  });
  response.writeHead(200, { 'content-type': CAPTURE_CONTENT_TYPE, [CAPTURE_ID_HEADER]: String(status.id) });
  response.flushHeaders();
  // The reader may be gone before the capture has begun.
  const stop = (): void => void captures.stop(status.id).catch(() => {});
  if (response.destroyed) stop();
  response.once('close', stop);
  open();
  await ended;
  response.end();
}
