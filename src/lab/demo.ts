/**
 * The demo as the command line starts it: checks the machine, runs the demo proper (demo-program.ts) in namespaces of its
 * own, and sees to it that the demo ends with this process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseIsolation, startIsolated } from './demo-isolation.ts';
import type { DemoArguments } from './demo-program.ts';

export interface DemoOptions {
  /** Length of the outage, seconds. */
  readonly outage: number;
  /** One JSON document on standard output instead of table and plot; progress goes to standard error in any case. */
  readonly json: boolean;
}

/** The demo takes its network down within this time when told to end; then it is killed. */
const END_MILLIS = 5_000;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Runs the demo.
 * @returns the exit code: 0 done; 1 failed, with one line on standard error; 128 and the signal's number when interrupted
 * @throws TcpfreezeError as chooseIsolation
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const isolation = await chooseIsolation();
  const argument: DemoArguments = { ...options, ownNetwork: isolation.ownNetwork };
  const child = startIsolated(isolation, 'lab/demo-program.js', JSON.stringify(argument));
  const ended = new Promise<number>((resolve) => {
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  });
  const interrupted = new Promise<number>((resolve) => {
    for (const [name, number] of Object.entries(SIGNALS)) process.on(name, () => resolve(128 + number));
  });
  const code = await Promise.race([ended, interrupted]);
  // `unshare` does not hand signals on: the end of the channel tells the program inside.
  if (child.connected) child.disconnect();
  const killed = sleep(END_MILLIS, undefined, { ref: false }).then(() => child.kill('SIGKILL'));
  await Promise.race([ended, killed]);
  return code;
}
