/** Interfaces that are not plain cables: VLANs, bridges, small MTUs, ones that go, come late or come back as others. */
import { describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { ADDRESS, Lab } from '../../src/lab/topology.ts';
import { until } from '../../src/lab/wait.ts';
import { able, type Reality, tellReality } from './reality.ts';

/** Moves the addresses of an interface to another one. */
async function moveAddresses(lab: Lab, from: string, to: string, which: 'gatewayLan' | 'gatewayWan'): Promise<void> {
  await lab.gateway.ip('address', 'flush', 'dev', from, 'scope', 'global');
  await lab.gateway.ip('address', 'add', `${ADDRESS[which][4]}/24`, 'dev', to);
  await lab.gateway.ip('address', 'add', `${ADDRESS[which][6]}/64`, 'dev', to, 'nodad');
}

const SHAPES: readonly Reality[] = [
  {
    name: 'a VLAN sub-interface as WAN',
    gateway: { wan: ['wan0.7'] },
    arrange: async (lab) => {
      const vlan = ['type', 'vlan', 'id', '7'];
      try {
        await lab.gateway.ip('link', 'add', 'link', 'wan0', 'name', 'wan0.7', ...vlan);
      } catch (error) {
        // A kernel without 802.1Q: what is left of the story is a name with a dot and an interface that stands on another one.
        if (!String(error).includes('Unknown device type')) throw error;
        await lab.gateway.ip('link', 'add', 'wan0.7', 'type', 'bridge');
        await lab.gateway.ip('link', 'set', 'wan0', 'master', 'wan0.7');
        await lab.gateway.ip('link', 'set', 'wan0.7', 'up');
        await moveAddresses(lab, 'wan0', 'wan0.7', 'gatewayWan');
        return;
      }
      await lab.gateway.ip('link', 'set', 'wan0.7', 'up');
      await moveAddresses(lab, 'wan0', 'wan0.7', 'gatewayWan');
      await lab.server.ip('link', 'add', 'link', 'eth0', 'name', 'eth0.7', ...vlan);
      await lab.server.ip('address', 'flush', 'dev', 'eth0', 'scope', 'global');
      await lab.server.ip('link', 'set', 'eth0.7', 'up');
      await lab.server.ip('address', 'add', `${ADDRESS.server[4]}/24`, 'dev', 'eth0.7');
      await lab.server.ip('address', 'add', `${ADDRESS.server[6]}/64`, 'dev', 'eth0.7', 'nodad');
      await lab.server.ip('route', 'add', '10.81.1.0/24', 'via', ADDRESS.gatewayWan[4]);
      await lab.server.ip('-6', 'route', 'add', 'fd81:1::/64', 'via', ADDRESS.gatewayWan[6]);
    },
  },
  {
    name: 'a bridge as LAN',
    gateway: { lan: ['br0'] },
    arrange: async (lab) => {
      await lab.gateway.ip('link', 'add', 'br0', 'type', 'bridge');
      await lab.gateway.ip('link', 'set', 'lan0', 'master', 'br0');
      await lab.gateway.ip('link', 'set', 'br0', 'up');
      await moveAddresses(lab, 'lan0', 'br0', 'gatewayLan');
    },
  },
  {
    name: 'MTU 1492 with MSS clamping, as with PPPoE',
    arrange: async (lab) => {
      await lab.gateway.ip('link', 'set', 'wan0', 'mtu', '1492');
      await lab.server.ip('link', 'set', 'eth0', 'mtu', '1492');
      const rules = `table inet clamp { chain forward { type filter hook forward priority mangle;
        iifname "wan0" tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu
        oifname "wan0" tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu
        }
      }`;
      await lab.gateway.exec('nft', ['-f', '-'], rules);
    },
    after: async ({ lab }) => {
      const sockets = await lab.host.exec('ss', ['-tinHO', 'dport', '=', ':5800']);
      // 1492 less 40 of IPv4 and less 60 of IPv6, less 12 of timestamps.
      expect([...sockets.matchAll(/\bmss:(\d+)/g)].map((match) => Number(match[1])).sort()).toEqual([
        1420, 1420, 1440, 1440,
      ]);
    },
  },
  {
    name: 'an interface that goes and comes back as another one, like a USB modem',
    tidy: false,
    lose: async ({ lab }) => {
      // Out of the namespace and back, without addresses and routes; its number is taken by another one meanwhile.
      const [wan] = JSON.parse(await lab.gateway.ip('-j', 'link', 'show', 'wan0')) as [{ readonly ifindex: number }];
      await lab.gateway.ip('link', 'set', 'wan0', 'netns', lab.server.name, 'name', 'parked0');
      await lab.gateway.ip('link', 'add', 'spare0', 'index', `${wan.ifindex}`, 'type', 'bridge');
    },
    restore: async ({ lab }) => {
      await lab.server.ip('link', 'set', 'parked0', 'netns', lab.gateway.name, 'name', 'wan0');
      await lab.gateway.ip('address', 'add', `${ADDRESS.gatewayWan[4]}/24`, 'dev', 'wan0');
      await lab.gateway.ip('address', 'add', `${ADDRESS.gatewayWan[6]}/64`, 'dev', 'wan0', 'nodad');
      await lab.gateway.ip('link', 'set', 'wan0', 'up');
    },
  },
];

describe.skipIf(!able)('router realities', () => {
  test.each(SHAPES)('$name', async (reality) => {
    await tellReality(reality);
  });

  test('an interface that appears later is waited for', async () => {
    const lab = await Lab.create({ topology: 'router' });
    try {
      await lab.gateway.ip('link', 'set', 'wan0', 'down');
      await lab.gateway.ip('link', 'set', 'wan0', 'name', 'later0');
      const gateway = await LabGateway.start(lab);
      expect(gateway.log.join('\n')).toMatch(/there is no interface wan0 yet, it is waited for; there are: .*later0/);
      const link = async () => (await gateway.client.status()).links.find(({ name }) => name === 'wan0');
      expect(await link()).toMatchObject({ state: 'lost', reason: 'interface not there yet' });
      await lab.gateway.ip('link', 'set', 'later0', 'name', 'wan0');
      await lab.gateway.ip('link', 'set', 'wan0', 'mtu', '1500', 'up');
      await until(async () => (await link())?.state === 'up', { what: 'wan0 is up', timeoutMillis: 10_000 });
      expect(await gateway.stop()).toBe(0);
    } finally {
      await lab.dispose();
    }
  });
});
