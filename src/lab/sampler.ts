/** Readings of several connections' senders at once, and of the kernels' own counters. */
import type { Namespace } from './namespace.ts';
import { parseSs, type SocketReading } from './ss.ts';
import type { Lab } from './topology.ts';
import { type Endpoint, type Flow, TRAFFIC_PORT } from './traffic-handle.ts';

export class SocketSampler {
  readonly #lab: Lab;
  readonly #flows: readonly Flow[];

  constructor(lab: Lab, flows: readonly Flow[]) {
    this.#lab = lab;
    this.#flows = flows;
  }

  /** The sending end's socket of every flow that still has one, by the flow's name. */
  async take(): Promise<Map<string, SocketReading>> {
    const { host, guest, server } = this.#lab;
    const all = { host, guest, server };
    const senders = new Set(this.#flows.map((flow) => flow.senderRole));
    const own = new Map<Endpoint, SocketReading[]>();
    await Promise.all([...senders].map(async (role) => void own.set(role, await sockets(all[role]!))));
    const readings = new Map<string, SocketReading>();
    for (const flow of this.#flows) {
      // The opener's port is the local one at the opener and the peer's at the responder.
      const reading = own
        .get(flow.senderRole)
        ?.find((one) => portOf(flow.sentByOpener ? one.local : one.peer) === flow.port);
      if (reading !== undefined) readings.set(flow.name, reading);
    }
    return readings;
  }
}

async function sockets(namespace: Namespace): Promise<SocketReading[]> {
  const port = `:${TRAFFIC_PORT}`;
  return parseSs(await namespace.exec('ss', ['-tinHO', '(', 'sport', '=', port, 'or', 'dport', '=', port, ')']));
}

function portOf(endpoint: string): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));
}

/** RSTs that the kernels of the lab have sent by themselves so far (/proc/net/snmp, Tcp OutRsts). */
export async function resetsSent(lab: Lab): Promise<Record<'host' | 'gateway' | 'server', number>> {
  const [host, gateway, server] = await Promise.all([lab.host, lab.gateway, lab.server].map(outRsts));
  return { host: host!, gateway: gateway!, server: server! };
}

async function outRsts(namespace: Namespace): Promise<number> {
  const text = await namespace.exec('cat', ['/proc/net/snmp']);
  const [names, values] = text.split('\n').filter((line) => line.startsWith('Tcp:'));
  const index = names?.split(' ').indexOf('OutRsts') ?? -1;
  return Number(values?.split(' ')[index] ?? 0);
}
