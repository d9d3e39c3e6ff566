/**
 * A router as people really have them: the lab's network, rearranged; the gateway on it; transfers both ways in both
 * families; a short outage. What is judged is that it works, never how fast.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { StatusJson } from '../../src/control/api.ts';
import { type GatewayOptions, LabGateway } from '../../src/lab/gateway.ts';
import { residueOf, routerState } from '../../src/lab/residue.ts';
import { resetsSent } from '../../src/lab/sampler.ts';
import { Lab, type LabOptions } from '../../src/lab/topology.ts';
import { type Flow, type FlowOptions, Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';

export const able = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!able) console.warn('stories of router realities skipped: they need root and /dev/net/tun');

/** Slow enough that several stories fit on a small machine side by side. */
const LINK = { rateBps: 20e6, delayMillis: 5, queuePackets: 100 } as const;
const OUTAGE_MILLIS = 3_000;
/** Bytes that each transfer must move to count as running. */
const SOME_BYTES = 300_000;

export interface Place {
  readonly lab: Lab;
  readonly gateway: LabGateway;
  readonly flows: readonly Flow[];
  readonly traffic: Traffic;
}

export interface Reality extends Partial<LabOptions> {
  readonly name: string;
  /** Makes the router what the story is about, before the gateway starts. */
  readonly arrange?: (lab: Lab) => Promise<void>;
  readonly gateway?: GatewayOptions;
  /** Where the transfers go to; default: the server's address on its link. */
  readonly server?: Readonly<Record<4 | 6, string>>;
  /** Default: upload and download in both families. */
  readonly flows?: readonly FlowOptions[];
  /** Default: the emulated link loses its carrier, and gets it back. */
  readonly lose?: (place: Place) => Promise<void>;
  readonly restore?: (place: Place) => Promise<void>;
  /** While the link is lost. */
  readonly during?: (place: Place) => Promise<void>;
  /** When everything flows again. */
  readonly after?: (place: Place) => Promise<void>;
  /** Whether the gateway must leave the router as it found it; a story that changes the router itself says no. Default: yes. */
  readonly tidy?: boolean;
}

const BOTH_WAYS: readonly FlowOptions[] = [
  { mode: 'upload', family: 4 },
  { mode: 'download', family: 4 },
  { mode: 'upload', family: 6 },
  { mode: 'download', family: 6 },
];

/** Least bytes received by any of the flows. */
async function least(flows: readonly Flow[]): Promise<number> {
  return Math.min(...(await Promise.all(flows.map((flow) => flow.received()))));
}

/** Waits until every flow has moved on. */
export async function flowOn(flows: readonly Flow[], what: string): Promise<void> {
  const before = await Promise.all(flows.map((flow) => flow.received()));
  const moved = async (): Promise<boolean> => {
    const now = await Promise.all(flows.map((flow) => flow.received()));
    return now.every((bytes, index) => bytes >= before[index]! + SOME_BYTES);
  };
  await until(moved, { what: `${what}: every transfer goes on`, timeoutMillis: 20_000 });
}

export function phaseCount(status: StatusJson, phase: 'frozen' | 'flowing' | 'handback'): number {
  return status.flows[phase];
}

/** Waits until this many flows are frozen. */
export async function frozen(gateway: LabGateway, count: number): Promise<void> {
  await until(async () => phaseCount(await gateway.client.status(), 'frozen') >= count, {
    what: `${count} flows frozen`,
    timeoutMillis: 10_000,
  });
}

/** Tells one story. @returns the gateway's log */
export async function tellReality(reality: Reality): Promise<readonly string[]> {
  const { topology = 'router', flows: wanted = BOTH_WAYS, tidy = true } = reality;
  const lab = await Lab.create({ topology, link: LINK, ...reality });
  try {
    await reality.arrange?.(lab);
    const untouched = await routerState(lab.gateway);
    const gateway = await LabGateway.start(lab, reality.gateway);
    const traffic = await Traffic.start(lab);
    const { server } = reality;
    const flows = await Promise.all(
      wanted.map((options) =>
        traffic.open(server === undefined ? options : { ...options, to: server[options.family ?? 4] }),
      ),
    );
    const place: Place = { lab, gateway, flows, traffic };
    await until(async () => (await least(flows)) >= SOME_BYTES, { what: 'the transfers run', timeoutMillis: 20_000 });

    const running = await gateway.client.status();
    expect(phaseCount(running, 'flowing'), 'every transfer goes through the gateway').toBe(flows.length);
    expect(running.links.map(({ state }) => state)).toEqual(running.links.map(() => 'up'));

    await (reality.lose?.(place) ?? lab.link.cut('carrier'));
    await frozen(gateway, flows.length);
    await reality.during?.(place);
    await sleep(OUTAGE_MILLIS);
    await (reality.restore?.(place) ?? lab.link.restore());
    await flowOn(flows, reality.name);
    await until(async () => phaseCount(await gateway.client.status(), 'flowing') === flows.length, {
      what: 'nothing is frozen or handed back any more',
      timeoutMillis: 10_000,
    });
    await reality.after?.(place);
    const status = await gateway.client.status();
    expect(status.custodyBytes).toBe(0);
    expect(status.counters.custodyAcks, 'the outage was bridged by custody').toBeGreaterThan(0);

    await Promise.all(flows.map((flow) => flow.stop()));
    for (const flow of flows) {
      const { hashEqual, sent, received } = await flow.finished();
      const { mode, family } = flow.options;
      expect({ mode, family, hashEqual, sent: sent.error, received: received.error }).toEqual({
        ...{ mode, family, hashEqual: true, sent: null, received: null },
      });
    }
    expect(await resetsSent(lab)).toEqual({ host: 0, gateway: 0, server: 0 });
    expect(await gateway.stop()).toBe(0);
    if (tidy) expect(residueOf(untouched, await routerState(lab.gateway))).toEqual([]);
    return gateway.log;
  } finally {
    await lab.dispose();
  }
}
