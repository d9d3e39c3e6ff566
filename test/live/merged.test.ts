/**
 * Two lines are on their way to the near endpoint when the link goes. The first arrives, its ACK does not; the second does not. In the
 * outage the far kernel merges both into one segment (tcp_retrans_try_collapse). An ACK of the first alone would then leave it
 * waiting for its backed-off RTO (freeze/wakeup.ts): the link comes back right after a retransmission, when that is longest.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import type { Namespace } from '../../src/lab/namespace.ts';
import { parseSs, type SocketReading } from '../../src/lab/ss.ts';
import { ADDRESS, Lab, WAN_INTERFACE } from '../../src/lab/topology.ts';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

/** Bytes of the two lines together, and of the IPv4 packet of the first: headers of 20 and 32. */
const BOTH = 36 + 37;
const FIRST_PACKET = 20 + 32 + 36;
/** The back-off that has to have built up before the link comes back. */
const BACK_OFF_MILLIS = 3_000;
const PORTS = '7100-7101';
/** Longer packets than that of the first line do not get beyond the gateway; no packet gets to the server. */
const LOSSES = {
  gateway: `table ip lines { chain in { type filter hook prerouting priority -400;
    iifname "${WAN_INTERFACE}" tcp sport ${PORTS} meta length > ${FIRST_PACKET} drop; }; }`,
  server: `table ip lines { chain in { type filter hook prerouting priority -400; tcp dport ${PORTS} drop; }; }`,
} as const;

class End {
  readonly process;
  readonly #lines: AsyncIterator<string>;

  constructor(namespace: Namespace, role: 'client' | 'server', address: string) {
    const args = [join(import.meta.dirname, 'merged/lines.py'), role, address];
    this.process = namespace.spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error('an end has gone');
    return next.value;
  }

  say(): void {
    this.process.stdin!.write('go\n');
  }
}

async function farSockets(lab: Lab): Promise<SocketReading[]> {
  return parseSs(await lab.server.exec('ss', ['-tinHO', 'sport', '>=', ':7100']));
}

async function lose(lab: Lab, isLost: boolean): Promise<void> {
  for (const role of ['gateway', 'server'] as const) {
    await lab[role].exec('nft', [isLost ? LOSSES[role] : 'delete table ip lines']);
  }
}

/** @returns seconds from link-up to the second line, per connection, and the far kernel's back-off at link-up */
async function play(): Promise<{ took: number[]; backOff: number }> {
  const lab = await Lab.create({ topology: 'router' });
  let gateway: LabGateway | undefined;
  try {
    gateway = await LabGateway.start(lab);
    const server = new End(lab.server, 'server', ADDRESS.server[4]);
    await server.line();
    const client = new End(lab.host, 'client', ADDRESS.server[4]);
    await client.line();
    const isQuiet = async (): Promise<boolean> => (await farSockets(lab)).every(({ sendQueue }) => sendQueue === 0);
    await until(isQuiet, { what: 'acknowledgements', timeoutMillis: 10_000 });
    await lose(lab, true);
    server.say();
    await client.line();
    await lab.link.cut('carrier');
    // Both lines unacknowledged, and by now in one segment.
    const far = await until(
      async () => {
        const now = await farSockets(lab);
        return now.every(({ rtoMillis }) => rtoMillis >= BACK_OFF_MILLIS) && now;
      },
      { what: 'the back-off of the far kernel', timeoutMillis: 30_000 },
    );
    expect(far.map(({ sendQueue, unacked }) => [sendQueue, unacked])).toEqual([
      [BOTH, 1],
      [BOTH, 1],
    ]);
    await lose(lab, false);
    const { openedAt } = await lab.link.restore();
    const came = JSON.parse(await client.line()) as number[];
    return { took: came.map((at) => at - openedAt / 1e6), backOff: Math.min(...far.map((one) => one.rtoMillis)) / 1e3 };
  } finally {
    await gateway?.stop();
    await lab.dispose();
  }
}

describe.skipIf(!storiesPossible)('lines that the far kernel has merged', () => {
  test('arrive long before its RTO, whether something is in custody or not', async () => {
    const { took, backOff } = await play();
    const text = took.map((seconds) => seconds.toFixed(2)).join(' and ');
    console.log(
      `merged lines: ${text} s after link-up, where the far kernel would have waited ${backOff.toFixed(1)} s`,
    );
    for (const seconds of took) expect(seconds).toBeLessThan(0.6 * backOff);
  }, 120_000);
});
