/**
 * What a running gateway says of itself: the log, `events --follow` and the control socket tell the same list, and the metrics agree
 * with what happened to a real connection through a real loss of carrier.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventKind } from '../../src/base/event-table.ts';
import { ControlClient } from '../../src/control/client.ts';
import type { EventJson } from '../../src/control/history.ts';
import { CLI, type Program, Router, SERVER } from '../steering/router.ts';

const able = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!able) console.warn('observation tests skipped: they need root and /dev/net/tun');

const PEER = resolve(import.meta.dirname, '../steering/peer.mjs');
const METRICS_PORT = 9_469;
const DEAF = 'add table inet deaf\nadd chain inet deaf in { type filter hook input priority 0; policy drop; }\n';
const WAIT_MILLIS = 20_000;

interface LogLine {
  readonly event?: string;
  readonly code?: number;
  readonly level: string;
  readonly msg: string;
}

function logged(output: string): LogLine[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter(({ event }) => event !== undefined);
}

async function until<T>(look: () => Promise<T>, isThere: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + WAIT_MILLIS;
  for (;;) {
    const value = await look();
    if (isThere(value)) return value;
    if (performance.now() > deadline) throw new Error(`it did not come about: ${JSON.stringify(value)}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

describe.skipIf(!able)('a running gateway', () => {
  let router: Router;
  let directory: string;
  let control: string;
  let gateway: Program | undefined;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-seen-'));
    control = join(directory, 'control.sock');
    router = await Router.create();
  });

  afterEach(async () => {
    gateway?.signal('SIGTERM');
    await gateway?.exited;
    await router.dispose();
    rmSync(directory, { recursive: true });
  });

  async function scrape(): Promise<Map<string, number>> {
    const fetch = `fetch('http://127.0.0.1:${METRICS_PORT}/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))`;
    const text = await router.gateway.exec(process.execPath, ['-e', fetch]);
    const samples = text.split('\n').flatMap((line) => {
      const match = /^([^#\s]\S*) (\S+)$/.exec(line);
      return match === null ? [] : [[match[1]!, Number(match[2])] as const];
    });
    return new Map(samples);
  }

  test('log, event stream and socket tell one list, and metrics agree with it', async () => {
    const file = join(directory, 'tcpfreeze.yaml');
    writeFileSync(file, `metrics: 127.0.0.1:${METRICS_PORT}\nlog: {level: debug, format: json}\n`);
    gateway = await router.run(['--control', control, '--config', file]);
    const client = new ControlClient(control);
    const follower = router.start(router.gateway, process.execPath, [
      CLI,
      'events',
      '--follow',
      '--json',
      '--control',
      control,
    ]);
    const server = router.start(router.server, process.execPath, [PEER, 'listen', SERVER, '5000']);
    await server.said(/listening/);
    const host = router.start(router.host, process.execPath, [PEER, 'connect', SERVER, '5000']);
    await host.said(/connected/);
    host.send('before');
    await server.said(/got before/);
    // What is sent now reaches nobody, and is in flight when the link goes.
    await router.server.exec('nft', ['-f', '-'], DEAF);
    const { packets } = (await client.status()).counters;
    host.send('during');
    await until(
      () => client.status(),
      (status) => status.counters.packets! > packets!,
    );
    await router.gateway.ip('link', 'set', 'wan0', 'down');
    await until(
      () => client.status(),
      (status) => status.flows.frozen === 1 && status.custodyBytes > 0,
    );
    await router.server.exec('nft', ['delete', 'table', 'inet', 'deaf']);
    const lost = await scrape();
    expect(Object.fromEntries(lost)).toMatchObject({
      'tcpfreeze_link_up{link="wan0",role="wan"}': 0,
      'tcpfreeze_link_up{link="lan0",role="lan"}': 1,
      tcpfreeze_custody_bytes: 'during\n'.length,
    });
    const frozen = [...lost].filter(([name]) => name.startsWith('tcpfreeze_flows{phase="frozen"'));
    expect(frozen.map(([, count]) => count)).toEqual([1]);
    await client.act('freeze', { flow: '77.77' }).catch(() => undefined);
    await router.gateway.ip('link', 'set', 'wan0', 'up');
    await server.said(/got during/);
    await until(
      () => client.status(),
      (status) => status.flows.flowing === 1,
    );
    const back = await until(scrape, (now) => (now.get('tcpfreeze_handbacks_total') ?? 0) > 0);
    const freezes = [...back].filter(([name]) => name.startsWith('tcpfreeze_freezes_total'));
    expect(freezes.reduce((sum, [, count]) => sum + count, 0)).toBe(1);
    expect(back.get('tcpfreeze_freezes_total{cause="other"}')).toBe(0);
    expect(back.get('tcpfreeze_freeze_duration_seconds_count')).toBe(1);
    expect(back.get('tcpfreeze_handback_duration_seconds_count')).toBe(1);
    expect(back.get('tcpfreeze_thaw_to_first_byte_seconds_count')).toBe(1);
    expect(back.get('tcpfreeze_loop_turn_seconds_count')).toBe(back.get('tcpfreeze_loop_turns_total'));
    expect(back.get('tcpfreeze_events_total{event="link-lost",severity="warn"}')).toBe(1);
    // The same text on both ways to it, but for what goes on by itself.
    const names = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('# TYPE'));
    expect(names(await client.metrics()).length).toBeGreaterThan(40);

    const events: EventJson[] = [];
    for await (const event of client.events(false)) events.push(event);
    const told = events.map(({ name }) => name);
    for (const name of ['link-lost', 'flows-frozen', 'flow-frozen', 'command-refused', 'link-restored', 'flows-thawed'])
      expect(told).toContain(name);
    const last = events.at(-1)!;
    await follower.said(new RegExp(`"time":"${last.time}","name":"${last.name}"`));
    const followed = follower.output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as EventJson);
    expect(followed.slice(0, events.length)).toEqual(events);
    const inLog = logged(gateway.output).slice(0, events.length);
    expect(inLog.map(({ event, code, msg, level }) => [event, code, msg, level])).toEqual(
      events.map(({ name, code, message, severity }) => [name, code, message, severity]),
    );
    for (const { name, code, severity, figures } of events) {
      const kind = eventKind(name);
      expect([code, severity]).toEqual([kind.code, kind.severity]);
      // Nothing comes with an event that its documentation does not name.
      for (const figure of Object.keys(figures ?? {})) expect(kind.figures, name).toContain(figure);
    }
    for (const program of [host, server, follower]) program.signal('SIGTERM');
  });

  test('an address for metrics that is taken is one line, and nothing stays behind', async () => {
    const file = join(directory, 'tcpfreeze.yaml');
    writeFileSync(file, 'metrics: 192.0.2.77:9469\n');
    const before = await router.dump();
    const outcome = await router.cli(['run', '--lan', 'lan0', '--wan', 'wan0', '--control', control, '--config', file]);
    expect(outcome.stderr).toMatch(
      /^tcpfreeze: metrics cannot be served on 192\.0\.2\.77:9469: EADDRNOTAVAIL; [^\n]+\n$/,
    );
    expect(outcome.code).toBe(1);
    expect(await router.dump()).toBe(before);
  });
});
