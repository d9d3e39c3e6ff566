/** What the stories are held to: soundness always, times within three attempts. */
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { describeStory } from '../../src/lab/report.ts';
import { type FlowResult, runStory, type StoryOptions, type StoryResult } from '../../src/lab/scenario.ts';
import { Turns } from '../../src/lab/turns.ts';

/** Round-trip time of the lab's standard link; all goals are multiples of it. */
export const RTT_MILLIS = 40;

/**
 * Warm-up by congestion control, milliseconds. BBR drains the wire to measure the round trip when 10 s have brought no shorter one: the
 * first time that is just when it has settled after its start. The cut comes in the calm after it.
 */
export const WARM_MILLIS = { cubic: 3000, bbr: 11_500 } as const;

export const storiesPossible = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!storiesPossible) console.warn('end-to-end stories skipped: they need root and /dev/net/tun');

/** A machine that is busy with something else makes a story late, never wrong. */
const ATTEMPTS = 3;

export interface Telling {
  readonly name: string;
  readonly play: () => Promise<StoryResult>;
  /** Throws where bytes, connections or configuration are not as they must be: such a story is not repeated. */
  readonly sound?: (result: StoryResult) => void;
  /** What was not reached, one line each: such a story is repeated. */
  readonly missed: (result: StoryResult) => string[];
}

/** Tells a story until its goals are met, three times at most, and prints one line for each attempt. */
export async function tell({ name, play, sound = expectSound, missed }: Telling): Promise<StoryResult> {
  for (let attempt = 1; ; attempt++) {
    const result = await play();
    const misses = missed(result);
    const which = attempt === 1 ? '' : ` (attempt ${attempt} of ${ATTEMPTS})`;
    print(`${name}, gateway${which}: ${describeStory(result)}${misses.map((miss) => `; MISSED ${miss}`).join('')}`);
    sound(result);
    if (misses.length === 0) return result;
    if (attempt === ATTEMPTS) expect(misses, `${name}, attempt ${attempt}`).toEqual([]);
  }
}

/** Prints the plain run of a story. */
export function printPlain(name: string, result: StoryResult): void {
  print(`${name}, plain:   ${describeStory(result)}`);
}

/**
 * A story and its plain run, side by side: what the plain one waits for, the other does not notice. They take turns for all that is
 * measured of the gateway, so the plain run's outage may be longer.
 * @param check what the plain run must show
 */
export async function tellBoth(
  telling: Omit<Telling, 'play'>,
  gateway: StoryOptions,
  plain: StoryOptions,
  check: (result: StoryResult) => void = () => {},
): Promise<StoryResult> {
  const turns = new Turns();
  const [told] = await Promise.all([
    tell({ ...telling, play: () => runStory({ ...gateway, gateway: true, turns }) }),
    runStory({ ...plain, turns }).then((result) => {
      printPlain(telling.name, result);
      check(result);
    }),
  ]);
  return told;
}

/** One line, past the test runner's grouping, so that the tables of a run stand together in its log. */
export function print(line: string): void {
  process.stdout.write(`  ${line}\n`);
}

/** Whatever happened to the link: every byte is there, nobody was reset, and the gateway leaves no trace. */
export function expectSound(result: StoryResult): void {
  expect(result.flows.filter((flow) => !flow.intact).map(describeEnds)).toEqual([]);
  expect(result.resets).toEqual({ host: 0, gateway: 0, server: 0 });
  expect(result.findings ?? []).toEqual([]);
  expectSigns(result);
  expect(result.residue ?? []).toEqual([]);
  if (result.status !== undefined) {
    expect(result.status.flows).toMatchObject({ frozen: 0, handback: 0 });
    expect(result.status.custodyBytes).toBe(0);
  }
}

/**
 * tshark sees the zero windows that the gateway says it has sent, on the surviving side, and no others: no endpoint shuts its window in
 * these stories. (A planned freeze shuts the window of passing acknowledgements on both sides.)
 */
function expectSigns({ signs, counters, gatewayLog }: StoryResult): void {
  if (signs === undefined || counters === undefined) return;
  const of = (name: string): number => counters[name] ?? 0;
  const shut = signs.lan.zeroWindow + signs.wan.zeroWindow;
  const told = of('zeroWindowAcks') + of('custodyAcks');
  const answers = of('probesAnswered') + of('refreshes');
  if (told > 0) expect(shut).toBeGreaterThan(0);
  // While a planned freeze drains, the ends probe each other over a link that still works.
  if (gatewayLog.some((line) => line.includes('freeze-planned'))) return;
  expect(signs.lan.keepAliveAck + signs.wan.keepAliveAck).toBeLessThanOrEqual(answers + of('wakeups'));
  expect(shut).toBeLessThanOrEqual(told + answers + of('lateFromFar'));
  expect(Math.min(signs.lan.zeroWindow, signs.wan.zeroWindow)).toBe(0);
}

function describeEnds({ options, sent, received }: FlowResult): string {
  const end = (one: typeof sent): string => (one === undefined ? 'open' : (one.error ?? `${one.bytes} bytes`));
  return `${options.mode}: sent ${end(sent)}, received ${end(received)}`;
}

export interface RecoveryGoals {
  /** In round-trip times, counted from link-up. */
  readonly firstByteRtts: number;
  readonly to85Rtts?: number;
}

/** The goals of recovery that the transfers together did not reach. */
export function missedRecovery(result: StoryResult, goals: RecoveryGoals): string[] {
  const misses: string[] = [];
  const compare = (what: string, millis: number | undefined, rtts: number | undefined): void => {
    if (rtts === undefined || (millis !== undefined && millis <= rtts * RTT_MILLIS)) return;
    misses.push(
      `${what} ${millis === undefined ? 'never' : `after ${(millis / RTT_MILLIS).toFixed(1)} RTT`} > ${rtts}`,
    );
  };
  compare('first byte', result.recovery?.firstByteMillis, goals.firstByteRtts);
  compare('85 % of the old rate', result.recovery?.to85Millis, goals.to85Rtts);
  return misses;
}

export interface SenderGoals {
  /** Congestion window afterwards over that at the cut (of BBR: the lowest in the second before). */
  readonly cwndShare: number;
  /** Since the cut, or since the freeze was ordered where that came later. */
  readonly retransmissions: number;
}

/** What the sender of a story's only flow should have been spared. */
export function missedSender(result: StoryResult, goals: SenderGoals): string[] {
  const { cwndBefore, after, retransmissions, retransmissionsSinceFreeze } = result.flows[0]!;
  if (cwndBefore === undefined || after === undefined) return ['no reading of the sender'];
  const misses: string[] = [];
  if (after.cwnd < cwndBefore * goals.cwndShare) misses.push(`cwnd ${cwndBefore} -> ${after.cwnd}`);
  const counted = retransmissionsSinceFreeze ?? retransmissions ?? Number.NaN;
  if (!(counted <= goals.retransmissions)) misses.push(`${counted} retransmissions by the endpoint`);
  return misses;
}

/**
 * The plain run must show the trouble that the gateway is there for, or the comparison says nothing. How long the sender then sleeps
 * is another matter: where the router cannot resolve the next hop any more, its own ICMP host-unreachable messages undo back-offs (RFC 6069).
 */
export function expectTimedOut({ flows }: StoryResult): void {
  for (const { frozen, retransmissions } of flows) {
    expect(frozen!.rtoMillis).toBeGreaterThan(RTT_MILLIS);
    expect(frozen!.cwnd).toBeLessThan(10);
    expect(retransmissions).toBeGreaterThan(0);
  }
}
