/**
 * The three ways through the router that the benchmark compares, on cables without an emulated link:
 *
 *     host -- lan0 [gateway] wan0 -- server
 *
 *     kernel    plain forwarding
 *     loop      the datapath's loop with the real TUN, header, offloads and arena, and an engine that only forwards
 *     gateway   `tcpfreeze run`
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LabChild } from '../child.ts';
import { chooseCongestion, selectCongestion } from '../congestion.ts';
import { LabGateway } from '../gateway.ts';
import { Namespace, namespaceName, nextLabNumber } from '../namespace.ts';
import { ADDRESS, END_INTERFACE, LAN_INTERFACE, WAN_INTERFACE } from '../topology.ts';

export type PathName = 'kernel' | 'loop' | 'gateway';
export const PATHS: readonly PathName[] = ['kernel', 'loop', 'gateway'];

const CONGESTION = 'cubic';
/** Address resolution, route caches and the like settle before anything is measured. */
const SETTLE_MILLIS = 300;

export interface Bed {
  readonly host: Namespace;
  readonly gateway: Namespace;
  readonly server: Namespace;
}

/** Builds the router with its two neighbours. IPv4 only. @throws TcpfreezeError as Namespace.create */
export async function makeBed(): Promise<Bed> {
  const number = nextLabNumber();
  const congestion = await chooseCongestion(CONGESTION);
  const host = await Namespace.create(namespaceName(number, 'host'));
  const gateway = await Namespace.create(namespaceName(number, 'gateway'));
  const server = await Namespace.create(namespaceName(number, 'server'));
  const plug = async (end: Namespace, name: string): Promise<void> => {
    await end.ip('link', 'add', END_INTERFACE, 'type', 'veth', 'peer', 'name', name, 'netns', gateway.name);
    await end.ip('link', 'set', END_INTERFACE, 'up');
    await gateway.ip('link', 'set', name, 'up');
  };
  await plug(host, LAN_INTERFACE);
  await plug(server, WAN_INTERFACE);
  await host.ip('address', 'add', `${ADDRESS.host[4]}/24`, 'dev', END_INTERFACE);
  await server.ip('address', 'add', `${ADDRESS.server[4]}/24`, 'dev', END_INTERFACE);
  await gateway.ip('address', 'add', `${ADDRESS.gatewayLan[4]}/24`, 'dev', LAN_INTERFACE);
  await gateway.ip('address', 'add', `${ADDRESS.gatewayWan[4]}/24`, 'dev', WAN_INTERFACE);
  await host.ip('route', 'add', 'default', 'via', ADDRESS.gatewayLan[4]);
  await server.ip('route', 'add', 'default', 'via', ADDRESS.gatewayWan[4]);
  await gateway.sysctl({ 'net.ipv4.ip_forward': 1 });
  for (const end of [host, server]) {
    await end.sysctl({ 'net.ipv4.tcp_no_metrics_save': 1 });
    await selectCongestion(end, congestion);
  }
  return { host, gateway, server };
}

export async function removeBed(bed: Bed): Promise<void> {
  await Promise.all([bed.host, bed.gateway, bed.server].map((namespace) => namespace.dispose()));
}

/** A way through the router that is in effect. */
export interface Path {
  /** Process of the gateway or the loop; undefined: the kernel itself. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

/** Puts one of the ways into effect; `close` takes it away again. @throws TcpfreezeError as its program does */
export async function openPath(name: PathName, bed: Bed): Promise<Path> {
  const path = await start(name, bed);
  await sleep(SETTLE_MILLIS);
  return path;
}

async function start(name: PathName, bed: Bed): Promise<Path> {
  switch (name) {
    case 'kernel':
      return { pid: undefined, close: async () => {} };
    case 'gateway': {
      const gateway = await LabGateway.start(bed);
      return { pid: gateway.pid, close: async () => void (await gateway.stop()) };
    }
    case 'loop': {
      const child = await LabChild.start(bed.gateway, 'lab/bench/bare-loop.js');
      return { pid: Number((await child.request('pid')).pid), close: () => child.stop() };
    }
  }
}
