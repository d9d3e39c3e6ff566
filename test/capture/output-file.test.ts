import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hostsNames } from '../../src/capture/names.ts';
import { assertCaptureFile, OutputFiles, openCaptureFile } from '../../src/capture/output-file.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-output-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const MAGIC = Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a);
const NOW = new Date('2026-01-31T23:59:59.9Z');

describe('a capture file', () => {
  test('is for its owner alone, and what was an earlier capture is overwritten', () => {
    const path = join(directory, 'a.pcapng');
    writeFileSync(path, Uint8Array.of(...MAGIC, 1, 2, 3));
    chmodSync(path, 0o644);
    openCaptureFile(path);
    expect(statSync(path)).toMatchObject({ size: 0 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('everything else is refused, and stays as it is', () => {
    const other = join(directory, 'other.pcapng');
    writeFileSync(other, 'precious');
    const link = join(directory, 'link.pcapng');
    symlinkSync(join(directory, 'missing.pcapng'), link);
    mkdirSync(join(directory, 'folder.pcapng'));
    for (const [name, why] of [
      [other, /exists and is no capture/],
      [link, /symbolic link/],
      [join(directory, 'folder.pcapng'), /EISDIR|not a file/],
      [join(directory, 'a.conf'), /does not end in \.pcapng/],
      ['a.pcapng', /not absolute/],
      [join(directory, 'no/such/folder.pcapng'), /ENOENT/],
      ['/proc/a.pcapng', /ENOENT|EACCES|EPERM/],
    ] as const) {
      expect(() => openCaptureFile(name), name).toThrow(why);
      expect(() => assertCaptureFile(name), name).toThrow(why);
    }
    expect(readFileSync(other, 'utf8')).toBe('precious');
    expect(readdirSync(directory).sort()).toEqual(['folder.pcapng', 'link.pcapng', 'other.pcapng']);
  });

  test('can be asked about without being touched', () => {
    const path = join(directory, 'a.pcapng');
    assertCaptureFile(path);
    expect(readdirSync(directory)).toEqual([]);
    writeFileSync(path, Uint8Array.of(...MAGIC, 9));
    assertCaptureFile(path);
    expect(statSync(path).size).toBe(5);
  });
});

describe('rotation', () => {
  test('keeps the newest files, named as dumpcap names them', () => {
    const files = new OutputFiles(join(directory, 'ring.pcapng'), { bytes: 100, count: 2 }, NOW);
    expect([files.isFull(99), files.isFull(100)]).toEqual([false, true]);
    files.write(Uint8Array.of(1));
    files.rotate(NOW);
    files.write(Uint8Array.of(2, 2));
    files.rotate(NOW);
    files.write(Uint8Array.of(3, 3, 3));
    files.close();
    const names = readdirSync(directory).sort();
    expect(names).toEqual(['ring_00002_20260131235959.pcapng', 'ring_00003_20260131235959.pcapng']);
    expect(names.map((name) => statSync(join(directory, name)).size)).toEqual([2, 3]);
    expect(files.number).toBe(3);
  });

  test('without it the name is the name, and no file is ever full', () => {
    const files = new OutputFiles(join(directory, 'one.pcapng'), null, NOW);
    expect([files.name, files.isFull(1e15)]).toEqual([join(directory, 'one.pcapng'), false]);
    files.close();
  });
});

test('a hosts file gives names, loopback, comments and nonsense left out', () => {
  const text =
    '127.0.0.1 localhost\n# 10.0.0.1 no\n10.0.0.2 nas nas.example # storage\n::1 ip6-localhost\nfd00::5\tpi\nx y\n\n';
  expect(hostsNames(text)).toEqual([
    { address: Uint8Array.of(10, 0, 0, 2), name: 'nas' },
    { address: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5), name: 'pi' },
  ]);
});
