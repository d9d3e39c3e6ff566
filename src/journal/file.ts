/**
 * The journal's file: a header that names format and boot, then framed records. It is appended to and synced; what says everything
 * anew replaces it whole, by rename, so that at every moment there is one file that tells a consistent story.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { FORMAT, FRAME_BYTES } from '../freeze/record.ts';
import { readFrames, sealFrames } from './frames.ts';

/** What is in custody, and what the handshakes of connections that flow have said (engine/handshakes.ts). */
export type FileName = 'custody' | 'handshakes';
const NEW_SUFFIX = '.new';
const FILE_MODE = 0o600;
/** First byte of the header's record; records of the engine have other kinds. */
const RECORD_HEADER = 0;

/** This boot: CLOCK_MONOTONIC and the connections of the hosts' kernels mean nothing in another one. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

interface Header {
  readonly format: number;
  readonly boot: string;
}

function headerFrame(): Uint8Array {
  const header: Header = { format: FORMAT, boot: bootId() };
  const text = Buffer.from(JSON.stringify(header));
  const bytes = new Uint8Array(FRAME_BYTES + 1 + text.length);
  new DataView(bytes.buffer).setUint32(0, 1 + text.length, true);
  bytes[FRAME_BYTES] = RECORD_HEADER;
  bytes.set(text, FRAME_BYTES + 1);
  sealFrames(bytes);
  return bytes;
}

export interface Found {
  /** Bodies of the intact records of this boot, oldest first. */
  readonly records: readonly Uint8Array[];
  /** Why what was there is not used, for people; null where nothing was, or all of it is. */
  readonly dropped: string | null;
}

/** Reads what an earlier process left. Never throws on content. @throws Error (errno) when the file cannot be read at all */
export function readJournal(directory: string, name: FileName = 'custody'): Found {
  const path = join(directory, name);
  if (!existsSync(path)) return { records: [], dropped: null };
  const bytes = readFileSync(path);
  const { records, end } = readFrames(bytes);
  const header = parseHeader(records[0]);
  if (header === null) return { records: [], dropped: bytes.length === 0 ? null : 'it is no journal of this version' };
  if (header.format !== FORMAT) return { records: [], dropped: `it has format ${header.format}, not ${FORMAT}` };
  if (header.boot !== bootId()) return { records: [], dropped: 'it is of an earlier boot' };
  const rest = bytes.length - end;
  return { records: records.slice(1), dropped: rest === 0 ? null : `its last ${rest} bytes are not whole` };
}

function parseHeader(record: Uint8Array | undefined): Header | null {
  if (record === undefined || record[0] !== RECORD_HEADER) return null;
  try {
    const { format, boot } = JSON.parse(Buffer.from(record.subarray(1)).toString()) as Partial<Header>;
    return typeof format === 'number' && typeof boot === 'string' ? { format, boot } : null;
  } catch {
    return null;
  }
}

/** The file as it is written. Every call is synchronous; failures are errors with an errno. */
export class JournalFile {
  readonly #directory: string;
  readonly #name: FileName;
  #fd = -1;
  #headerLength = 0;

  constructor(directory: string, name: FileName = 'custody') {
    this.#directory = directory;
    this.#name = name;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  /** Begins a new file with `content` behind its header; the old one is gone once this returns, and not before. */
  replace(content: Uint8Array): void {
    const path = join(this.#directory, this.#name + NEW_SUFFIX);
    // A power cut ends the boot, and with it what handshakes are good for: nobody waits for the disk.
    const isSynced = this.#name === 'custody';
    // O_APPEND: after `clear` the next write goes to the new end.
    rmSync(path, { force: true });
    const fd = openSync(path, 'a', FILE_MODE);
    try {
      const header = headerFrame();
      writeAll(fd, header);
      writeAll(fd, content);
      if (isSynced) fdatasyncSync(fd);
      renameSync(path, join(this.#directory, this.#name));
      if (isSynced) syncDirectory(this.#directory);
      this.close();
      this.#fd = fd;
      this.#headerLength = header.length;
    } catch (error) {
      closeSync(fd);
      rmSync(path, { force: true });
      throw error;
    }
  }

  append(bytes: Uint8Array): void {
    writeAll(this.#fd, bytes);
  }

  sync(): void {
    fdatasyncSync(this.#fd);
  }

  /** Nothing is held any more: only the header stays. */
  clear(): void {
    ftruncateSync(this.#fd, this.#headerLength);
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

/** A rename is durable when its directory is. */
function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
