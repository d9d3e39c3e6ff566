/**
 * Real applications through one outage: started before it, typed and written into during it, finished after it. TCPFREEZE_APPLICATIONS_OUTAGE
 * is the outage in seconds, TCPFREEZE_APPLICATIONS_PLAIN=1 leaves the gateway out.
 */
import { describe, expect, test } from 'vitest';
import { runApplicationStory } from '../../src/lab/applications/application-story.ts';
import { APPLICATIONS } from '../../src/lab/applications/applications.ts';
import { serverPrograms } from '../../src/lab/applications/psql.ts';
import { missingProgram } from '../../src/lab/stacks/stack.ts';
import { print, storiesPossible } from '../e2e/story-goals.ts';

const outageSeconds = Number(process.env.TCPFREEZE_APPLICATIONS_OUTAGE ?? 30);
/** mosquitto's keepalive, nginx's send_timeout. */
const SHORTEST_TIMER_SECONDS = 60;
const isPlain = process.env.TCPFREEZE_APPLICATIONS_PLAIN === '1';

const applications = APPLICATIONS.filter(({ name, programs }) => {
  const needsServer = programs.some(([program]) => program === 'psql') && serverPrograms() === undefined;
  const missing =
    missingProgram(...programs) ?? (needsServer ? 'the server is missing (Debian: postgresql)' : undefined);
  if (missing !== undefined && storiesPossible) console.warn(`application skipped: ${name}: ${missing}`);
  return missing === undefined;
});
const sshMissing = missingProgram(['ssh', 'openssh-client'], ['sshd', 'openssh-server']);

describe.skipIf(!storiesPossible || sshMissing !== undefined)('applications', () => {
  test(`an outage of ${outageSeconds} s`, { timeout: 1000 * (400 + outageSeconds) }, async () => {
    const result = await runApplicationStory({ applications, gateway: !isPlain, outageSeconds });
    for (const { application, problem, detail, seconds } of result.applications) {
      print(`${application.name}: ${problem ?? detail}, ${seconds.toFixed(1)} s after link-up`);
    }
    if (isPlain) return;
    const failed = result.applications.filter(({ problem }) => problem !== undefined);
    expect(failed.map(({ application, problem }) => `${application.name}: ${problem}`)).toEqual([]);
    // Beyond it the MQTT client with the default keepalive gives up its connection, which earns resets.
    if (outageSeconds < SHORTEST_TIMER_SECONDS) expect(result.resets).toEqual({ host: 0, gateway: 0, server: 0 });
    expect(result.status!.flows).toMatchObject({ frozen: 0, handback: 0 });
    expect(result.status!.custodyBytes).toBe(0);
  });
});
