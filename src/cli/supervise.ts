/**
 * The supervisor: a process of its own that starts the gateway, watches its signs of life, and starts it anew when it dies or hangs. It
 * holds nothing, so there is nothing in it to hang.
 *
 * A gateway that is killed takes its TUN device along, and traffic flows through the kernel; a gateway that is stopped (SIGSTOP)
 * or whose main thread hangs keeps the device, and connections stall. So it is killed when it has been silent for SILENCE_MILLIS, and
 * the next one goes on with the journal. Under a service manager that watches by itself (NOTIFY_SOCKET) there is none.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { TcpfreezeError } from '../base/errors.ts';
import { Backoff } from '../datapath/backoff.ts';
import { waitedMillis } from '../datapath/watchdog.ts';
import { dieWithParent } from '../native/libc.ts';

/** Set in the environment of a supervised gateway. */
const MARK = 'TCPFREEZE_SUPERVISED';
/** A gateway gives a sign of life this often, and is dead when it has given none for so long. */
const SIGN_MILLIS = 250;
const SILENCE_MILLIS = 1_250;
/** The same, on a machine that leaves it no processor. */
const SILENCE_LONGEST_MILLIS = 15_000;

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** From the gateway: alive; or about to end, for a reason that another start would not change. */
type Sign = 'alive' | 'ending';

/** Whether this process should supervise, and not be the gateway itself. */
export function shouldSupervise(env: NodeJS.ProcessEnv = process.env): boolean {
  return env[MARK] === undefined && (env.NOTIFY_SOCKET ?? '') === '';
}

/** In the gateway: signs of life, from now on. Does nothing where nobody supervises. @returns to be called before the end */
export function giveSigns(): () => void {
  if (process.env[MARK] === undefined || process.send === undefined) return () => {};
  // A supervisor that dies leaves nobody who would end this process where it hangs.
  dieWithParent();
  const tell = (sign: Sign): void => void process.send?.(sign, undefined, undefined, () => {});
  tell('alive');
  const timer = setInterval(() => tell('alive'), SIGN_MILLIS);
  timer.unref();
  process.channel?.unref();
  return () => tell('ending');
}

/**
 * Runs `program` with `args` under supervision until it ends by itself or by a signal to this process.
 * @returns its exit code
 * @throws TcpfreezeError GATEWAY_DIED when it dies again and again
 */
export async function supervise(program: string, args: readonly string[]): Promise<number> {
  const backoff = new Backoff();
  let child: ChildProcess | undefined;
  let isStopping = false;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      isStopping ||= signal !== 'SIGHUP';
      child?.kill(signal);
    });
  }
  for (;;) {
    const since = Date.now();
    child = spawn(process.execPath, [...process.execArgv, program, ...args], {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, [MARK]: '1' },
      // Signals of a terminal reach this process, which passes them on: once, not twice.
      detached: true,
    });
    const { code, signal, wasAlive, isEnding } = await watch(child);
    if (code !== null && (isEnding || !wasAlive)) return code;
    // Before it could catch them, a gateway ends by these signals themselves, and has nothing to undo.
    if (isStopping) return code ?? (signal === 'SIGTERM' || signal === 'SIGINT' ? 0 : 1);
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    backoff.failed(since);
    if (backoff.isOver) throw new TcpfreezeError('GATEWAY_DIED', 'the gateway dies again and again', 'see the log');
    process.stderr.write(`tcpfreeze: the gateway ended ${how}; it is started again\n`);
    await backoff.wait();
    if (isStopping) return 0;
  }
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly wasAlive: boolean;
  readonly isEnding: boolean;
}

/** Kills a gateway that has fallen silent; settles when it is gone. */
function watch(child: ChildProcess): Promise<Ended> {
  let heardAt = 0;
  let isEnding = false;
  let lookedAt = performance.now();
  let waitedBefore = 0;
  const waited = (): number => waitedMillis(`${child.pid}`);
  child.on('message', (sign: Sign) => {
    heardAt = performance.now();
    waitedBefore = waited();
    isEnding ||= sign === 'ending';
  });
  const timer = setInterval(() => {
    const now = performance.now();
    // If this process was held up itself, it has not listened.
    if (now - lookedAt > 2 * SIGN_MILLIS && heardAt > 0) heardAt = now;
    lookedAt = now;
    const silence = now - heardAt;
    if (heardAt === 0 || isEnding || silence <= SILENCE_MILLIS) return;
    // One that is ready to run and waits for a processor does not hang.
    if (silence - (waited() - waitedBefore) <= SILENCE_MILLIS && silence < SILENCE_LONGEST_MILLIS) return;
    process.stderr.write(
      `tcpfreeze: the gateway gave no sign of life for ${(silence / 1_000).toFixed(1)} s; it is killed\n`,
    );
    child.kill('SIGKILL');
  }, SIGN_MILLIS);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearInterval(timer);
      resolve({ code, signal, wasAlive: heardAt > 0, isEnding });
    });
  });
}
