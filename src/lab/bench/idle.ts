/** What the gateway uses while nothing happens on the connections that it tracks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../../base/errors.ts';
import { LabChild } from '../child.ts';
import { LabGateway } from '../gateway.ts';
import { ADDRESS } from '../topology.ts';
import { makeBed, removeBed } from './paths.ts';
import { processorNanos } from './processor-time.ts';

export interface IdleOptions {
  readonly seconds: number;
  readonly onProgress: (line: string) => void;
}

export interface IdleResult {
  readonly command: string;
  readonly flows: number;
  readonly seconds: number;
  /** Share of one core, 0..1. The goal is below 0.01. */
  readonly share: number;
}

const PORT = 5900;
const FLOWS = 1_000;
/**
 * What opening the connections set going is over after this long. *Measured*: V8 collects what a burst left behind about 8 s after it
 * (its memory reducer, once): 13 ms per second of processor time from 3 to 13 s after the opening, 3 to 4 ms per second from then on.
 */
const SETTLE_MILLIS = 13_000;

/** @throws TcpfreezeError: the gateway does not track them all; what the lab throws */
export async function measureIdle({ seconds, onProgress }: IdleOptions): Promise<IdleResult> {
  const bed = await makeBed();
  let gateway: LabGateway | undefined;
  try {
    gateway = await LabGateway.start(bed);
    const server = await LabChild.start(bed.server, 'lab/bench/peer.js');
    await server.request('listen', { port: PORT });
    const host = await LabChild.start(bed.host, 'lab/bench/peer.js');
    await host.request('crowd', { address: ADDRESS.server[4], port: PORT, count: FLOWS });
    const { flowing, total } = (await gateway.client.status()).flows;
    if (flowing < FLOWS) {
      throw new TcpfreezeError(
        'BENCH_FLOWS',
        `the gateway tracks ${flowing} of ${FLOWS} connections (${total} in all)`,
        '',
      );
    }
    onProgress(`idle: ${flowing} connections tracked, ${seconds} s without a packet`);
    await sleep(SETTLE_MILLIS);
    const pid = gateway.pid!;
    const before = processorNanos(pid);
    const from = performance.now();
    await sleep(seconds * 1000);
    const share = (processorNanos(pid) - before) / 1e6 / (performance.now() - from);
    return { command: `processor time of tcpfreeze run over ${seconds} s`, flows: flowing, seconds, share };
  } finally {
    await gateway?.stop();
    await removeBed(bed);
  }
}
