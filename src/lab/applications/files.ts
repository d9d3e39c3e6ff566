/** Files that transfers carry, and their comparison. */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataSource } from '../payload.ts';

/** Writes a file that no compression makes smaller. */
export function writeRandom(path: string, seed: number, bytes: number): void {
  const source = new DataSource(seed, bytes);
  const pieces: Buffer[] = [];
  for (let piece = source.next(); piece !== undefined; piece = source.next()) pieces.push(Buffer.from(piece));
  writeFileSync(path, Buffer.concat(pieces));
}

/** A directory of `count` files, `bytes` in all. */
export function writeTree(path: string, seed: number, count: number, bytes: number): void {
  mkdirSync(path);
  for (let i = 0; i < count; i++) writeRandom(join(path, `file-${i}`), seed + i, Math.ceil(bytes / count));
}

/** Names and SHA-256 of all files below a directory, one per line, sorted; directories called `.git` are left out. */
export function listing(path: string): string {
  return files(path)
    .sort()
    .map(
      (file) =>
        `${file} ${createHash('sha256')
          .update(readFileSync(join(path, file)))
          .digest('hex')}`,
    )
    .join('\n');
}

/** Bytes below a directory now; 0 while it does not exist. Files may come and go meanwhile. */
export function bytesBelow(path: string): number {
  let sum = 0;
  try {
    for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
      sum += stat?.size ?? 0;
    }
  } catch {
    // Not there yet, or a directory that has just been renamed.
  }
  return sum;
}

function files(path: string, below = ''): string[] {
  return readdirSync(join(path, below), { withFileTypes: true }).flatMap((entry) => {
    const name = join(below, entry.name);
    if (entry.isDirectory()) return entry.name === '.git' ? [] : files(path, name);
    return [name];
  });
}
