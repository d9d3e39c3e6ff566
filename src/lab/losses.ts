/** Losses that are not the emulated link's: a path beyond the next hop, a host on the LAN, a link that flaps. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMicros } from './link-handle.ts';
import type { Namespace } from './namespace.ts';
import type { Loss, Scene } from './story.ts';
import { HOST_PORT, ISP_SERVER_INTERFACE } from './topology.ts';

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

/** The host's cable is pulled: its bridge port goes down, the bridge and the other host stay. */
export const HOST_UNPLUGGED: Loss = byCommand(
  ({ lab }) => lab.gateway.ip('link', 'set', HOST_PORT, 'down'),
  ({ lab }) => lab.gateway.ip('link', 'set', HOST_PORT, 'up'),
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

/** The WAN's last addresses are taken away by hand, and given back. */
export function addressesRemoved(
  interfaceName: string,
  addresses: readonly string[],
  gatewayOfRoutes: { readonly 4: string; readonly 6: string },
): Loss {
  return byCommand(
    ({ lab }) => lab.gateway.ip('address', 'flush', 'dev', interfaceName, 'scope', 'global'),
    async ({ lab }) => {
      for (const address of addresses) await lab.gateway.ip('address', 'add', address, 'dev', interfaceName);
      for (const family of [4, 6] as const) {
        await lab.gateway.ip(`-${family}`, 'route', 'replace', 'default', 'via', gatewayOfRoutes[family]);
      }
    },
  );
}

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
