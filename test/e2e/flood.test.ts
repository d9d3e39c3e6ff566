/** Floods of 50,000 made-up segments a second beside an established connection of 1 Gb/s (`npm run bench -- flood` does more). */
import { expect, test } from 'vitest';
import { measureFlood } from '../../src/lab/bench/flood.ts';

const root = process.getuid?.() === 0;
if (!root) console.warn('flood test skipped: it needs root to make network namespaces');

/** What a flow has to keep of its throughput, beside plain forwarding under the same flood. */
const KEPT = 0.8;
/** The flooder competes for two processors with all the rest; a rate below says nothing. */
const RATE_MIN = 40_000;
/** A full flow table (65,536 flows of 2 KB), the doorkeeper's slots, and what the packet ring had not touched yet. */
const GROWTH_MAX = 250 * 2 ** 20;

test.skipIf(!root)('an established connection keeps its throughput, and memory its bounds', async () => {
  const lines: string[] = [];
  const { figures, memoryBefore, memoryAfter } = await measureFlood({
    repetitions: 1,
    seconds: 2,
    kinds: ['syn', 'data', 'tiny', 'probe'],
    loads: [1e9],
    onProgress: (line) => lines.push(line),
  });
  console.info(lines.join('\n'));
  for (const { kind, gatewayToKernel, rate } of figures) {
    expect(gatewayToKernel, kind).toBeGreaterThanOrEqual(KEPT);
    expect(rate, kind).toBeGreaterThan(RATE_MIN);
  }
  expect(figures).toHaveLength(4);
  expect(memoryBefore).toBeGreaterThan(0);
  expect(memoryAfter - memoryBefore).toBeLessThan(GROWTH_MAX);
});
