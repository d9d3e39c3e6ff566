/** Routing that is more than one default route: tables, rules, two uplinks, prefixes that change, validation of sources. */

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ADDRESS, type Lab } from '../../src/lab/topology.ts';
import { able, flowOn, frozen, type Reality, tellReality } from './reality.ts';

const ROUTING: readonly Reality[] = [
  {
    name: 'policy routing: the way to the server is in a second table',
    arrange: async (lab) => {
      // The server's own network goes out of the main table: only the rule for the LAN finds it.
      for (const [family, lan, wan] of [
        ['-4', '10.81.1.0/24', '10.81.2.0/24'],
        ['-6', 'fd81:1::/64', 'fd81:2::/64'],
      ] as const) {
        await lab.gateway.ip(family, 'route', 'del', wan, 'dev', 'wan0');
        await lab.gateway.ip(family, 'route', 'add', wan, 'dev', 'wan0', 'table', '200');
        await lab.gateway.ip(family, 'rule', 'add', 'from', lan, 'lookup', '200', 'priority', '100');
      }
    },
    tidy: false,
  },
  {
    name: 'rules at the priority that the gateway would take',
    arrange: async (lab) => {
      for (const family of ['-4', '-6']) {
        for (const priority of ['99', '100', '101']) {
          await lab.gateway.ip(family, 'rule', 'add', 'fwmark', priority, 'lookup', '300', 'priority', priority);
        }
      }
    },
    during: async ({ lab }) => {
      const rules = await lab.gateway.ip('rule');
      expect(rules).toMatch(/^98:\s+from all iif lan0 ipproto tcp/m);
    },
  },
  {
    name: 'sources are validated strictly',
    sysctl: { gateway: { 'net.ipv4.conf.all.rp_filter': 1, 'net.ipv4.conf.default.rp_filter': 1 } },
  },
];

/**
 * Two uplinks: the emulated link on wan0, and a plain cable of 20 Mb/s on wan1. The server has an address that both lead to; what
 * decides is the default route, as with a metric or with mwan3.
 */
const FAR = { 4: '10.81.9.9', 6: 'fd81:9::9' } as const;

async function secondUplink(lab: Lab): Promise<void> {
  await lab.gateway.ip('link', 'add', 'wan1', 'type', 'veth', 'peer', 'name', 'eth1', 'netns', lab.server.name);
  for (const [space, device, last] of [
    [lab.gateway, 'wan1', 1],
    [lab.server, 'eth1', 2],
  ] as const) {
    await space.ip('link', 'set', device, 'up');
    await space.ip('address', 'add', `10.81.3.${last}/24`, 'dev', device);
    await space.ip('address', 'add', `fd81:3::${last}/64`, 'dev', device, 'nodad');
    await space.exec('tc', [
      'qdisc',
      'add',
      'dev',
      device,
      'root',
      'tbf',
      'rate',
      '20mbit',
      'burst',
      '32kb',
      'latency',
      '50ms',
    ]);
  }
  await lab.server.ip('address', 'add', FAR[4], 'dev', 'lo');
  await lab.server.ip('address', 'add', FAR[6], 'dev', 'lo');
  await defaultVia(lab, 'wan0');
}

/** Both directions by one uplink. */
async function defaultVia(lab: Lab, name: 'wan0' | 'wan1'): Promise<void> {
  const net = name === 'wan0' ? 2 : 3;
  await lab.gateway.ip('route', 'replace', 'default', 'via', `10.81.${net}.2`, 'dev', name);
  await lab.gateway.ip('-6', 'route', 'replace', 'default', 'via', `fd81:${net}::2`, 'dev', name);
  await lab.server.ip('route', 'replace', '10.81.1.0/24', 'via', `10.81.${net}.1`);
  await lab.server.ip('-6', 'route', 'replace', 'fd81:1::/64', 'via', `fd81:${net}::1`);
}

const UPLINKS: readonly Reality[] = [
  {
    name: 'the default route switches to the second uplink: connections go on over it',
    gateway: { wan: ['wan0', 'wan1'] },
    tidy: false,
    server: FAR,
    arrange: secondUplink,
    restore: ({ lab }) => defaultVia(lab, 'wan1'),
    after: async ({ lab, gateway, flows }) => {
      expect((await gateway.client.status()).links.map(({ name, state }) => `${name} ${state}`)).toEqual([
        'lan0 up',
        'wan0 lost',
        'wan1 up',
      ]);
      // They belong to the second uplink now: its loss is theirs, and the first one's return is their way on.
      await lab.gateway.ip('link', 'set', 'wan1', 'down');
      await frozen(gateway, flows.length);
      await lab.link.restore();
      await defaultVia(lab, 'wan0');
      await flowOn(flows, 'back on the first uplink');
    },
  },
  {
    name: 'with translated addresses connections wait for the uplink that they began on',
    topology: 'nat',
    gateway: { wan: ['wan0', 'wan1'] },
    tidy: false,
    server: FAR,
    flows: [
      { mode: 'upload', family: 4 },
      { mode: 'download', family: 4 },
    ],
    arrange: async (lab) => {
      await secondUplink(lab);
      await lab.gateway.exec('nft', ['add', 'rule', 'inet', 'lab', 'postrouting', 'oifname', 'wan1', 'masquerade']);
    },
    during: async ({ lab, gateway, flows }) => {
      await defaultVia(lab, 'wan1');
      await sleep(1_000);
      expect((await gateway.client.status()).flows.frozen).toBe(flows.length);
      await defaultVia(lab, 'wan0');
    },
  },
];

const OTHER = '10.81.2.77/24';

/** The provider gives the uplink another address, and takes that back: the link works all the time, but not for these connections. */
const READDRESSED: Reality = {
  name: 'the address that connections are translated to is another one for a while',
  topology: 'nat',
  // Without it the second address of a network goes with the first.
  sysctl: { gateway: { 'net.ipv4.conf.all.promote_secondaries': 1 } },
  tidy: false,
  flows: [
    { mode: 'upload', family: 4 },
    { mode: 'download', family: 4 },
  ],
  lose: async ({ lab }) => {
    await lab.gateway.ip('address', 'add', OTHER, 'dev', 'wan0');
    await lab.gateway.ip('address', 'del', `${ADDRESS.gatewayWan[4]}/24`, 'dev', 'wan0');
  },
  during: async ({ gateway, traffic }) => {
    const { links } = await gateway.client.status();
    expect(links.find(({ name }) => name === 'wan0')?.state).toBe('up');
    const next = await traffic.open({ mode: 'upload', family: 4 });
    await flowOn([next], 'a connection that begins with the new address');
    expect(await next.end()).toMatchObject({ hashEqual: true, sent: { error: null }, received: { error: null } });
  },
  restore: async ({ lab }) => {
    // As NetworkManager does it: both for a moment.
    await lab.gateway.ip('address', 'add', `${ADDRESS.gatewayWan[4]}/24`, 'dev', 'wan0');
    await lab.gateway.ip('address', 'del', OTHER, 'dev', 'wan0');
  },
};

/** A delegated prefix is another one after the outage, and the old one is still routed for a while (RFC 9096). */
const RENUMBERED: Reality = {
  name: 'the delegated IPv6 prefix changes during the outage',
  tidy: false,
  during: async ({ lab }) => {
    await lab.gateway.ip('address', 'add', 'fd81:77::1/64', 'dev', 'lan0', 'nodad');
    await lab.gateway.ip('address', 'change', `${ADDRESS.gatewayLan[6]}/64`, 'dev', 'lan0', 'preferred_lft', '0');
    await lab.host.ip('address', 'add', 'fd81:77::2/64', 'dev', 'eth0', 'nodad');
    await lab.host.ip('address', 'change', `${ADDRESS.host[6]}/64`, 'dev', 'eth0', 'preferred_lft', '0');
    await lab.server.ip('-6', 'route', 'add', 'fd81:77::/64', 'via', ADDRESS.gatewayWan[6]);
  },
  after: async ({ gateway, traffic, lab, flows }) => {
    const next = await traffic.open({ mode: 'upload', family: 6 });
    await flowOn([next], 'a connection from the new prefix');
    const listed = await gateway.client.flows(false);
    expect(listed.map(({ originator }) => originator)).toContainEqual(expect.stringContaining('[fd81:77::2]:'));
    // Steered and protected as the others are.
    await lab.link.cut('carrier');
    await frozen(gateway, flows.length + 1);
    await lab.link.restore();
    await flowOn([next, ...flows], 'the second outage');
    expect(await next.end()).toMatchObject({ hashEqual: true, sent: { error: null }, received: { error: null } });
  },
};

describe.skipIf(!able)('router realities', () => {
  test.each(UPLINKS)('$name', async (reality) => {
    await tellReality(reality);
  });

  test.each([RENUMBERED, READDRESSED])('$name', async (reality) => {
    await tellReality(reality);
  });

  test.each(ROUTING)('$name', async (reality) => {
    await tellReality(reality);
  });
});
