/**
 * Files that captures are written to. The gateway runs as root and takes their names from whoever may use its control socket, so it
 * writes nothing but captures: names end in .pcapng, links are not followed, and what exists is overwritten only when it is a
 * capture itself.
 */
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { isAbsolute } from 'node:path';
import { TcpfreezeError } from '../base/errors.ts';
import { isPcapngMagic } from './pcapng-reader.ts';

/** Captures show what people do: their owner alone reads them. */
const MODE = 0o600;
/** A FIFO without a reader must not hold up the gateway. */
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Opens a file for a capture, empty.
 * @param path absolute, ending in .pcapng
 * @throws TcpfreezeError CAPTURE_REFUSED with the reason
 */
export function openCaptureFile(path: string): number {
  const fd = openExisting(path);
  try {
    fchmodSync(fd, MODE);
    ftruncateSync(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw refused(path, codeOf(error));
  }
}

/** Opens, or makes, what a capture may be written to, and leaves its content alone. */
function openExisting(path: string): number {
  if (!isAbsolute(path)) throw refused(path, 'the name is not absolute');
  if (!path.endsWith('.pcapng')) throw refused(path, 'the name does not end in .pcapng');
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, MODE);
  } catch (error) {
    throw refused(path, codeOf(error));
  }
  try {
    const found = fstatSync(fd);
    if (!found.isFile()) throw refused(path, 'it is not a file');
    const magic = new Uint8Array(4);
    if (found.size > 0 && !(readSync(fd, magic, 0, 4, 0) === 4 && isPcapngMagic(magic))) {
      throw refused(path, 'it exists and is no capture');
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error instanceof TcpfreezeError ? error : refused(path, codeOf(error));
  }
}

/**
 * Whether a capture can be written there; a file that was not there is not there afterwards either.
 * @throws TcpfreezeError CAPTURE_REFUSED with the reason
 */
export function assertCaptureFile(path: string): void {
  const isNew = !existsSync(path);
  // An existing capture keeps what is in it.
  if (isNew) {
    closeSync(openCaptureFile(path));
    unlinkSync(path);
  } else closeSync(openExisting(path));
}

function refused(path: string, why: string): TcpfreezeError {
  return new TcpfreezeError('CAPTURE_REFUSED', `cannot write ${path}: ${why}`, 'name another file with --file');
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  if (code === 'ELOOP') return 'it is a symbolic link (ELOOP)';
  return code;
}

export interface Rotation {
  /** Size at which a file is followed by the next one. */
  readonly bytes: number;
  /** Files that are kept; older ones are deleted. */
  readonly count: number;
}

/** One file after another, or one for ever. */
export class OutputFiles {
  readonly #path: string;
  readonly #rotation: Rotation | null;
  #fd: number;
  /** Names of the files that exist, oldest first. */
  readonly #names: string[] = [];
  #number = 1;
  /** Bytes in the present file that are whole blocks. */
  #length = 0;

  /**
   * Opens the first file.
   * @throws TcpfreezeError CAPTURE_REFUSED
   */
  constructor(path: string, rotation: Rotation | null, now: Date) {
    this.#path = path;
    this.#rotation = rotation;
    const name = this.#name(now);
    this.#fd = openCaptureFile(name);
    this.#names.push(name);
  }

  /** The file that is being written. */
  get name(): string {
    return this.#names.at(-1)!;
  }

  /** Files so far. */
  get number(): number {
    return this.#number;
  }

  /** Whether the next block belongs into the next file. */
  isFull(bytes: number): boolean {
    return this.#rotation !== null && bytes >= this.#rotation.bytes;
  }

  /** Writes whole blocks. What cannot be written whole is taken back, so that the file stays readable. @throws the system's error */
  write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
      this.#length += bytes.length;
    } catch (error) {
      ftruncateSync(this.#fd, this.#length);
      throw error;
    }
  }

  /** Goes on with the next file. @throws TcpfreezeError CAPTURE_REFUSED */
  rotate(now: Date): void {
    closeSync(this.#fd);
    this.#number += 1;
    const name = this.#name(now);
    this.#fd = openSync(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
    this.#length = 0;
    this.#names.push(name);
    while (this.#names.length > this.#rotation!.count) {
      try {
        unlinkSync(this.#names.shift()!);
      } catch {
        // Somebody has taken it away already.
      }
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** As dumpcap names files of a ring: base_00001_20260131235959.pcapng. */
  #name(now: Date): string {
    if (this.#rotation === null) return this.#path;
    const stamp = now.toISOString().replace(/[-:T]|\..*/g, '');
    return this.#path.replace(/\.pcapng$/, `_${String(this.#number).padStart(5, '0')}_${stamp}.pcapng`);
  }
}
