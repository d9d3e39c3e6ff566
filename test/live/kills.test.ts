/** The gateway killed again and again during freeze and handback, each time started anew with its journal. */
import { expect, test } from 'vitest';
import { runKills } from '../../src/lab/kills.ts';
import { print, storiesPossible } from '../e2e/story-goals.ts';

/** TCPFREEZE_KILLS sets how many; `npm run kills -- --count 500` is the long run. */
const COUNT = Number(process.env.TCPFREEZE_KILLS ?? 50);

test.skipIf(!storiesPossible)('kill -9 at random times: every byte arrives', { timeout: 900_000 }, async () => {
  const { complaints, ...figures } = await runKills({ count: COUNT, seed: 1 });
  print(`${figures.kills} kills, ${figures.withCustody} with bytes in custody, ${figures.connections} connections`);
  expect(complaints).toEqual([]);
  expect(figures.kills).toBeGreaterThanOrEqual(COUNT);
  expect(figures.withCustody).toBeGreaterThan(COUNT / 4);
});
