/**
 * Keeps the gateway's nftables table in the kernel for as long as the gateway lives, and not a moment longer.
 *
 * A table with `flags owner` (Linux 5.12) belongs to the netlink socket that made it and vanishes with it. So it is
 * made by an `nft -i` that is kept running and reads commands from a pipe: when this process dies, by kill -9 too, the
 * pipe closes, that nft ends, and the kernel removes the table. Otherwise `notrack` would outlive the TUN and traffic
 * would pass untranslated. It must not go before the TUN either (keeper.ts). Where the kernel or nft cannot do this, a plain table is used, whose interface set empties
 * itself unless refreshed: fail-open all the same, a few seconds later.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { TcpfreezeError } from '../base/errors.ts';
import { firstLine, missingProgram, run } from './command.ts';
import { TableKeeper } from './keeper.ts';
import { addTable, deleteTable, markLost, type RulesetOptions, refreshLan } from './ruleset.ts';

/** Longest wait for one answer of nft. */
const ANSWER_MILLIS = 10_000;

/**
 * Starts nft deaf to SIGTERM. A service manager that ends the gateway sends it to all its processes at once (systemd.kill(5), KillMode), and
 * the table must not go before the gateway has taken its rules down.
 */
const NFT_SCRIPT = "trap '' TERM; exec nft -i";

/** Plain tables: elements live this long, and are refreshed three times as often. */
const PLAIN_TIMEOUT_SECONDS = 12;
const PLAIN_REFRESH_MILLIS = 4_000;

/** The table, once it is in the kernel. */
export interface NftTable {
  readonly kind: 'owner' | 'plain';
  /** Why it is a plain one. */
  readonly reason: string | null;
  /** Suppresses resets towards a WAN interface: `seconds` long, or until told otherwise. */
  markLost(name: string, seconds?: number): Promise<void>;
  /** Takes the table away; does nothing when it is gone already. */
  remove(): Promise<void>;
  /** Called once when the table vanished without `remove`. */
  onVanished(listener: (why: string) => void): void;
}

/**
 * Puts the table into the kernel.
 * @throws TcpfreezeError when neither way works; then nothing is left behind.
 */
export async function createNftTable(options: RulesetOptions): Promise<NftTable> {
  const session = await NftSession.start(options.tun);
  try {
    await session.command(addTable(options, 'owner'));
    return new OwnedTable(session);
  } catch (error) {
    await session.end();
    if (error instanceof TcpfreezeError && error.code === 'PROGRAM_MISSING') throw error;
    // A refusal for another reason than ownership is met again here, and reported from here.
    await run('nft', ['-f', '-'], `${addTable(options, 'plain', PLAIN_TIMEOUT_SECONDS)}\n`);
    return new PlainTable(options.lan, error instanceof Error ? error.message : String(error));
  }
}

class OwnedTable implements NftTable {
  readonly kind = 'owner';
  readonly reason = null;
  readonly #session: NftSession;

  constructor(session: NftSession) {
    this.#session = session;
  }

  async markLost(name: string, seconds?: number): Promise<void> {
    await this.#session.command(markLost(name, seconds));
  }

  async remove(): Promise<void> {
    await this.#session.end();
  }

  onVanished(listener: (why: string) => void): void {
    this.#session.onEnded(listener);
  }
}

class PlainTable implements NftTable {
  readonly kind = 'plain';
  readonly reason: string;
  readonly #lan: readonly string[];
  readonly #lost = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #listener: ((why: string) => void) | undefined;
  #removed = false;

  constructor(lan: readonly string[], reason: string) {
    this.#lan = lan;
    this.reason = reason;
    this.#timer = setInterval(() => void this.#refresh(), PLAIN_REFRESH_MILLIS);
  }

  async markLost(name: string, seconds?: number): Promise<void> {
    if (seconds === undefined) this.#lost.add(name);
    else this.#lost.delete(name);
    await run('nft', ['-f', '-'], `${markLost(name, seconds ?? PLAIN_TIMEOUT_SECONDS)}\n`);
  }

  async remove(): Promise<void> {
    this.#removed = true;
    clearInterval(this.#timer);
    await run('nft', ['-f', '-'], `add table inet tcpfreeze\n${deleteTable()}\n`);
  }

  onVanished(listener: (why: string) => void): void {
    this.#listener = listener;
  }

  async #refresh(): Promise<void> {
    const lines = [...this.#lost].map((name) => markLost(name, PLAIN_TIMEOUT_SECONDS));
    if (this.#lan.length > 0) lines.push(refreshLan(this.#lan, PLAIN_TIMEOUT_SECONDS));
    if (lines.length === 0) return;
    try {
      await run('nft', ['-f', '-'], `${lines.join('\n')}\n`);
    } catch (error) {
      if (this.#removed) return;
      this.#removed = true;
      clearInterval(this.#timer);
      this.#listener?.(error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * An interactive nft. It answers nothing on success, so after each command it is asked for a table that cannot exist:
 * the complaint about that name on its standard error marks the end of what it had to say about the command.
 */
class NftSession {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #keeper: TableKeeper | undefined;
  #said = '';
  #sequence = 0;
  #waiting: { readonly marker: string; readonly done: (error?: Error) => void } | undefined;
  #queue: Promise<void> = Promise.resolve();
  #endedWhy: string | undefined;
  #endWanted = false;
  #listener: ((why: string) => void) | undefined;

  /** @param tun the interface that has to be gone before the table, when the gateway is killed */
  static async start(tun: string): Promise<NftSession> {
    const child = spawn('sh', ['-c', NFT_SCRIPT], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', HOME: '/nonexistent' },
      // Its own process group: Ctrl-C in a terminal must reach the gateway alone, which takes the rules down in order.
      detached: true,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'ENOENT' ? missingProgram('sh', error) : notStarted(error)),
      );
    });
    return new NftSession(child, tun);
  }

  private constructor(child: ChildProcess, tun: string) {
    this.#child = child;
    child.stdin?.on('error', () => {});
    if (child.stdin) this.#keeper = new TableKeeper(child.stdin, tun);
    child.stderr?.setEncoding('utf8');
    child.stderr?.on('data', (text: string) => this.#hear(text));
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#endedWhy = `nft ended (${signal ?? `exit ${code}`})${this.#said === '' ? '' : `: ${firstLine(this.#said)}`}`;
        this.#waiting?.done(new TcpfreezeError('NFT_ENDED', this.#endedWhy, ''));
        this.#keeper?.release();
        if (!this.#endWanted) this.#listener?.(this.#endedWhy);
        resolve();
      });
    });
    // The child must not keep the gateway from ending; its pipe closes with us.
    child.unref();
  }

  /** Runs one line; lines are run one after another. */
  command(line: string): Promise<void> {
    const result = this.#queue.then(() => this.#run(line));
    this.#queue = result.catch(() => {});
    return result;
  }

  /** Ends nft, and with it the table. */
  async end(): Promise<void> {
    this.#endWanted = true;
    this.#child.ref();
    this.#keeper?.release();
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), ANSWER_MILLIS);
    await this.#ended;
    clearTimeout(timer);
  }

  onEnded(listener: (why: string) => void): void {
    this.#listener = listener;
    if (this.#endedWhy !== undefined && !this.#endWanted) listener(this.#endedWhy);
  }

  #run(line: string): Promise<void> {
    if (this.#endedWhy !== undefined) return Promise.reject(new TcpfreezeError('NFT_ENDED', this.#endedWhy, ''));
    this.#sequence += 1;
    const marker = `tcpfreeze-answer-${this.#sequence}-`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting?.done(new TcpfreezeError('PROGRAM_FAILED', 'nft does not answer', 'see: nft list ruleset'));
      }, ANSWER_MILLIS);
      this.#waiting = {
        marker,
        done: (error) => {
          clearTimeout(timer);
          this.#waiting = undefined;
          this.#said = '';
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#child.stdin?.write(`${line}\nlist table inet ${marker}\n`);
    });
  }

  #hear(text: string): void {
    this.#said += text;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    // "Error: No such file or directory\nlist table inet MARKER\n ^^^^": what stands before its "Error" line counts.
    const end = this.#said.indexOf(`list table inet ${waiting.marker}`);
    if (end < 0) return;
    const before = this.#said.slice(0, this.#said.lastIndexOf('Error', end));
    const complaint = before.split('\n').find((line) => line.includes('Error: ')) ?? '';
    waiting.done(complaint === '' ? undefined : refused(complaint));
  }
}

function refused(complaint: string): TcpfreezeError {
  const remedy = complaint.includes('not permitted')
    ? 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW'
    : 'see what the machine lacks with: tcpfreeze doctor';
  return new TcpfreezeError('PROGRAM_FAILED', `nft failed: ${firstLine(complaint)}`, remedy);
}

function notStarted(error: NodeJS.ErrnoException): TcpfreezeError {
  return new TcpfreezeError('PROGRAM_FAILED', `nft cannot be executed: ${error.code}`, 'check its file mode', 1, error);
}
