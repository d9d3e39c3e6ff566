/** `tcpfreeze demo`: the same transfers through an outage, without and with the gateway, on this machine alone. */
import { InvalidArgumentError } from 'commander';
import { type DemoOptions, runDemo } from '../lab/demo.ts';

/** Long enough that a sender notices; short enough that somebody waits for it. */
const SHORTEST_SECONDS = 1;
const LONGEST_SECONDS = 300;

/** Seconds, as a number. */
export function outageOption(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= SHORTEST_SECONDS && value <= LONGEST_SECONDS) return value;
  throw new InvalidArgumentError(`It must be ${SHORTEST_SECONDS} to ${LONGEST_SECONDS} seconds.`);
}

/** Exit code 0, or 1 with the reason on standard error, or 128 and a signal's number. @throws TcpfreezeError */
export async function demo(flags: { readonly outage: number; readonly json?: boolean }): Promise<void> {
  const options: DemoOptions = { outage: flags.outage, json: flags.json === true };
  process.exitCode = await runDemo(options);
}
