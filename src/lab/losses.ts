/** Losses that are not the emulated link's: a path beyond the next hop, a host on the LAN, a link that flaps. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMicros } from './link-handle.ts';
import type { Namespace } from './namespace.ts';
import { LAN_SUBNET, SITE } from './site.ts';
import type { Loss, Scene } from './story.ts';
import { HOST_PORT, ISP_SERVER_INTERFACE, WAN_INTERFACE } from './topology.ts';

/** A loss by one command, and its return by another. */
function byCommand(begin: (scene: Scene) => Promise<unknown>, end: (scene: Scene) => Promise<unknown>): Loss {
  return {
    begin: async (scene) => {
      const at = monotonicMicros();
      await begin(scene);
      return at;
    },
    end: async (scene) => {
      await end(scene);
      return monotonicMicros();
    },
  };
}

function isp({ lab }: Scene): Namespace {
  if (lab.isp === undefined) throw new Error('only a site has a provider');
  return lab.isp;
}

/** The provider's router loses its way to the server and says so: ICMP net unreachable for everything that wants to go there. */
export const PATH_BEYOND: Loss = byCommand(
  (scene) => isp(scene).ip('link', 'set', ISP_SERVER_INTERFACE, 'down'),
  (scene) => isp(scene).ip('link', 'set', ISP_SERVER_INTERFACE, 'up'),
);

/**
 * Plugs it in, and waits until it passes packets: the operational state follows the carrier with a delay of up to 1 s
 * (net/core/link_watch.c), and a bridge's port forwards nothing before.
 */
const PLUG = `ip link set ${HOST_PORT} up
until read -r state </sys/class/net/${HOST_PORT}/operstate && [ "$state" = up ]; do sleep 0.002; done`;

/** The host's cable is pulled: its bridge port goes down, the bridge and the other host stay. */
export const HOST_UNPLUGGED: Loss = byCommand(
  ({ lab }) => lab.gateway.ip('link', 'set', HOST_PORT, 'down'),
  ({ lab }) => lab.gateway.exec('sh', ['-c', PLUG]),
);

const MUTE = `table inet mute {
  chain input { type filter hook input priority 0; meta l4proto { tcp, icmp } drop; }
  chain output { type filter hook output priority 0; meta l4proto { tcp, icmp } drop; }
}`;

/** The host hangs: it answers address resolution, but neither segments nor echoes. */
export const HOST_SILENT: Loss = byCommand(
  ({ lab }) => lab.host.exec('nft', ['-f', '-'], MUTE),
  ({ lab }) => lab.host.exec('nft', ['delete', 'table', 'inet', 'mute']),
);

/** The provider carries nothing to the gateway's network any more: it has no lease for it. */
export async function forsake({ lab }: Pick<Scene, 'lab'>): Promise<void> {
  await lab.isp?.ip('route', 'replace', 'blackhole', LAN_SUBNET[4]);
}

/** The provider knows the way to its customer's network by the address that it gave. */
export async function adopt({ lab }: Pick<Scene, 'lab'>, address: string): Promise<void> {
  await lab.isp?.ip('route', 'delete', 'blackhole', LAN_SUBNET[4]).catch(() => {});
  await lab.isp?.ip('route', 'replace', LAN_SUBNET[4], 'via', address);
}

/** The WAN's last addresses are taken away by hand, and given back with their routes. */
export const ADDRESSES_REMOVED: Loss = {
  begin: async (scene) => {
    const at = monotonicMicros();
    await scene.lab.gateway.ip('address', 'flush', 'dev', WAN_INTERFACE, 'scope', 'global');
    await forsake(scene);
    return at;
  },
  end: async (scene) => {
    const { gateway } = scene.lab;
    await adopt(scene, SITE.gatewayWan[4]);
    await gateway.ip('address', 'add', `${SITE.gatewayWan[4]}/24`, 'dev', WAN_INTERFACE);
    await gateway.ip('route', 'replace', 'default', 'via', SITE.ispWan[4]);
    const at = monotonicMicros();
    await gateway.ip('address', 'add', `${SITE.gatewayWan[6]}/64`, 'dev', WAN_INTERFACE);
    await gateway.ip('-6', 'route', 'replace', 'default', 'via', SITE.ispWan[6]);
    return at;
  },
};

/** The emulated link loses its carrier for half a second, once a second, and then stays. */
export function flapping(times: number): Loss {
  return {
    begin: async ({ lab }) => {
      const at = await lab.link.cut('carrier');
      for (let i = 1; i < times; i++) {
        await sleep(500);
        await lab.link.restore();
        await sleep(500);
        await lab.link.cut('carrier');
      }
      return at;
    },
    end: async ({ lab }) => (await lab.link.restore()).openedAt,
  };
}
