/** Another configuration for a running gateway, by command and by SIGHUP, while a connection is frozen. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { ADDRESS, Lab } from '../../src/lab/topology.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

const LINKS = 'links:\n  lan0: {role: lan}\n  wan0: {role: wan}\n';

/** Listens and says so; connects, and stays. */
const LISTEN = `import socket,time
s=socket.create_server(("${ADDRESS.server[4]}",7100)); print("up",flush=True)
c=[]
while True: c.append(s.accept())`;
const CONNECT = `import socket,time
c=socket.create_connection(("${ADDRESS.server[4]}",7100)); print("up",flush=True)
time.sleep(600)`;

describe.skipIf(!storiesPossible)('reload', () => {
  let directory = '';
  let file = '';
  let lab: Lab;
  let gateway: LabGateway;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-reload-'));
    file = join(directory, 'config.yaml');
    writeFileSync(file, LINKS);
    lab = await Lab.create({ topology: 'router' });
    gateway = await LabGateway.start(lab, { args: ['--config', file] });
    for (const [namespace, script] of [
      [lab.server, LISTEN],
      [lab.host, CONNECT],
    ] as const) {
      const child = namespace.spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((resolve) => child.stdout!.once('data', resolve));
    }
  }, 60_000);

  afterAll(async () => {
    await gateway?.stop();
    await lab?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const flow = async () => (await gateway.client.flows(false)).find(({ responder }) => responder.endsWith(':7100'))!;
  const told = async (name: string): Promise<number> => {
    let count = 0;
    for await (const event of gateway.client.events(false)) if (event.name === name) count++;
    return count;
  };

  test('applies from the next loss on, touches nothing that is frozen, and names what has to wait', async () => {
    expect(await flow()).toMatchObject({ class: 'temporary', limit: null });
    await gateway.command('freeze', '--link', 'wan0');
    writeFileSync(file, `${LINKS}policy: [{class: critical, maxOutage: 10m}]\nlimits: {maxFlows: 99}\n`);
    const printed = await gateway.command('reload');
    expect(printed).toBe('1 rules apply from now on; not before the next start: limits.maxFlows\n');
    expect(await flow()).toMatchObject({ phase: 'frozen', class: 'temporary', limit: null });
    await gateway.command('resume', '--link', 'wan0');
    await gateway.command('freeze', '--link', 'wan0');
    expect(await flow()).toMatchObject({ phase: 'frozen', class: 'critical', limit: 600, limitBy: 'rule' });
    await gateway.command('resume', '--link', 'wan0');
  });

  test('a broken file is refused in one line, and the old rules stay', async () => {
    writeFileSync(file, `${LINKS}policy: [{class: golden}]\nlimitz: {}\n`);
    const { exitCode, stderr } = await gateway.cli('reload');
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^tcpfreeze: the old configuration stays: .*config\.yaml:4.*class must be one of .*\(and 1 more\).*\n$/,
    );
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(await told('reload-refused')).toBe(1);
    await gateway.command('freeze', '--link', 'wan0');
    expect(await flow()).toMatchObject({ class: 'critical' });
    await gateway.command('resume', '--link', 'wan0');
  });

  test('SIGHUP does the same', async () => {
    writeFileSync(file, `${LINKS}policy: [{class: suspension}]\n`);
    const before = await told('rules-replaced');
    process.kill(gateway.pid!, 'SIGHUP');
    await expect.poll(() => told('rules-replaced'), { timeout: 10_000 }).toBe(before + 1);
    expect(gateway.exitCode).toBeUndefined();
    await gateway.command('freeze', '--link', 'wan0');
    expect(await flow()).toMatchObject({ class: 'suspension' });
    await gateway.command('abort', '--class', 'suspension');
    expect((await gateway.cli('abort')).exitCode).toBe(2);
    await gateway.command('resume', '--link', 'wan0');
  });
});
