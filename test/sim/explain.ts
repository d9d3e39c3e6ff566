/** What is left of a failing scenario after making it small, and the packets around the first complaint. */
import { minimize } from './minimize.ts';
import { runScenario } from './run.ts';
import type { Scenario } from './scenario.ts';
import { traceInto } from './trace.ts';

const LINES_MAX = 200_000;
const LINES_SHOWN = 60;

/** A complaint without its numbers: two runs fail alike when these agree. */
function shapeOf(complaint: string): string {
  return complaint
    .replace(/^\d+ us (?:to )?/, '')
    .replace(/(lan|wan)\d+/, '$1')
    .replace(/\d+/g, '#')
    .slice(0, 30);
}

export function explain(scenario: Scenario): string {
  const shape = shapeOf(runScenario(scenario).complaints[0] ?? '');
  const small = minimize(scenario, (candidate) =>
    runScenario(candidate).complaints.some((complaint) => shapeOf(complaint) === shape),
  );
  const lines: string[] = [];
  const { complaints, network } = runScenario(small, { prepare: (made) => traceInto(made, lines, LINES_MAX) });
  const at = Number(/^\d+/.exec(complaints[0] ?? '')?.[0] ?? network.now) / 1e6;
  const until = lines.findIndex((line) => Number.parseFloat(line) > at);
  const end = until < 0 ? lines.length : until;
  return [
    JSON.stringify(small),
    ...complaints.slice(0, 5),
    ...(network.gateway?.events ?? []).map((event) => `${event.at} us ${event.message}`),
    ...lines.slice(Math.max(0, end - LINES_SHOWN), end),
  ].join('\n');
}
