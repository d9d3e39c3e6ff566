/**
 * Other TCP stacks as frozen endpoints, all in one outage: nothing is judged by the clock but the return, and that generously. The
 * table of the README comes from here; TCPFREEZE_STACKS_OUTAGE is the outage in seconds, TCPFREEZE_STACKS_PLAIN=1 leaves the gateway out.
 */
import { describe, expect, test } from 'vitest';
import { CONNECTION_KINDS } from '../../src/lab/stacks/connections.ts';
import { runStackStory, type StackStoryResult } from '../../src/lab/stacks/stack-story.ts';
import { STACKS } from '../../src/lab/stacks/stacks.ts';
import { print, storiesPossible } from '../e2e/story-goals.ts';

const outageSeconds = Number(process.env.TCPFREEZE_STACKS_OUTAGE ?? 15);
const isPlain = process.env.TCPFREEZE_STACKS_PLAIN === '1';
/** Emulated kernels share two processors with everything else, so this finds only what waits for a timer. */
const BACK_MILLIS = 5_000;
const ATTEMPTS = 2;

const stacks = STACKS.filter((stack) => {
  const missing = stack.missing();
  if (missing !== undefined && storiesPossible) console.warn(`stack skipped: ${stack.name}: ${missing}`);
  return missing === undefined;
});

describe.skipIf(!storiesPossible || stacks.length === 0)('stacks', () => {
  test(`an outage of ${outageSeconds} s`, { timeout: 1000 * ATTEMPTS * (180 + outageSeconds) }, async () => {
    for (let attempt = 1; ; attempt++) {
      const result = await runStackStory({ stacks, gateway: !isPlain, outageSeconds });
      tell(result);
      if (isPlain) return;
      const lost = result.connections.filter(({ problem }) => problem !== undefined);
      expect(lost.map(({ stack, kind, problem }) => `${stack.name}, ${kind}: ${problem}`)).toEqual([]);
      expect(result.findings).toEqual([]);
      expect(result.status!.flows).toMatchObject({ frozen: 0, handback: 0 });
      expect(result.status!.custodyBytes).toBe(0);
      const late = result.connections.filter(({ backMillis }) => !((backMillis ?? Number.NaN) <= BACK_MILLIS));
      if (late.length === 0) return;
      const words = late.map(({ stack, kind, backMillis }) => `${stack.name}, ${kind}: ${backMillis} ms`);
      if (attempt === ATTEMPTS) expect(words).toEqual([]);
      print(`LATE, again: ${words.join('; ')}`);
    }
  });
});

function tell({ connections, habits }: StackStoryResult): void {
  for (const stack of stacks) {
    const backs = CONNECTION_KINDS.map((kind) => {
      const one = connections.find((other) => other.stack === stack && other.kind === kind);
      const back = one?.backMillis === undefined ? 'never' : `${(one.backMillis / 1000).toFixed(2)} s`;
      return `${kind} ${one?.problem ?? back}`;
    });
    print(`${stack.name}: ${backs.join(', ')}`);
    for (const { kind, sent } of habits.filter((habit) => habit.stack === stack))
      print(`    ${kind}: ${sent.join('; ')}`);
  }
}
