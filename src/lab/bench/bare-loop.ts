/**
 * The datapath's loop without an engine, as a program in the router's namespace: what the gateway's throughput is compared with. The
 * TUN, its steering and the thread are those of the gateway; the engine forwards all and knows nothing (bare-loop-worker.ts).
 *
 * Controlled as children of the lab are (child.ts): `pid`; it ends with its standard input.
 */
import { Worker } from 'node:worker_threads';
import { systemError } from '../../native/errno.ts';
import { addressOf, eventfd, write } from '../../native/libc.ts';
import { openTun } from '../../native/tun.ts';
import { DEFAULT_CONFIG } from '../../policy/policy.ts';
import { findInterfaces } from '../../steering/machine.ts';
import { Steering } from '../../steering/steering.ts';
import { lineSplitter } from '../child.ts';
import { LAN_INTERFACE, WAN_INTERFACE } from '../topology.ts';
import type { BareLoopStart } from './bare-loop-worker.ts';

const tun = openTun({ name: DEFAULT_CONFIG.steering.tun });
const wakeFd = eventfd();
if (wakeFd < 0) throw systemError('eventfd()', wakeFd);

const start: BareLoopStart = { tunFd: tun.fd, wakeFd };
const worker = new Worker(new URL('./bare-loop-worker.js', import.meta.url), { workerData: start });
const ended = new Promise((resolve) => worker.once('exit', resolve));

const interfaces = (await findInterfaces([LAN_INTERFACE, WAN_INTERFACE])).present;
const steering = await Steering.setUp(
  {
    ...DEFAULT_CONFIG.steering,
    tun: tun.name,
    mtu: Math.max(...interfaces.map((found) => found.mtu)),
    links: [
      { name: LAN_INTERFACE, role: 'lan' },
      { name: WAN_INTERFACE, role: 'wan' },
    ],
  },
  { info: () => {}, warn: () => {} },
);

async function end(): Promise<never> {
  await steering.tearDown();
  const one = BigUint64Array.of(1n);
  write(wakeFd, addressOf(one), 8);
  await ended;
  process.exit(0);
}

process.stdin.setEncoding('utf8').on(
  'data',
  lineSplitter((line) => {
    const { id } = JSON.parse(line) as { id: number };
    process.stdout.write(`${JSON.stringify({ id, pid: process.pid })}\n`);
  }),
);
process.stdin.on('end', () => void end());
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`);
