/** The journal's directory and file: permissions, one owner at a time, what is read back, and what is not. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FORMAT, FRAME_BYTES } from '../../src/freeze/record.ts';
import { bootId, JournalFile, readJournal } from '../../src/journal/file.ts';
import { sealFrames } from '../../src/journal/frames.ts';
import { Journal } from '../../src/journal/journal.ts';
import { keepJournal } from '../../src/journal/keeper.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-test-journal-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function frame(...body: number[]): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length, true);
  bytes.set(body, FRAME_BYTES);
  sealFrames(bytes);
  return bytes;
}

function header(fields: object): Uint8Array {
  return frame(0, ...new TextEncoder().encode(JSON.stringify(fields)));
}

const found = (): number[][] => readJournal(directory).records.map((record) => [...record]);

describe('the file', () => {
  test('what is appended is read back, until it is cleared or replaced', () => {
    const file = new JournalFile(directory);
    file.replace(frame(1, 2));
    file.append(frame(3));
    file.sync();
    expect(found()).toEqual([[1, 2], [3]]);
    file.clear();
    expect(found()).toEqual([]);
    file.append(frame(4));
    expect(found()).toEqual([[4]]);
    file.replace(frame(5));
    expect(found()).toEqual([[5]]);
    file.close();
    expect(readdirSync(directory)).toEqual(['custody']);
    expect(statSync(join(directory, 'custody')).mode & 0o777).toBe(0o600);
  });

  test('a torn end is left out, and said', () => {
    const file = new JournalFile(directory);
    file.replace(frame(1));
    file.append(frame(2, 2, 2).subarray(0, 10));
    file.close();
    expect(readJournal(directory)).toMatchObject({
      records: [expect.anything()],
      dropped: expect.stringMatching(/10 bytes/),
    });
  });

  test.each([
    ['of another boot', header({ format: FORMAT, boot: 'x' }), /earlier boot/],
    ['of another format', header({ format: FORMAT + 1, boot: bootId() }), /format/],
    ['without a header', frame(9, 9), /no journal/],
    ['of garbage', new Uint8Array(50).fill(7), /no journal/],
  ])('%s is not used', (_name, bytes, why) => {
    writeFileSync(join(directory, 'custody'), Buffer.concat([bytes, frame(1)]));
    const { records, dropped } = readJournal(directory);
    expect(records).toEqual([]);
    expect(dropped).toMatch(why);
  });

  test('none at all', () => {
    expect(readJournal(directory)).toEqual({ records: [], dropped: null });
  });
});

describe('the directory', () => {
  test('is made, closed to others, and belongs to one gateway', () => {
    const path = join(directory, 'a/b');
    const journal = Journal.open(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(() => Journal.open(path)).toThrow(/another gateway keeps its journal/);
    journal.close();
    Journal.open(path).close();
    chmodSync(path, 0o755);
    Journal.open(path).close();
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  test('that cannot be made: custody is off, with a word about it', async () => {
    writeFileSync(join(directory, 'file'), '');
    const warnings: string[] = [];
    const { journal } = await keepJournal(join(directory, 'file/journal'), (message) => warnings.push(message));
    expect(journal).toMatch(/cannot be kept in .*ENOTDIR/);
    expect(warnings).toEqual([expect.stringMatching(/nothing will be taken into custody: .*journal: off/)]);
    expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('');
  });

  test('off is off', async () => {
    expect((await keepJournal(null, () => {})).journal).toBeUndefined();
  });
});
