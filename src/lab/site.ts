/**
 * The topology `site`, for stories of detection: a LAN with two hosts on a bridge, and a provider's router behind the emulated link.
 *
 *     host  ─ lan1 ┐
 *                  ├ lan0 (bridge) [gateway] wan0 ── [link] ── eth0 [isp] eth1 ── server
 *     guest ─ lan2 ┘
 *
 * The gateway's default route leads to the provider's router, which is what it can ask; the server is beyond. Host and server have
 * the addresses of the other topologies.
 */
import type { Namespace } from './namespace.ts';
import {
  ADDRESS,
  END_INTERFACE,
  GUEST_PORT,
  HOST_PORT,
  ISP_SERVER_INTERFACE,
  LAN_INTERFACE,
  WAN_INTERFACE,
} from './topology.ts';

/** The network between gateway and provider, and the provider's end towards the server. */
export const SITE = {
  gatewayWan: { 4: '10.81.4.1', 6: 'fd81:4::1' },
  ispWan: { 4: '10.81.4.2', 6: 'fd81:4::2' },
  ispServer: { 4: '10.81.2.1', 6: 'fd81:2::1' },
} as const;

export const LAN_SUBNET = { 4: '10.81.1.0/24', 6: 'fd81:1::/64' } as const;

export interface SiteRoles {
  readonly host: Namespace;
  readonly guest: Namespace;
  readonly gateway: Namespace;
  readonly isp: Namespace;
  readonly server: Namespace;
}

interface Both {
  readonly 4: string;
  readonly 6: string;
}

/** Bridge, addresses and routes; the cables are plugged. */
export async function addressSite({ host, guest, gateway, isp, server }: SiteRoles): Promise<void> {
  await gateway.ip('link', 'add', LAN_INTERFACE, 'type', 'bridge', 'forward_delay', '0');
  for (const port of [HOST_PORT, GUEST_PORT]) {
    await gateway.ip('link', 'set', port, 'master', LAN_INTERFACE);
  }
  await gateway.ip('link', 'set', LAN_INTERFACE, 'up');
  const add = async (to: Namespace, device: string, address: Both): Promise<void> => {
    await to.ip('address', 'add', `${address[4]}/24`, 'dev', device);
    await to.ip('address', 'add', `${address[6]}/64`, 'dev', device, 'nodad');
  };
  await add(host, END_INTERFACE, ADDRESS.host);
  await add(guest, END_INTERFACE, ADDRESS.guest);
  await add(gateway, LAN_INTERFACE, ADDRESS.gatewayLan);
  await add(gateway, WAN_INTERFACE, SITE.gatewayWan);
  await add(isp, END_INTERFACE, SITE.ispWan);
  await add(isp, ISP_SERVER_INTERFACE, SITE.ispServer);
  await add(server, END_INTERFACE, ADDRESS.server);
  for (const family of [4, 6] as const) {
    const route = (from: Namespace, to: string, via: Both): Promise<string> =>
      from.ip(`-${family}`, 'route', 'add', to, 'via', via[family]);
    await route(host, 'default', ADDRESS.gatewayLan);
    await route(guest, 'default', ADDRESS.gatewayLan);
    await route(gateway, 'default', SITE.ispWan);
    await route(isp, LAN_SUBNET[family], SITE.gatewayWan);
    await route(server, 'default', SITE.ispServer);
  }
}
