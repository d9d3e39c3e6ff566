import { describe, expect, test } from 'vitest';
import { ProgressLine } from '../../src/lab/demo-progress.ts';
import type { Progress } from '../../src/lab/story.ts';

const FLOWS = [{ mode: 'upload' }, { mode: 'download' }, { mode: 'echo' }] as const;

class Output {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 60;

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

function at(phase: Progress['phase'], seconds: number, ...megabytes: number[]): Progress {
  return { phase, at: 5e6 + seconds * 1e6, receivedBytes: megabytes.map((value) => value * 1e6) };
}

describe('away from a terminal', () => {
  test('a line per phase, and one every two seconds within it', () => {
    const output = new Output(false);
    const line = new ProgressLine(output, FLOWS);
    line.begin('plain routing');
    for (let step = 0; step <= 10; step++) line.update(at('warming up', step / 4, step, step / 2, 0));
    line.update(at('link lost', 2.75, 10, 5, 0));
    line.end();
    expect(output.text.split('\n')).toEqual([
      'plain routing: building the network',
      'plain routing: warming up   0.0 s  upload     -  download     - Mb/s',
      'plain routing: warming up   2.0 s  upload  32.0  download  16.0 Mb/s',
      'plain routing: link lost    0.0 s  upload   0.0  download   0.0 Mb/s',
      '',
    ]);
  });

  test('a transfer that was opened anew has no negative rate, and the next run starts from nothing', () => {
    const output = new Output(false);
    const line = new ProgressLine(output, FLOWS);
    line.begin('one');
    line.update(at('warming up', 0, 7, 7, 0));
    line.update(at('recovering', 1, 1, 8, 0));
    line.begin('two');
    line.update(at('warming up', 2, 9, 9, 0));
    expect(output.text).toContain('one: recovering   0.0 s  upload     -  download   8.0 Mb/s\n');
    expect(output.text).toMatch(/two: warming up {3}0\.0 s {2}upload {5}- {2}download {5}- Mb\/s\n$/);
  });
});

describe('on a terminal', () => {
  test('one line is rewritten, within the width of the terminal, and ended once', () => {
    const output = new Output(true);
    const line = new ProgressLine(output, FLOWS);
    line.begin('plain routing');
    line.update(at('warming up', 0, 0, 0, 0));
    line.update(at('warming up', 0.25, 1, 1, 0));
    expect(output.text).not.toContain('\n');
    const shown = output.text.split('\r').slice(1);
    expect(shown).toHaveLength(3);
    for (const one of shown) {
      expect(one.endsWith('\x1b[K')).toBe(true);
      expect(one.length - '\x1b[K'.length).toBeLessThan(output.columns);
    }
    line.end();
    line.end();
    expect(output.text.endsWith('\x1b[K\n')).toBe(true);
    expect(output.text.split('\n')).toHaveLength(2);
  });
});
