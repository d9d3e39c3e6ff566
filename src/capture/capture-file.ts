/** The packets of a capture file, whatever its format. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { ByteSource } from './byte-source.ts';
import type { CapturedPacket } from './capture.ts';
import { isPcapMagic, readPcap } from './pcap-reader.ts';
import { isPcapngMagic, readPcapng } from './pcapng-reader.ts';

/**
 * The packets of a capture, whatever its format.
 * @throws TcpfreezeError CAPTURE_UNKNOWN (neither pcap nor pcapng), CAPTURE_DAMAGED
 */
export function readCapture(source: ByteSource): Generator<CapturedPacket, void, undefined> {
  if (!source.has(4)) {
    const message = `not a capture file: it has ${source.available} bytes`;
    throw new TcpfreezeError('CAPTURE_UNKNOWN', message, 'give a pcap or pcapng file');
  }
  const magic = new Uint8Array(source.view.buffer, source.at, 4).slice();
  if (isPcapngMagic(magic)) return readPcapng(source);
  if (isPcapMagic(magic)) return readPcap(source);
  const text = [...magic].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const message = `not a capture file: it begins with ${text} at byte 0`;
  throw new TcpfreezeError('CAPTURE_UNKNOWN', message, 'give a pcap or pcapng file');
}

/**
 * The packets of a capture file; the file is closed when the iteration ends, however it ends.
 * @param onProgress told now and then how many bytes were read, and of how many; 0 where the size is not known
 * @throws TcpfreezeError CAPTURE_UNREADABLE, and those of `readCapture`
 */
export function* readCaptureFile(
  path: string,
  onProgress?: (done: number, size: number) => void,
): Generator<CapturedPacket, void, undefined> {
  const unreadable = (error: unknown): TcpfreezeError => {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    return new TcpfreezeError('CAPTURE_UNREADABLE', `cannot read ${path} (${why})`, 'check name and permissions');
  };
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw unreadable(error);
  }
  try {
    const status = fstatSync(fd);
    const size = status.isFile() ? status.size : 0;
    let done = 0;
    const read = (target: Uint8Array): number => {
      try {
        const count = readSync(fd, target);
        done += count;
        onProgress?.(done, size);
        return count;
      } catch (error) {
        throw unreadable(error);
      }
    };
    yield* readCapture(new ByteSource(read, size));
  } finally {
    closeSync(fd);
  }
}
