/** Losses that DHCP tells of: a lease that runs out, a refusal, a host that gives its lease back. */
import { DhcpClient, DhcpServer } from './dhcp.ts';
import { monotonicMicros } from './link-handle.ts';
import { adopt, forsake, HOST_SILENT } from './losses.ts';
import type { Namespace } from './namespace.ts';
import { SITE } from './site.ts';
import type { Company, Loss } from './story.ts';
import { ADDRESS, END_INTERFACE, LAN_INTERFACE, type Lab, WAN_INTERFACE } from './topology.ts';
import { until } from './wait.ts';

export interface LeaseStory {
  readonly prepare: (lab: Lab) => Promise<Company>;
  readonly loss: Loss;
}

/** An address of the provider's network that the gateway has not had before. */
const OTHER_ADDRESS = '10.81.4.7';

function provider(lab: Lab): Namespace {
  if (lab.isp === undefined) throw new Error('only a site has a provider');
  return lab.isp;
}

/** The two ends of a lease. */
interface Lease {
  readonly server: DhcpServer;
  readonly client: DhcpClient;
}

/** Starts both ends; of a client that gets no address nothing stays behind. */
async function begun(lease: Lease): Promise<Lease> {
  try {
    await lease.server.start();
    await lease.client.start();
  } catch (error) {
    await lease.client.dispose();
    await lease.server.dispose();
    throw error;
  }
  return lease;
}

/** A story whose losses need the ends of a lease, which are there once `lend` has run. */
function leased(lend: (lab: Lab) => Promise<Lease>, loss: (lease: () => Lease) => Loss): LeaseStory {
  let lease: Lease | undefined;
  return {
    prepare: async (lab) => {
      lease = await lend(lab);
      return companyOf(lease);
    },
    loss: loss(() => {
      if (lease === undefined) throw new Error('the lease is taken before it is lost');
      return lease;
    }),
  };
}

/** wan0 has its address, the only one, by DHCP. */
async function leaseWan(lab: Lab, client: 'dhclient' | 'udhcpc'): Promise<Lease> {
  const server = new DhcpServer(provider(lab), SITE.gatewayWan[4]);
  const own = new DhcpClient({ client, namespace: lab.gateway, router: SITE.ispWan[4] });
  await lab.gateway.ip('address', 'flush', 'dev', WAN_INTERFACE, 'scope', 'global');
  return begun({ server, client: own });
}

/** dhclient: two renewals, then the server is gone; nobody answers, the lease runs out and the address goes. */
export function leaseRunsOut(): LeaseStory {
  return leased(
    (lab) => leaseWan(lab, 'dhclient'),
    (lease) => ({
      begin: async (scene) => {
        const { server, client } = lease();
        const first = await client.act(['RENEW'], 0, 15_000);
        await client.act(['RENEW'], first, 15_000);
        await server.stop();
        const at = await client.act(['EXPIRE', 'FAIL'], monotonicMicros(), 30_000);
        await forsake(scene);
        return at;
      },
      end: async (scene) => {
        await adopt(scene, SITE.gatewayWan[4]);
        await lease().server.start();
        return configured(scene.lab);
      },
    }),
  );
}

/** udhcpc: asks to renew, is refused because the server gives another address now, and comes back with that. */
export function leaseRefused(): LeaseStory {
  return leased(
    (lab) => leaseWan(lab, 'udhcpc'),
    (lease) => ({
      begin: async (scene) => {
        const { server, client } = lease();
        await server.start(OTHER_ADDRESS);
        await forsake(scene);
        const at = monotonicMicros();
        client.signal('SIGUSR1');
        await client.act(['nak'], at, 10_000);
        return at;
      },
      end: async (scene) => {
        await adopt(scene, OTHER_ADDRESS);
        return configured(scene.lab);
      },
    }),
  );
}

/** A host gives its lease back and falls silent; later it asks for one again. dnsmasq runs on the gateway. */
export function hostReleases(): LeaseStory {
  return leased(
    (lab) =>
      begun({
        server: new DhcpServer(lab.gateway, ADDRESS.host[4], LAN_INTERFACE),
        client: new DhcpClient({ client: 'udhcpc', namespace: lab.host, interface: END_INTERFACE }),
      }),
    (lease) => ({
      begin: async (scene) => {
        await HOST_SILENT.begin(scene);
        const at = monotonicMicros();
        lease().client.signal('SIGUSR2');
        return at;
      },
      end: async (scene) => {
        await HOST_SILENT.end(scene);
        const at = monotonicMicros();
        lease().client.signal('SIGUSR1');
        return at;
      },
    }),
  );
}

/** Waits until wan0 has an address and the default route. @returns the moment */
async function configured({ gateway }: Lab): Promise<number> {
  return until(
    async () => (await gateway.ip('-4', 'route', 'show', 'default')).includes(WAN_INTERFACE) && monotonicMicros(),
    { what: 'the uplink is configured again', timeoutMillis: 30_000, everyMillis: 5 },
  );
}

function companyOf({ server, client }: Lease): Company {
  return {
    onGateway: (gateway) => client.report(gateway),
    dispose: async () => {
      await client.dispose();
      await server.dispose();
    },
  };
}
