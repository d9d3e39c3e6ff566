import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import type { EventName } from '../../src/base/event-table.ts';
import { Captures } from '../../src/capture/captures.ts';
import type { Action, DoneJson, FlowJson, StatusJson } from '../../src/control/api.ts';
import { toCommand } from '../../src/control/api.ts';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer, type ControlTarget } from '../../src/control/control.ts';
import { EventHistory, toEventJson } from '../../src/control/history.ts';
import { assertSocketFree } from '../../src/control/socket.ts';
import { sampleStatus } from './samples.ts';

const STATUS = sampleStatus({ uptime: 2.5, tun: 'tun0', counters: { packets: 1 } });

/** Answers with what it was asked, so that the tests see both directions of the crossing. */
class Target implements ControlTarget {
  readonly metrics = { contentType: 'text/plain; version=0.0.4', text: () => Promise.resolve('up 1\n') };
  readonly history = new EventHistory();
  readonly captures = new Captures({ version: '1', links: ['lan0', 'wan0'], tun: 'tun0', now: () => 0 }, () => {});
  readonly asked: unknown[] = [];

  async status(): Promise<StatusJson> {
    return STATUS;
  }

  async flows(frozenOnly: boolean): Promise<FlowJson[]> {
    this.asked.push({ frozenOnly });
    return [];
  }

  async act(action: Action, body: unknown): Promise<DoneJson> {
    this.asked.push(toCommand(action, body));
    if (action === 'abort') throw new TcpfreezeError('FLOW_UNKNOWN', 'no such flow', 'see flows');
    return { flows: 3, message: 'done' };
  }

  async reload(): Promise<DoneJson> {
    this.asked.push('reload');
    return { flows: 0, message: '2 rules apply from now on' };
  }
}

let directory: string;
let path: string;
let target: Target;
let server: ControlServer | undefined;
let client: ControlClient;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-control-'));
  path = join(directory, 'deep', 'control.sock');
  target = new Target();
  client = new ControlClient(path);
});

afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(directory, { recursive: true });
});

/** A request by hand, for what the client would never send. */
function raw(method: string, url: string, body?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: path, method, path: url }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

describe('served', () => {
  beforeEach(async () => {
    server = await ControlServer.listen(path, target);
  });

  test('status and flows', async () => {
    expect(await client.status()).toEqual(STATUS);
    expect(await client.flows(true)).toEqual([]);
    expect(await client.flows(false)).toEqual([]);
    expect(target.asked).toEqual([{ frozenOnly: true }, { frozenOnly: false }]);
  });

  test('metrics', async () => {
    expect(await client.metrics()).toBe('up 1\n');
  });

  test('actions', async () => {
    expect(await client.act('freeze', { link: 'wan0', lead: 0.5 })).toEqual({ flows: 3, message: 'done' });
    expect(target.asked).toEqual([{ kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros: 500_000 }]);
  });

  test('an error crosses with its code, its remedy and the right exit code', async () => {
    const refused = await client.act('abort', { flow: '9' }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'FLOW_UNKNOWN', message: 'no such flow', remedy: 'see flows', exitCode: 1 });
    const wrong = await client.act('freeze', { host: 'x' }).catch((error: unknown) => error);
    expect(wrong).toMatchObject({ code: 'BAD_REQUEST', exitCode: 2 });
  });

  function tell(name: EventName, message = ''): void {
    target.history.record(toEventJson({ name, message }, new Date(0)));
  }

  test('events so far', async () => {
    tell('link-lost', 'line\nbreak');
    tell('link-restored');
    const got = [];
    for await (const event of client.events(false)) got.push(event);
    expect(got).toEqual(target.history.list());
  });

  test('following goes on with later events and ends with the gateway', async () => {
    tell('link-lost');
    const got: string[] = [];
    for await (const { name } of client.events(true)) {
      got.push(name);
      if (name === 'link-lost') tell('link-restored');
      if (name === 'link-restored') void server?.close().then(() => (server = undefined));
    }
    expect(got).toEqual(['link-lost', 'link-restored']);
  });

  test('a follower that leaves is forgotten', async () => {
    tell('link-lost');
    for await (const _event of client.events(true)) break;
    for (let i = 0; i < 100; i += 1) tell('flows-frozen', `${i}`);
    expect((await client.status()).version).toBe('1');
  });

  test.each([
    ['GET', '/nothing', undefined, 404, 'NOT_FOUND'],
    ['GET', '/constructor', undefined, 404, 'NOT_FOUND'],
    ['POST', '/status', undefined, 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/freeze', undefined, 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/freeze', '{', 400, 'BAD_REQUEST'],
    ['POST', '/freeze', '[]', 400, 'BAD_REQUEST'],
    ['POST', '/freeze', `"${'x'.repeat(100_000)}"`, 400, 'BAD_REQUEST'],
    ['POST', '/abort', '{}', 400, 'BAD_REQUEST'],
  ])('%s %s %.10s: %i', async (method, url, body, status, code) => {
    const answer = await raw(method, url, body);
    expect(answer.status).toBe(status);
    expect((JSON.parse(answer.text) as { error: { code: string } }).error.code).toBe(code);
  });

  test('bytes that are not HTTP harm nobody', async () => {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(path, () => socket.end('\0\xff\r\n\r\n'));
      socket.on('error', reject);
      socket.on('close', () => resolve());
      socket.resume();
    });
    expect((await client.status()).version).toBe('1');
  });

  test('the socket is for owner and group, and goes with the directory that was made for it', async () => {
    expect(statSync(path).mode & 0o777).toBe(0o660);
    await server?.close();
    server = undefined;
    expect(existsSync(join(directory, 'deep'))).toBe(false);
  });

  test('a second server is refused, the first goes on', async () => {
    await expect(ControlServer.listen(path, target)).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    expect((await client.status()).version).toBe('1');
  });
});

test('a stale socket is taken over', async () => {
  path = join(directory, 'stale.sock');
  await leaveStaleSocket(path);
  expect(existsSync(path)).toBe(true);
  server = await ControlServer.listen(path, target);
  expect(await new ControlClient(path).status()).toEqual(STATUS);
});

/** A process that dies leaves its socket behind; a server that closes would remove it. */
async function leaveStaleSocket(place: string): Promise<void> {
  const { execFileSync } = await import('node:child_process');
  const program = `require('net').createServer().listen(${JSON.stringify(place)}, () => process.kill(process.pid, 'SIGKILL'))`;
  try {
    execFileSync(process.execPath, ['-e', program]);
  } catch {
    // Killed, as it should be.
  }
}

test('a file that is no socket is left alone', async () => {
  path = join(directory, 'file');
  writeFileSync(path, 'precious');
  await expect(ControlServer.listen(path, target)).rejects.toMatchObject({ code: 'CONTROL_PATH' });
  expect(existsSync(path)).toBe(true);
});

test('any living listener counts as a gateway', async () => {
  path = join(directory, 'other.sock');
  const other = createServer().listen(path);
  await new Promise((resolve) => other.once('listening', resolve));
  await expect(assertSocketFree(path)).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
  await new Promise((resolve) => other.close(resolve));
});

test('a path that cannot be used', async () => {
  path = join(directory, 'x'.repeat(200));
  await expect(ControlServer.listen(path, target)).rejects.toMatchObject({ code: 'CONTROL_PATH' });
  await expect(ControlServer.listen('/proc/nowhere/x.sock', target)).rejects.toMatchObject({ code: 'CONTROL_PATH' });
});

test('no gateway: one line with the remedy', async () => {
  const error = await client.status().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(TcpfreezeError);
  expect((error as TcpfreezeError).line()).toMatch(/^no gateway is running .*; start one .*--control/);
});
