/**
 * `tcpfreeze top` in a real terminal: tmux holds it, types, and reads the screen back. The gateway behind the socket is the real
 * control server with made-up figures, so that what has to be on the screen is known.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Captures } from '../../src/capture/captures.ts';
import type { FlowJson, StatusJson } from '../../src/control/api.ts';
import { ControlServer, type ControlTarget } from '../../src/control/control.ts';
import { EventHistory, toEventJson } from '../../src/control/history.ts';
import { NO_LIMIT, sampleStatus } from '../control/samples.ts';

const run = promisify(execFile);
const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
const WAIT_MILLIS = 10_000;

function hasTmux(): boolean {
  try {
    execFileSync('tmux', ['-V']);
    return true;
  } catch {
    console.warn('terminal tests skipped: they need tmux (apt-get install tmux)');
    return false;
  }
}

const PHASES = { opening: 0, flowing: 30, frozen: 30, handback: 0, closing: 0, bypass: 0 };

class Target implements ControlTarget {
  readonly history = new EventHistory();
  readonly captures = new Captures({ version: '1', links: [], tun: 'tun0', now: () => 0 }, () => {});
  readonly metrics = { contentType: 'text/plain', text: () => Promise.resolve('') };
  lost = true;

  status(): Promise<StatusJson> {
    const state = this.lost ? 'lost' : 'up';
    const reason = this.lost ? 'no carrier' : 'operational';
    const status = sampleStatus({
      version: '9.9.9',
      uptime: 61,
      tun: 'tun9',
      links: [
        {
          name: 'wan0',
          role: 'wan',
          state,
          since: new Date().toISOString(),
          reason,
          evidence: this.lost ? [reason] : [],
        },
      ],
      flows: { total: 60, ...PHASES },
      classes: { normal: PHASES },
      custodyBytes: 123_456,
      counters: { packets: 1 },
    });
    return Promise.resolve(status);
  }

  flows(): Promise<FlowJson[]> {
    return Promise.resolve(
      Array.from({ length: 60 }, (_, i) => ({
        id: `${i}.1`,
        family: 4,
        originator: `10.0.0.${i}:5000`,
        responder: '192.0.2.1:443',
        phase: i % 2 === 0 ? 'frozen' : 'flowing',
        near: i % 2 === 0 ? 'originator' : null,
        frozenSince: i % 2 === 0 ? new Date(Date.now() - 1_000).toISOString() : null,
        custodyBytes: i % 2 === 0 ? i : 0,
        class: 'normal',
        ...NO_LIMIT,
        bypassReason: null,
        windowScales: [7, null],
      })),
    );
  }

  async reload(): Promise<{ flows: number; message: string }> {
    return { flows: 0, message: '' };
  }

  act(): Promise<{ flows: number; message: string }> {
    return Promise.resolve({ flows: 0, message: '' });
  }
}

/** One tmux server of its own, by a socket of its own. */
class Terminal {
  readonly #socket: string;

  constructor(directory: string) {
    this.#socket = join(directory, 'tmux.sock');
  }

  async start(command: string): Promise<void> {
    await this.#tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-x',
      '110',
      '-y',
      '30',
      `${command}; echo "ended $?"; read _`,
    );
  }

  async type(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  async screen(): Promise<string[]> {
    return (await this.#tmux('capture-pane', '-p')).replace(/\n$/, '').split('\n');
  }

  /** Waits until the screen is as wanted; fails with the screen as it is. */
  async until(isThere: (lines: readonly string[]) => boolean): Promise<string[]> {
    const deadline = performance.now() + WAIT_MILLIS;
    for (;;) {
      const lines = await this.screen();
      if (isThere(lines)) return lines;
      if (performance.now() > deadline) throw new Error(`the screen never became as expected:\n${lines.join('\n')}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async end(): Promise<void> {
    await this.#tmux('kill-server').catch(() => '');
  }

  async #tmux(...args: string[]): Promise<string> {
    return (await run('tmux', ['-S', this.#socket, ...args])).stdout;
  }
}

describe.skipIf(!hasTmux())('top', () => {
  let directory: string;
  let control: string;
  let target: Target;
  let server: ControlServer;
  let terminal: Terminal;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-top-'));
    control = join(directory, 'control.sock');
    target = new Target();
    server = await ControlServer.listen(control, target);
    terminal = new Terminal(directory);
  });

  afterEach(async () => {
    await terminal.end();
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const command = (...args: string[]): string =>
    [process.execPath, CLI, 'top', '--control', control, ...args].join(' ');
  const has = (words: string | RegExp) => (lines: readonly string[]) =>
    lines.some((line) => (typeof words === 'string' ? line.includes(words) : words.test(line)));

  test('shows, refreshes, sorts, filters, scrolls, fits the window, and leaves the terminal as it was', async () => {
    await terminal.start(command('--interval', '200ms'));
    let lines = await terminal.until(has('LOST'));
    expect(lines).toHaveLength(30);
    expect(lines[0]).toMatch(/^tcpfreeze 9\.9\.9 {2}up 1m 1s {2}device tun9/);
    expect(lines.at(-1)).toMatch(/^q: quit {2}s: sort \(custody\)/);
    expect(lines.find((line) => /^\d+\.1 /.test(line))).toMatch(/^58\.1 /);
    // What happens shows up by itself.
    target.lost = false;
    target.history.record(toEventJson({ name: 'link-restored', message: 'link wan0 restored' }, new Date()));
    await terminal.until(has('link wan0 restored'));
    await terminal.until(has(/^wan0 +wan +up/));
    await terminal.type('s', 's', 's');
    lines = await terminal.until(has('sort (originator)'));
    expect(lines.find((line) => /^\d+\.1 /.test(line))).toMatch(/^0\.1 /);
    await terminal.type('f');
    await terminal.until(has(/^30 flows/));
    await terminal.type('Down', 'Down');
    await terminal.until((now) => now.find((line) => /^\d+\.1 /.test(line))?.startsWith('4.1 ') === true);
    await terminal.type('/');
    await terminal.type('-l', '10.0.0.8:');
    await terminal.type('Enter');
    lines = await terminal.until(has(/^1 flows/));
    expect(lines.filter((line) => /^\d+\.1 /.test(line))).toHaveLength(1);
    await terminal.resize(50, 20);
    lines = await terminal.until((now) => now.length === 20 && now.at(-1)?.startsWith('q: quit') === true);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(50);
    await terminal.type('q');
    lines = await terminal.until(has('ended 0'));
    expect(lines.some((line) => line.includes('tcpfreeze'))).toBe(false);
  });

  test('a gateway that goes away is said, and shown again when it is back', async () => {
    await terminal.start(command('--interval', '200ms'));
    await terminal.until(has('LOST'));
    await server.close();
    await terminal.until(has('no gateway is running'));
    server = await ControlServer.listen(control, target);
    await terminal.until(has('LOST'));
    await terminal.type('C-c');
    await terminal.until(has('ended 0'));
  });

  test('away from a terminal it is plain text, once', async () => {
    target.history.record(toEventJson({ name: 'link-lost', message: 'link wan0 lost' }, new Date()));
    const { stdout } = await run(process.execPath, [CLI, 'top', '--control', control]);
    expect(stdout).toMatch(/^tcpfreeze 9\.9\.9/);
    expect(stdout).toContain('link wan0 lost');
    expect(stdout.split('\n').filter((line) => /^\d+\.1 /.test(line))).toHaveLength(60);
    expect(/[^\n\x20-\x7e]/.test(stdout)).toBe(false);
    const twice = await run(process.execPath, [CLI, 'top', '--control', control, '--count', '2', '--interval', '10ms']);
    expect(twice.stdout.match(/^tcpfreeze 9/gm)).toHaveLength(2);
  });

  test('without a gateway it is an error, as with every other command', async () => {
    const missing = join(directory, 'none.sock');
    const failure = await run(process.execPath, [CLI, 'top', '--control', missing]).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 1, stderr: expect.stringMatching(/^tcpfreeze: no gateway is running/) });
  });
});
