/** The supervised gateway over random cuts, kills, captures and connections. Mostly waits; `npm run soak -- --hours 1` is the long run. */
import { expect, test } from 'vitest';
import { runSoak } from '../../src/lab/soak.ts';
import { print, storiesPossible } from '../e2e/story-goals.ts';

/** TCPFREEZE_SOAK sets how many minutes. */
const MINUTES = Number(process.env.TCPFREEZE_SOAK ?? 5);

test.skipIf(!storiesPossible)(
  'soak: every byte arrives, and nothing keeps growing',
  {
    timeout: (MINUTES + 15) * 60_000,
  },
  async () => {
    const { complaints, gateway, supervisor, ...figures } = await runSoak({ hours: MINUTES / 60, seed: 1 });
    print(`soak, ${MINUTES} min: ${JSON.stringify({ ...figures, gateway, supervisor })}`);
    expect(complaints).toEqual([]);
    expect(figures.cuts).toBeGreaterThan(2 * MINUTES);
    expect(figures.kills).toBeGreaterThan(0);
    expect(figures.captures).toBeGreaterThan(0);
    expect(figures.connections).toBeGreaterThan(4 * MINUTES);
    expect(gateway?.seconds).toBeGreaterThan(20 * MINUTES);
    expect(supervisor?.seconds).toBeGreaterThan(20 * MINUTES);
  },
);
