/** Routing that is more than one default route: tables, rules, two uplinks, prefixes that change, validation of sources. */
import { describe, expect, test } from 'vitest';
import { able, type Reality, tellReality } from './reality.ts';

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

describe.skipIf(!able)('router realities', () => {
  test.each(ROUTING)('$name', async (reality) => {
    await tellReality(reality);
  });
});
