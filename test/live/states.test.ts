/**
 * Every state that a connection can be in when the link goes, on real kernels: a table of cases that share one network and one
 * outage. Both ends are states/ends.py; each case has a port of its own, and some a rule of their own.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FlowJson, StatusJson } from '../../src/control/api.ts';
import { LabGateway } from '../../src/lab/gateway.ts';
import type { Namespace } from '../../src/lab/namespace.ts';
import { ADDRESS, LAN_INTERFACE, Lab, WAN_INTERFACE } from '../../src/lab/topology.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

/** Seconds; user timeouts are a quarter of it. STATES_OUTAGE=60 gives the sizes of everyday life. */
const OUTAGE = Number(process.env.STATES_OUTAGE ?? '12');
const FIRST_PORT = 7_000;
/** In the order of states/ends.py. */
const CASES = [
  'opening',
  'fin',
  'fin-custody',
  'half-closed-near',
  'half-closed-far',
  'simultaneous-close',
  'reset-held',
  'far-forgot',
  'keepalive',
  'urgent',
  'closed-by-receiver',
  'user-timeout-trickle',
  'user-timeout',
  'given-up',
  'port-reuse',
  'bulk',
  'mptcp',
  'bulk-bare',
  'bulk-ecn',
  'fast-open',
  'fast-open-parked',
  'small-window',
  'md5',
] as const;
type Case = (typeof CASES)[number];

/** Jumbo frames in one of the families: segments of 8928 bytes. */
const MTU = { 4: 1_500, 6: 9_000 } as const;

const portOf = (name: Case): number => FIRST_PORT + CASES.indexOf(name);

/** As states/ends.py reports it; times in seconds. */
interface End {
  readonly bytes?: number;
  readonly hash?: string;
  readonly sent?: string;
  readonly end?: string;
  readonly first?: string;
  readonly urgent?: string;
  /** Data of the SYN was accepted (RFC 7413); bytes per segment. */
  readonly synData?: boolean;
  readonly segment?: number;
  readonly slipped?: number;
  readonly lasted?: number;
  /** Since link-up. */
  readonly connected?: number | null;
  readonly after?: number | null;
  readonly error?: string;
  readonly skipped?: string;
}

type Ends = Readonly<Record<Case, End>>;

interface Told {
  readonly name: string;
  readonly flow?: string;
  readonly message: string;
}

interface Played {
  readonly client: Ends;
  readonly server: Ends;
  readonly during: readonly FlowJson[];
  readonly after: readonly FlowJson[];
  readonly status: StatusJson | undefined;
  readonly events: readonly Told[];
}

class Ender {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(namespace: Namespace, role: 'client' | 'server', family: 4 | 6) {
    const script = join(import.meta.dirname, 'states/ends.py');
    this.#process = namespace.spawn(
      'python3',
      [script, role, ADDRESS.server[family], ADDRESS.host[family], String(OUTAGE)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error('an end has gone');
    return next.value;
  }

  say(stage: 'lost' | 'back' | 'end'): void {
    this.#process.stdin!.write(`${stage}\n`);
  }
}

const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

async function play(withGateway: boolean, config: string, family: 4 | 6): Promise<Played> {
  const lab = await Lab.create({ topology: 'router', mtu: MTU[family] });
  let gateway: LabGateway | undefined;
  try {
    if (withGateway) gateway = await LabGateway.start(lab, { args: ['--config', config] });
    const server = new Ender(lab.server, 'server', family);
    await server.line();
    const client = new Ender(lab.host, 'client', family);
    await client.line();
    const both = (stage: 'lost' | 'back' | 'end'): void => {
      server.say(stage);
      client.say(stage);
    };
    // Long enough for windows to fill, and for connections to have a round trip.
    await pause(2.5);
    await lab.link.cut('carrier');
    both('lost');
    await pause(OUTAGE - 1);
    const during = gateway === undefined ? [] : await gateway.client.flows(false);
    await pause(1);
    await lab.link.restore();
    both('back');
    await pause(5);
    both('end');
    const results = await Promise.all([client.line(), server.line()]);
    const [fromClient, fromServer] = results.map((line) => JSON.parse(line) as Ends) as [Ends, Ends];
    const events: Told[] = [];
    if (gateway !== undefined) for await (const event of gateway.client.events(false)) events.push(event);
    return {
      client: fromClient,
      server: fromServer,
      during,
      after: gateway === undefined ? [] : await gateway.client.flows(false),
      status: await gateway?.client.status(),
      events,
    };
  } finally {
    await gateway?.stop();
    await lab.dispose();
  }
}

const rule = (name: Case, fields: string): string => `  - match: {port: ${portOf(name)}}\n    ${fields}\n`;

describe.skipIf(!storiesPossible).each([4, 6] as const)('states of a connection, IPv%i', (family) => {
  let directory = '';
  let played: Played;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-states-'));
    const config = join(directory, 'config.yaml');
    const links = `links:\n  ${LAN_INTERFACE}: {role: lan}\n  ${WAN_INTERFACE}: {role: wan}\n`;
    const policy =
      rule('user-timeout-trickle', `trickle: ${OUTAGE / 15}`) +
      rule('user-timeout', 'trickle: off') +
      rule('given-up', `maxOutage: ${OUTAGE / 3}`) +
      rule('fin', 'class: critical');
    writeFileSync(config, `${links}policy:\n${policy}`);
    played = await play(true, config, family);
  }, 240_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const ends = (name: Case): [End, End] => [played.client[name], played.server[name]];
  const flowOf = (flows: readonly FlowJson[], name: Case): FlowJson | undefined =>
    flows.find((flow) => flow.responder.endsWith(`:${portOf(name)}`));

  /** The far application has what the near one wrote, and saw the end once and in order. */
  const expectDelivered = (name: Case): void => {
    const [client, server] = ends(name);
    expect({ ...server, error: client.error ?? server.error }).toMatchObject({
      bytes: client.bytes,
      hash: client.hash,
      end: 'eof',
      error: undefined,
    });
  };

  test('opening: the SYN was parked, and the connection opens within a few round trips of link-up', () => {
    expectDelivered('opening');
    const { connected } = played.client.opening;
    console.log(`states IPv${family}: connected ${connected?.toFixed(3)} s after link-up`);
    // Its own next SYN would have come at 1, 3, 7, 15 s after the first, which is 3 s after link-up or more.
    expect(connected).not.toBeNull();
    expect(connected).toBeLessThan(2);
    expect(flowOf(played.during, 'opening')!.phase).toBe('opening');
  });

  test.each([
    'fin',
    'fin-custody',
    'half-closed-near',
    'keepalive',
    'closed-by-receiver',
    'user-timeout-trickle',
    'fast-open',
    'fast-open-parked',
    'small-window',
  ] as const)('%s: everything arrives, then the end', (name) => {
    expectDelivered(name);
  });

  test('urgent: the byte out of band arrives as such, the others in order', () => {
    expect(played.server.urgent).toMatchObject({ urgent: '!' });
    expectDelivered('urgent');
  });

  test('a window that its receiver had shut is not opened by the thaw', () => {
    expect(played.client['closed-by-receiver'].slipped).toBeLessThan(4_096);
  });

  test('half closed, far data: both ends of the stream meet', () => {
    const [client, server] = ends('half-closed-far');
    expect(client).toMatchObject({ bytes: server.bytes, hash: server.hash, end: 'eof' });
  });

  test('simultaneous close: what both wrote arrives, and both see the end', () => {
    const [client, server] = ends('simultaneous-close');
    expect(client).toMatchObject({ bytes: 200, end: 'eof' });
    expect(server).toMatchObject({ bytes: 100, end: 'eof' });
  });

  test('a reset during the outage reaches the far end after link-up', () => {
    expect(played.server['reset-held']).toMatchObject({ bytes: 0, end: 'ECONNRESET' });
    expect(played.server['reset-held'].after).toBeLessThan(2);
  });

  test('a far host that has forgotten the connection: the near end is reset, an event counts the bytes', () => {
    expect(played.client['far-forgot'].end).toMatch(/ECONNRESET|EPIPE/);
    expect(played.client['far-forgot'].after).toBeLessThan(2);
    const told = played.events.filter(({ name }) => name === 'flow-reset');
    expect(told).toHaveLength(1);
    expect(told[0]!.message).toMatch(/^far peer reset the connection; [1-9]\d* bytes could not be delivered$/);
  });

  test('a user timeout without a trickle is the end of the connection', () => {
    expect(played.client['user-timeout'].end).toMatch(/ETIMEDOUT|EPIPE|ECONNRESET/);
    expect(played.status!.counters.trickles).toBeGreaterThan(1);
    expect(played.events.filter(({ name }) => name === 'flow-timed-out')).toHaveLength(1);
  });

  test('given up at its limit: RST to the near end then, to the far end at link-up, and an event', () => {
    const [client, server] = ends('given-up');
    expect(client.end).toBe('ECONNRESET');
    expect(client.lasted).toBeGreaterThan(OUTAGE / 3 - 0.5);
    expect(client.lasted).toBeLessThan(OUTAGE / 3 + 2);
    expect(server.end).toBe('ECONNRESET');
    const told = played.events.filter(({ name }) => name === 'flow-given-up');
    expect(told).toHaveLength(1);
    expect(told[0]!.message).toMatch(
      new RegExp(`^given up: limit of ${OUTAGE / 3} s by the rule, \\d+ bytes undelivered$`),
    );
  });

  test('a port that is used again: the far end sees the reset, then the new connection', () => {
    expect(played.server['port-reuse'].first).toBe('ECONNRESET');
    expectDelivered('port-reuse');
    expect(played.client['port-reuse'].connected).toBeLessThan(2);
  });

  test.each(['bulk', 'bulk-bare', 'bulk-ecn'] as const)('%s both ways: equal hashes', (name) => {
    const [client, server] = ends(name);
    expect(server).toMatchObject({ hash: client.sent, end: 'eof' });
    expect(client).toMatchObject({ hash: server.sent, end: 'eof' });
  });

  test('fast open is in use: data came with the SYN', () => {
    expect(played.client['fast-open'].synData).toBe(true);
  });

  test('segments are as large as the path takes', () => {
    expect(played.client.bulk.segment).toBe(MTU[family] - (family === 4 ? 52 : 72));
  });

  test.each(['mptcp', 'md5'] as const)('%s is left alone, with the reason', (name) => {
    if (played.client[name].skipped !== undefined) return;
    const bypassReason = name === 'md5' ? 'tcp-md5' : 'mptcp';
    expect(flowOf(played.during, name)).toMatchObject({ phase: 'bypass', bypassReason });
    expectDelivered(name);
  });

  test('per flow: class, limit, who sets it, frozen since', () => {
    expect(flowOf(played.during, 'fin')).toMatchObject({ phase: 'frozen', class: 'critical', limit: null });
    expect(flowOf(played.during, 'user-timeout-trickle')).toMatchObject({ phase: 'frozen', trickling: true });
    expect(flowOf(played.during, 'fin')!.frozenSince).toMatch(/^\d{4}-/);
  });

  test('nothing is left frozen or in custody', () => {
    expect(played.after.filter(({ phase }) => phase === 'frozen' || phase === 'handback')).toEqual([]);
    expect(played.status).toMatchObject({ custodyBytes: 0, resources: { parkedSyns: 0 } });
  });
});
