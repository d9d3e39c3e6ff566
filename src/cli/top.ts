/**
 * `tcpfreeze top`: the terminal's side of it. On a terminal it takes the alternate screen and gives it back however it ends; lines
 * that are too long are cut by the terminal itself (autowrap is off), which knows best how wide its characters are. Elsewhere
 * it prints the same as plain text.
 */
import { emitKeypressEvents } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';
import { TcpfreezeError } from '../base/errors.ts';
import type { FlowJson, StatusJson } from '../control/api.ts';
import { ControlClient } from '../control/client.ts';
import type { EventJson } from '../control/history.ts';
import { controlPath } from '../control/socket.ts';
import {
  type Line,
  onKey,
  type Size,
  shownFlows,
  TOP_START,
  type TopData,
  type TopState,
  topLines,
} from './top-view.ts';

export interface TopFlags {
  readonly control?: string;
  /** Seconds. */
  readonly interval?: number;
  /** Refreshes after which it ends. */
  readonly count?: number;
}

/** With more flows than this only the held ones are asked for: the list is made by the thread that carries the packets. */
const FLOWS_MAX = 2_000;
const EVENTS_KEPT = 200;
/** How long it waits for a gateway that is gone. */
const RETRY_MILLIS = 1_000;

const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const STYLES = { head: '\x1b[1m', bad: '\x1b[31m', good: '\x1b[32m', dim: '\x1b[2m' } as const;
const PLAIN = '\x1b[0m';

/** Looks at the gateway: asks it at each refresh, and follows its events. */
class Observer {
  readonly #client: ControlClient;
  readonly events: EventJson[] = [];
  #before: { readonly status: StatusJson; readonly at: number } | null = null;
  #ended = false;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  /** @throws TcpfreezeError when there is no gateway */
  async look(): Promise<TopData> {
    const status = await this.#client.status();
    const heldOnly = status.flows.total > FLOWS_MAX;
    const flows: FlowJson[] = await this.#client.flows(heldOnly);
    const at = performance.now();
    const rates = this.#before === null ? null : ratesOf(this.#before.status, status, (at - this.#before.at) / 1_000);
    this.#before = { status, at };
    return { status, flows, heldOnly, events: this.events, rates, problem: null, now: Date.now() };
  }

  /** Collects events until `end`, through restarts of the gateway. */
  async follow(): Promise<void> {
    while (!this.#ended) {
      this.events.length = 0;
      try {
        for await (const event of this.#client.events(true)) {
          if (this.#ended) return;
          this.events.push(event);
          if (this.events.length > EVENTS_KEPT) this.events.shift();
        }
      } catch {
        // `look` says why.
      }
      if (!this.#ended) await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS).unref());
    }
  }

  /** Events so far, once. */
  async readEvents(): Promise<void> {
    for await (const event of this.#client.events(false)) {
      this.events.push(event);
      if (this.events.length > EVENTS_KEPT) this.events.shift();
    }
  }

  end(): void {
    this.#ended = true;
  }
}

function ratesOf(before: StatusJson, after: StatusJson, elapsed: number): Record<string, number> | null {
  if (elapsed <= 0) return null;
  return Object.fromEntries(
    Object.entries(after.counters).map(([name, value]) => [
      name,
      // A restarted datapath counts from zero.
      Math.max(0, value - (before.counters[name] ?? 0)) / elapsed,
    ]),
  );
}

export async function top(flags: TopFlags): Promise<void> {
  const observer = new Observer(new ControlClient(controlPath(flags.control)));
  // A gateway that is not there at the start is an error; one that goes away later is waited for.
  const first = await observer.look();
  const state = { ...TOP_START, interval: flags.interval ?? TOP_START.interval };
  if (process.stdout.isTTY && process.stdin.isTTY) await onTerminal(observer, first, state, flags.count);
  else await asText(observer, first, state, flags.count ?? 1);
  observer.end();
}

async function asText(observer: Observer, first: TopData, state: TopState, count: number): Promise<void> {
  let data = first;
  for (let i = 1; ; i++) {
    observer.events.length = 0;
    await observer.readEvents();
    const lines = topLines({ ...data, events: observer.events }, state, null);
    process.stdout.write(`${lines.map(({ text }) => text.trimEnd()).join('\n')}\n`);
    if (i >= count) return;
    await new Promise((resolve) => setTimeout(resolve, state.interval * 1_000));
    process.stdout.write('\n');
    data = await observer.look();
  }
}

/** The screen, from ENTER to LEAVE. */
class Screen {
  readonly #coloured = process.env.NO_COLOR === undefined || process.env.NO_COLOR === '';
  #isOpen = false;

  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    process.stdin.setRawMode(true);
    process.stdout.write(ENTER);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.stdin.setRawMode(false);
    process.stdout.write(LEAVE);
  }

  get size(): Size {
    return { columns: process.stdout.columns, rows: process.stdout.rows };
  }

  draw(lines: readonly Line[]): void {
    if (!this.#isOpen) return;
    const text = lines.map(({ text, style }) => {
      // Names and messages come from elsewhere: nothing in them may steer the terminal.
      const clean = stripVTControlCharacters(text).replace(/\p{Cc}/gu, '');
      return `${style === undefined || !this.#coloured ? clean : `${STYLES[style]}${clean}${PLAIN}`}\x1b[K`;
    });
    process.stdout.write(`\x1b[H${text.join('\r\n')}\x1b[J`);
  }
}

async function onTerminal(observer: Observer, first: TopData, start: TopState, count?: number): Promise<void> {
  const screen = new Screen();
  const leave = (): void => screen.close();
  process.once('exit', leave);
  let state = start;
  let data = first;
  let shown = 0;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => screen.draw(topLines({ ...data, now: Date.now() }, state, screen.size));
  await new Promise<void>((resolve) => {
    let isOver = false;
    const end = (): void => {
      isOver = true;
      clearTimeout(timer);
      resolve();
    };
    const refresh = async (): Promise<void> => {
      if (!state.isPaused) {
        data = await observer.look().catch((error: unknown) => withoutStatus(observer, error));
        shown++;
      }
      if (isOver) return;
      draw();
      if (count !== undefined && shown >= count) end();
      else timer = setTimeout(refresh, state.interval * 1_000);
    };
    process.once('SIGTERM', end);
    process.once('SIGHUP', end);
    process.stdout.on('resize', draw);
    process.on('SIGCONT', () => {
      screen.open();
      draw();
    });
    emitKeypressEvents(process.stdin);
    process.stdin.on('keypress', (typed: string | undefined, key: { name?: string; ctrl?: boolean }) => {
      if (key.ctrl === true && key.name === 'z') {
        screen.close();
        process.kill(process.pid, 'SIGTSTP');
        return;
      }
      const name = key.ctrl === true ? `ctrl-${key.name}` : (plainKey(typed) ?? key.name ?? '');
      const next = onKey(state, name, Math.max(1, screen.size.rows - 15));
      if (next === 'quit') end();
      else {
        // Scrolling ends at the last flow.
        state = { ...next, offset: Math.min(next.offset, Math.max(0, shownFlows(data.flows, next).length - 1)) };
        draw();
      }
    });
    screen.open();
    process.stdin.resume();
    void observer.follow();
    void refresh();
  });
  screen.close();
  process.off('exit', leave);
  process.stdin.pause();
  // The connection that follows the events would keep the process alive.
  setImmediate(() => process.exit(0));
}

/** A character that stands for itself. */
function plainKey(typed: string | undefined): string | undefined {
  return typed !== undefined && /^[\x21-\x7e]$/.test(typed) ? typed : undefined;
}

function withoutStatus(observer: Observer, error: unknown): TopData {
  const problem = error instanceof TcpfreezeError ? error.line() : String(error);
  return { status: null, flows: [], heldOnly: false, events: observer.events, rates: null, problem, now: Date.now() };
}
