/**
 * Every capture in captures/ through the engine, against the text that was reviewed. After an intended change of behaviour:
 * UPDATE_EXPECTED=1 npx vitest run --project core test/capture/expected.test.ts, then read the difference.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { verifyChecksums } from '../../src/wire/rewrite.ts';
import { CAPTURES, listed, replayListed } from './replayed.ts';

const FOLDER = join(CAPTURES, 'expected');
const isUpdate = process.env.UPDATE_EXPECTED === '1';

describe('replays', () => {
  test.each(listed().map((one) => [one.name, one] as const))('%s', (name, one) => {
    const { text, actions, replay } = replayListed(one);
    const path = join(FOLDER, `${name}.txt`);
    if (isUpdate) {
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(path, text);
    }
    expect(text).toBe(existsSync(path) ? readFileSync(path, 'utf8') : '(no expected output)');

    const { packets } = replay.record;
    // Nothing disappears: every packet has exactly one fate.
    const { read, notIp, tooLarge, forwarded, changed, held, dropped, lost, made } = packets;
    expect(notIp + tooLarge + forwarded + changed + held + dropped + lost).toBe(read);
    expect(actions.length).toBe(forwarded + changed + held + dropped + made);
    if (one.script === undefined) expect([changed, held, dropped, made, lost]).toEqual([0, 0, 0, 0, 0]);
    for (const action of actions) {
      expect(action.comment === null).toBe(action.kind === 'forwarded');
      if (action.kind !== 'made') continue;
      const packet = new Packet();
      packet.attach(action.bytes.buffer as ArrayBuffer);
      if (packet.parse(0, action.bytes.length, 0) === KIND_TCP) expect(verifyChecksums(packet), action.line).toBe(true);
    }
  });

  test('each expected output has its replay', () => {
    const names = new Set(listed().map(({ name }) => `${name}.txt`));
    expect(readdirSync(FOLDER).filter((name) => !names.has(name))).toEqual([]);
  });
});
