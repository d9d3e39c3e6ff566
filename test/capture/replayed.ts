/** Replays of the captures in captures/, as text. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import { Replay, type ReplayAction } from '../../src/capture/replay.ts';
import { summaryText, Trace } from '../../src/capture/replay-text.ts';
import { parseScript, type ScriptEvent } from '../../src/capture/script.ts';
import { LINK_NAMES } from '../../src/capture/sides.ts';
import { type Prefix, parsePrefix } from '../../src/wire/address.ts';

export const CAPTURES: string = join(import.meta.dirname, '../../captures');

export interface Listed {
  readonly name: string;
  readonly capture: string;
  readonly script?: string;
  readonly lan?: string;
}

/** Every capture without a script, then those of the manifest. */
export function listed(): Listed[] {
  const plain = ['shared', 'stories']
    .flatMap((folder) =>
      readdirSync(join(CAPTURES, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .sort()
    .map((capture) => ({ name: capture.replace(/^(shared|stories)\//, '').replaceAll('/', '-'), capture }));
  const { replays } = JSON.parse(readFileSync(join(CAPTURES, 'manifest.json'), 'utf8')) as {
    readonly replays: readonly Listed[];
  };
  return [...plain, ...replays];
}

export interface Copied extends Omit<ReplayAction, 'describe' | 'time'> {
  readonly line: string;
  readonly time: bigint;
}

export interface Replayed {
  readonly text: string;
  readonly actions: readonly Copied[];
  readonly replay: Replay;
}

export function replayFile(path: string, script: readonly ScriptEvent[] = [], lan: readonly Prefix[] = []): Replayed {
  const lines: string[] = [];
  const actions: Copied[] = [];
  const trace = new Trace((line) => lines.push(line));
  const replay = new Replay({
    script,
    lan,
    sink: {
      wants: 'all',
      passed: () => trace.passed(),
      packet: (action) => {
        trace.packet(action);
        const { kind, at, interface: where, direction, originalLength, comment } = action;
        const bytes = action.bytes.slice();
        const line = action.describe();
        const time = action.time();
        actions.push({
          kind,
          at,
          time,
          interface: where,
          direction,
          originalLength,
          comment,
          words: action.words,
          bytes,
          line,
        });
      },
      event: (at, message) => trace.event(at, message),
    },
  });
  replay.run(readCaptureFile(path));
  trace.flush();
  lines.push('', summaryText(replay, basename(path)), '');
  return { text: lines.join('\n'), actions, replay };
}

export function replayListed({ capture, script, lan }: Listed): Replayed {
  const events = script === undefined ? [] : parseScript(readFileSync(join(CAPTURES, script), 'utf8'), LINK_NAMES);
  return replayFile(join(CAPTURES, capture), events, lan === undefined ? [] : [parsePrefix(lan)!]);
}
