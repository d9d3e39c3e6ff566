/** Address translation, stateful firewalls, iptables: what filters and translates beside the gateway. */

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Finding } from '../../src/cli/doctor.ts';
import { compiledProgram } from '../../src/lab/child.ts';
import { LabGateway } from '../../src/lab/gateway.ts';
import { Lab } from '../../src/lab/topology.ts';
import { Traffic } from '../../src/lab/traffic-handle.ts';
import { able, type Reality, tellReality } from './reality.ts';

const nft = (lab: Lab, rules: string): Promise<string> => lab.gateway.exec('nft', ['-f', '-'], rules);

/** As a home router: everything towards the WAN gets its address; connections of the server's side cannot be opened then. */
const NAT: readonly Reality[] = [
  { name: 'masquerade, carrier lost', topology: 'nat' },
  {
    name: 'masquerade, interface set down and up: the kernel forgets its mappings',
    topology: 'nat',
    lose: async ({ lab }) => void (await lab.link.cut('admin')),
  },
  {
    name: 'source translation to a fixed address',
    arrange: async (lab) => {
      const rules = `table inet lab { chain post { type nat hook postrouting priority srcnat;
        oifname "wan0" ip saddr 10.81.1.0/24 snat ip to 10.81.2.1
        oifname "wan0" ip6 saddr fd81:1::/64 snat ip6 to fd81:2::1
        }
      }`;
      await nft(lab, rules);
      await lab.server.ip('route', 'del', '10.81.1.0/24');
      await lab.server.ip('-6', 'route', 'del', 'fd81:1::/64');
    },
  },
  {
    name: 'masquerade by iptables (nftables compatible)',
    arrange: async (lab) => {
      for (const program of ['iptables-nft', 'ip6tables-nft']) {
        await lab.gateway.exec(program, ['-t', 'nat', '-A', 'POSTROUTING', '-o', 'wan0', '-j', 'MASQUERADE']);
      }
      await lab.server.ip('route', 'del', '10.81.1.0/24');
      await lab.server.ip('-6', 'route', 'del', 'fd81:1::/64');
    },
  },
];

/** The last lines of many firewalls. */
const STATEFUL = (policy: string, more = ''): string => `table inet fw {
  chain forward { type filter hook forward priority filter; policy ${policy};
    ct state invalid drop
    ct state established,related accept
    iifname "lan0" oifname "wan0" accept
    ${more}
  }
}`;

const FIREWALLS: readonly Reality[] = [
  {
    name: 'a stateful firewall that drops what is invalid',
    arrange: async (lab) => void (await nft(lab, STATEFUL('accept'))),
  },
  {
    name: 'the same, with masquerade, interface set down and up',
    topology: 'nat',
    arrange: async (lab) => void (await nft(lab, STATEFUL('accept'))),
    lose: async ({ lab }) => void (await lab.link.cut('admin')),
  },
];

/** Does what doctor says; the gateway would not start before. */
async function obeyDoctor(lab: Lab, check: string, refusal: RegExp | null): Promise<void> {
  if (refusal !== null) await expect(LabGateway.start(lab)).rejects.toThrow(refusal);
  const command = [compiledProgram('cli.js'), 'doctor', '--json', '--lan', 'lan0', '--wan', 'wan0'];
  // Its exit code says that something is wrong; what, says the output.
  const told = await lab.gateway.exec('sh', ['-c', '"$@" || true', 'sh', process.execPath, ...command]);
  const findings = JSON.parse(told) as Finding[];
  const concerned = findings.filter((finding) => finding.check === check && finding.state !== 'ok');
  expect(concerned.length).toBeGreaterThan(0);
  for (const { remedy } of concerned) await lab.gateway.exec('sh', ['-c', remedy]);
}

/** What cannot work as it is, and works after what doctor proposes. */
const MENDED: readonly Reality[] = [
  {
    name: 'a firewall that drops what it does not know',
    arrange: async (lab) => {
      await nft(lab, STATEFUL('drop', 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'));
      await obeyDoctor(lab, 'firewall', /inet fw forward drops .* not know the TUN device tcpfreeze0; nft insert rule/);
    },
  },
  {
    name: 'the same, made with iptables',
    arrange: async (lab) => {
      for (const program of ['iptables-nft', 'ip6tables-nft']) {
        await lab.gateway.exec(program, ['-P', 'FORWARD', 'DROP']);
        await lab.gateway.exec(program, ['-A', 'FORWARD', '-i', 'lan0', '-o', 'wan0', '-j', 'ACCEPT']);
        const answers = ['-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'];
        await lab.gateway.exec(program, ['-A', 'FORWARD', ...answers]);
      }
      await obeyDoctor(lab, 'firewall', /ip6? filter FORWARD drops .*; ip6?tables -I FORWARD/);
    },
  },
  {
    name: 'forwarding is off',
    sysctl: { gateway: { 'net.ipv4.ip_forward': 0, 'net.ipv6.conf.all.forwarding': 0 } },
    arrange: async (lab) => {
      const gateway = await LabGateway.start(lab);
      expect(gateway.log.join('\n')).toMatch(/IPv4 forwarding is off: this machine is no router/);
      await gateway.stop();
      await obeyDoctor(lab, 'forwarding', null);
    },
  },
];

describe.skipIf(!able)('router realities', () => {
  test.each(NAT)('$name', async (reality) => {
    await tellReality(reality);
  });
  test.each(MENDED)('doctor mends: $name', async (reality) => {
    await tellReality(reality);
  });

  test('a guest network stays apart where the rule asks where packets really go', async () => {
    const lab = await Lab.create({ topology: 'router' });
    try {
      await nft(
        lab,
        'table inet fw { chain forward { type filter hook forward priority filter; iifname "wan0" oifname "lan0" tcp flags & (syn | ack) == syn drop; }; }',
      );
      const opened = async (): Promise<boolean> => {
        const traffic = await Traffic.start(lab);
        const open = traffic.open({ mode: 'echo', opener: 'server' }).then(
          () => true,
          () => false,
        );
        const result = await Promise.race([open, sleep(1_500, false)]);
        await traffic.stop();
        return result;
      };
      const gateway = await LabGateway.start(lab);
      expect(gateway.log.join('\n')).toMatch(
        /forbid an output interface \(handle forward \d+\) do not see steered TCP/,
      );
      // The reason for the warning, and that its remedy is one.
      expect(await opened()).toBe(true);
      await nft(
        lab,
        'add rule inet fw forward iifname "wan0" fib daddr oifname "lan0" tcp flags & (syn | ack) == syn drop',
      );
      expect(await opened()).toBe(false);
      expect(await gateway.stop()).toBe(0);
    } finally {
      await lab.dispose();
    }
  });

  test.each(FIREWALLS)('$name', async (reality) => {
    const log = await tellReality(reality);
    expect(log.join('\n')).toContain('ready');
  });
});
