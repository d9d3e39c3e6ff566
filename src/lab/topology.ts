/**
 * The networks of the lab, dual stack, each a row of namespaces joined by veth pairs:
 *
 *     router   host -- lan0 [gateway] wan0 -- [link] -- server
 *     nat      as router, the gateway masquerades on wan0
 *     access   host -- [link] -- lan0 [gateway] wan0 -- server
 *     site     two hosts on a bridge lan0 [gateway] wan0 -- [link] -- isp -- server        (site.ts)
 *
 * The link works on layer 2, so the subnet goes on behind it. Duplicate address detection is off: nothing waits for addresses.
 * Offloads are off on the cables of the emulated link, so that it sees single frames with full checksums, and on elsewhere.
 *
 * A further topology is a further row of cables and links in `Plan`; nothing else knows which ones there are.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { chooseCongestion, selectCongestion } from './congestion.ts';
import { EmulatedLink, type LinkSettings, STANDARD_LINK } from './link-handle.ts';
import { Namespace, namespaceName, nextLabNumber } from './namespace.ts';
import { runCommand } from './run-command.ts';
import { addressSite } from './site.ts';

export type TopologyName = 'router' | 'nat' | 'access' | 'site';
export type Family = 4 | 6;

/** Where every address of the lab is. Nothing of it exists outside the run's own namespaces. */
export const ADDRESS = {
  host: { 4: '10.81.1.2', 6: 'fd81:1::2' },
  guest: { 4: '10.81.1.3', 6: 'fd81:1::3' },
  gatewayLan: { 4: '10.81.1.1', 6: 'fd81:1::1' },
  gatewayWan: { 4: '10.81.2.1', 6: 'fd81:2::1' },
  server: { 4: '10.81.2.2', 6: 'fd81:2::2' },
} as const;

export const LAN_INTERFACE = 'lan0';
export const WAN_INTERFACE = 'wan0';
/** The interface of the host and of the server. */
export const END_INTERFACE = 'eth0';
/** Of a `site`: the provider's interface towards the server, and the gateway's bridge ports. */
export const ISP_SERVER_INTERFACE = 'eth1';
export const HOST_PORT = 'lan1';
export const GUEST_PORT = 'lan2';

const LAN_SUBNET = { 4: '10.81.1.0/24', 6: 'fd81:1::/64' } as const;

export interface LabOptions {
  readonly topology: TopologyName;
  /** Default: 100 Mb/s, 40 ms round trip, queues of 400 packets. */
  readonly link?: LinkSettings;
  /** MTU of every cable, default 1500. */
  readonly mtu?: number;
  /** Congestion control of host and server, default cubic. */
  readonly congestion?: string;
  /** Kernel parameters of one role, e.g. `{host: {'net.ipv4.tcp_retries2': 5}}`. */
  readonly sysctl?: Readonly<Partial<Record<Role, Readonly<Record<string, string | number>>>>>;
}

export type Role = 'host' | 'gateway' | 'link' | 'server' | 'guest' | 'isp';

/** `guest` and `isp` are there in a `site` only. */
type Roles = Readonly<Record<Exclude<Role, 'guest' | 'isp'>, Namespace>> & Partial<Record<Role, Namespace>>;

/** A veth pair. Ends of an emulated link carry no addresses and no offloads. */
interface Cable {
  readonly ends: readonly [CableEnd, CableEnd];
  readonly emulated: boolean;
}

interface CableEnd {
  readonly role: Role;
  readonly interface: string;
}

interface Plan {
  readonly cables: readonly Cable[];
  /** The gateway's interface that faces the emulated link. */
  readonly gatewayInterface: string;
  readonly masquerade: boolean;
}

const STANDARD_MTU = 1_500;
/** Ethernet header and a VLAN tag. */
const FRAME_OVERHEAD = 18;
const GATEWAY_END = 'toGateway';
const OTHER_END = 'toOther';

function cable(a: [Role, string], b: [Role, string], emulated: boolean): Cable {
  return {
    ends: [
      { role: a[0], interface: a[1] },
      { role: b[0], interface: b[1] },
    ],
    emulated,
  };
}

const ROUTER: Plan = {
  cables: [
    cable(['host', END_INTERFACE], ['gateway', LAN_INTERFACE], false),
    cable(['gateway', WAN_INTERFACE], ['link', GATEWAY_END], true),
    cable(['server', END_INTERFACE], ['link', OTHER_END], true),
  ],
  gatewayInterface: WAN_INTERFACE,
  masquerade: false,
};

const SITE_PLAN: Plan = {
  cables: [
    cable(['host', END_INTERFACE], ['gateway', HOST_PORT], false),
    cable(['guest', END_INTERFACE], ['gateway', GUEST_PORT], false),
    cable(['gateway', WAN_INTERFACE], ['link', GATEWAY_END], true),
    cable(['isp', END_INTERFACE], ['link', OTHER_END], true),
    cable(['isp', ISP_SERVER_INTERFACE], ['server', END_INTERFACE], false),
  ],
  gatewayInterface: WAN_INTERFACE,
  masquerade: false,
};

const PLANS: Readonly<Record<TopologyName, Plan>> = {
  router: ROUTER,
  site: SITE_PLAN,
  nat: { ...ROUTER, masquerade: true },
  access: {
    cables: [
      cable(['host', END_INTERFACE], ['link', OTHER_END], true),
      cable(['gateway', LAN_INTERFACE], ['link', GATEWAY_END], true),
      cable(['gateway', WAN_INTERFACE], ['server', END_INTERFACE], false),
    ],
    gatewayInterface: LAN_INTERFACE,
    masquerade: false,
  },
};

/** A network that is up. `dispose` removes it; so does the end of the process. */
export class Lab {
  readonly topology: TopologyName;
  readonly host: Namespace;
  readonly gateway: Namespace;
  readonly server: Namespace;
  /** Another host on the LAN, and the provider's router: of a `site` only. */
  readonly guest: Namespace | undefined;
  readonly isp: Namespace | undefined;
  readonly link: EmulatedLink;
  /** The interface of the gateway that loses its carrier when the link is cut. */
  readonly lostInterface: string;
  readonly #all: readonly Namespace[];

  private constructor(topology: TopologyName, roles: Roles, link: EmulatedLink) {
    this.topology = topology;
    this.host = roles.host;
    this.gateway = roles.gateway;
    this.server = roles.server;
    this.guest = roles.guest;
    this.isp = roles.isp;
    this.link = link;
    this.lostInterface = PLANS[topology].gatewayInterface;
    this.#all = Object.values(roles);
  }

  /** @throws TcpfreezeError: no permission, a program is missing, congestion control not available; nothing is left then */
  static async create(options: LabOptions): Promise<Lab> {
    const plan = PLANS[options.topology];
    const congestion = await chooseCongestion(options.congestion ?? 'cubic');
    const number = nextLabNumber();
    const made: Namespace[] = [];
    const make = async (role: Role): Promise<Namespace> => {
      const namespace = await Namespace.create(namespaceName(number, role));
      made.push(namespace);
      return namespace;
    };
    try {
      const roles: Roles = {
        host: await make('host'),
        gateway: await make('gateway'),
        link: await make('link'),
        server: await make('server'),
        ...(options.topology === 'site' ? { guest: await make('guest'), isp: await make('isp') } : {}),
      };
      await setKernel(roles, congestion, options);
      for (const one of plan.cables) await plug(one, roles, options.mtu ?? STANDARD_MTU);
      const { guest, isp } = roles;
      if (guest !== undefined && isp !== undefined) await addressSite({ ...roles, guest, isp });
      else await setAddresses(roles, plan);
      const link = await EmulatedLink.start(
        {
          namespace: roles.link,
          gatewayEnd: GATEWAY_END,
          otherEnd: OTHER_END,
          gateway: roles.gateway,
          gatewayInterface: plan.gatewayInterface,
        },
        { frameBytes: (options.mtu ?? STANDARD_MTU) + FRAME_OVERHEAD, ...(options.link ?? STANDARD_LINK) },
      );
      return new Lab(options.topology, roles, link);
    } catch (error) {
      await Promise.all(made.map((namespace) => namespace.dispose()));
      throw error;
    }
  }

  async dispose(): Promise<void> {
    await this.link.stop();
    await Promise.all(this.#all.map((namespace) => namespace.dispose()));
  }
}

async function setKernel(roles: Roles, congestion: string, options: LabOptions): Promise<void> {
  const noDad = { 'net.ipv6.conf.all.accept_dad': 0, 'net.ipv6.conf.default.accept_dad': 0 };
  const endpoint = {
    ...noDad,
    // A metrics cache would carry ssthresh from one story to the next.
    'net.ipv4.tcp_no_metrics_save': 1,
  };
  const router = {
    ...noDad,
    'net.ipv4.ip_forward': 1,
    'net.ipv6.conf.all.forwarding': 1,
    // IPv6 addresses would not come back after the interface was down; on a real router they are configured again.
    'net.ipv6.conf.all.keep_addr_on_down': 1,
    'net.ipv6.conf.default.keep_addr_on_down': 1,
  };
  const standard: Record<Role, Record<string, string | number>> = {
    host: endpoint,
    guest: endpoint,
    server: endpoint,
    isp: router,
    gateway: router,
    // The link is a wire: it must not speak.
    link: { 'net.ipv6.conf.all.disable_ipv6': 1, 'net.ipv6.conf.default.disable_ipv6': 1 },
  };
  for (const [role, namespace] of Object.entries(roles) as [Role, Namespace][]) {
    await namespace.sysctl({ ...standard[role], ...options.sysctl?.[role] });
    if (standard[role] === endpoint) await selectCongestion(namespace, congestion);
  }
}

async function plug(one: Cable, roles: Roles, mtu: number): Promise<void> {
  const [a, b] = one.ends;
  const of = (end: CableEnd): Namespace => roles[end.role]!;
  const peer = ['peer', 'name', b.interface, 'netns', of(b).name];
  await of(a).ip('link', 'add', a.interface, 'type', 'veth', ...peer);
  for (const end of one.ends) {
    if (one.emulated) {
      await of(end).exec('ethtool', ['-K', end.interface, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off']);
    }
    await of(end).ip('link', 'set', end.interface, 'mtu', `${mtu}`, 'up');
  }
}

async function setAddresses(roles: Roles, plan: Plan): Promise<void> {
  const { host, gateway, server } = roles;
  const add = async (to: Namespace, device: string, address: { readonly 4: string; readonly 6: string }) => {
    await to.ip('address', 'add', `${address[4]}/24`, 'dev', device);
    await to.ip('address', 'add', `${address[6]}/64`, 'dev', device, 'nodad');
  };
  await add(host, END_INTERFACE, ADDRESS.host);
  await add(gateway, LAN_INTERFACE, ADDRESS.gatewayLan);
  await add(gateway, WAN_INTERFACE, ADDRESS.gatewayWan);
  await add(server, END_INTERFACE, ADDRESS.server);
  for (const family of [4, 6] as const) {
    await host.ip(`-${family}`, 'route', 'add', 'default', 'via', ADDRESS.gatewayLan[family]);
    if (plan.masquerade) continue;
    await server.ip(`-${family}`, 'route', 'add', LAN_SUBNET[family], 'via', ADDRESS.gatewayWan[family]);
  }
  if (plan.masquerade) await masquerade(gateway);
}

/** As a home router does it: everything that leaves on the WAN side gets the router's address. */
async function masquerade(gateway: Namespace): Promise<void> {
  const rules = `table inet lab {
    chain postrouting {
      type nat hook postrouting priority srcnat;
      oifname "${WAN_INTERFACE}" masquerade
    }
  }`;
  await gateway.exec('nft', ['-f', '-'], rules);
}

/** Fails early, with the remedy, where the lab cannot run. @throws TcpfreezeError LAB_PERMISSION */
export async function assertLabPossible(): Promise<void> {
  if (process.getuid?.() !== 0) {
    const remedy = 'run it as root, or where user namespaces are allowed: unshare -Urnm';
    throw new TcpfreezeError('LAB_PERMISSION', 'the lab needs root to make network namespaces', remedy);
  }
  await runCommand('ip', ['netns', 'list']);
}
