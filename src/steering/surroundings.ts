/**
 * What on this machine stands in the gateway's way, or is in the way of others because of it: looked at by `doctor` and
 * at every start. Changes nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { GatewayConfig } from '../policy/policy.ts';
import { isInstalled, run } from './command.ts';
import { firewallObstacles, type Obstacle } from './firewall.ts';
import { readRouting } from './leftovers.ts';
import { missingCapabilities } from './machine.ts';
import { choosePriority, chooseTable, type Family, isOurs, type RuleEntry } from './rules.ts';
import { hasIpv6, readSysctl } from './sysctl.ts';

export type { Obstacle } from './firewall.ts';

/** One thing that is looked at. */
export interface Look {
  readonly check: string;
  find(config: GatewayConfig): Promise<Obstacle[]>;
}

export const SURROUNDINGS: readonly Look[] = [
  { check: 'forwarding', find: forwarding },
  { check: 'firewall', find: firewall },
  { check: 'routing rules', find: routingRules },
  { check: 'uplinks', find: uplinks },
];

/** Everything found, with what was looked at. Problems in looking are no obstacle. */
export async function obstacles(config: GatewayConfig): Promise<(Obstacle & { readonly check: string })[]> {
  const found = await Promise.all(
    SURROUNDINGS.map(async ({ check, find }) =>
      (await find(config).catch(() => [])).map((obstacle) => ({ check, ...obstacle })),
    ),
  );
  return found.flat();
}

function namesOf(config: GatewayConfig, role: 'lan' | 'wan'): string[] {
  return config.links.filter((link) => link.role === role).map((link) => link.name);
}

function families(): Family[] {
  return hasIpv6() ? [4, 6] : [4];
}

/** A host does not forward; a router may forward on some interfaces only. */
async function forwarding(config: GatewayConfig): Promise<Obstacle[]> {
  const found: Obstacle[] = [];
  for (const family of families()) {
    const tree = `ipv${family}/conf`;
    const all = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
    if (readSysctl(family === 4 ? 'ipv4/ip_forward' : 'ipv6/conf/all/forwarding') === '0') {
      const state = family === 4 ? 'fail' : 'warn';
      found.push({
        state,
        found: `IPv${family} forwarding is off: this machine is no router`,
        remedy: `sysctl -w ${all}=1`,
      });
      continue;
    }
    const closed = config.links.filter(({ name }) => readSysctl(`${tree}/${name}/forwarding`) === '0');
    for (const { name } of family === 4 ? closed : []) {
      found.push({
        state: 'fail',
        found: `IPv${family} forwarding is off on ${name}`,
        remedy: `sysctl -w net.ipv${family}.conf.${name.replaceAll('.', '/')}.forwarding=1`,
      });
    }
  }
  return found;
}

async function firewall(config: GatewayConfig): Promise<Obstacle[]> {
  const found: Obstacle[] = [];
  if (legacyTables().includes('filter')) {
    found.push({
      state: 'warn',
      found: 'rules of the older iptables are loaded, which are not looked at here',
      remedy: `see that they know the TUN device: iptables-legacy -S FORWARD | grep ${config.steering.tun}`,
    });
  }
  if (missingCapabilities().length > 0 || !(await isInstalled('nft'))) return found;
  const options = { tun: config.steering.tun, lan: namesOf(config, 'lan'), wan: namesOf(config, 'wan') };
  return [...found, ...firewallObstacles(await run('nft', ['-j', 'list', 'ruleset']), options)];
}

/** Tables of the older iptables; its rules do not show in nft. */
export function legacyTables(): string[] {
  try {
    return readFileSync('/proc/net/ip_tables_names', 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** Rules of others that look at what the detour changes, and whether there is room for ours. */
async function routingRules(config: GatewayConfig): Promise<Obstacle[]> {
  const found: Obstacle[] = [];
  const states = await Promise.all(families().map(readRouting));
  try {
    chooseTable(config.steering.table, states);
    choosePriority(config.steering.priority, states);
  } catch (error) {
    const { message, remedy } = error as { readonly message: string; readonly remedy?: string };
    found.push({ state: 'fail', found: message, remedy: remedy ?? '' });
  }
  const foreign = states.flatMap(({ rules }) => rules.filter((rule) => !isOurs(rule)));
  const names = new Set(config.links.map((link) => link.name));
  const byInput = foreign.filter((rule) => rule.iif !== undefined && names.has(rule.iif));
  if (byInput.length > 0) {
    found.push({
      state: 'warn',
      found: `routing rules by input interface (${priorities(byInput)}) do not see steered TCP: it comes from ${config.steering.tun} when it is routed`,
      remedy: 'select by source instead: ip rule add from PREFIX lookup TABLE',
    });
  }
  const byMark = foreign.filter((rule) => rule.fwmark !== undefined);
  if (byMark.length > 0) {
    found.push({
      state: 'warn',
      found: `routing rules by mark (${priorities(byMark)}): marks do not survive the TUN`,
      remedy: `let what sets the mark set it for iifname ${config.steering.tun}, too`,
    });
  }
  return found;
}

function priorities(rules: readonly RuleEntry[]): string {
  return `priority ${[...new Set(rules.map((rule) => rule.priority))].join(', ')}`;
}

/** With translation a connection belongs to the uplink whose address it got. */
async function uplinks(config: GatewayConfig): Promise<Obstacle[]> {
  if (namesOf(config, 'wan').length < 2 || missingCapabilities().length > 0 || !(await isInstalled('nft'))) return [];
  if (!/\b(masquerade|snat)\b|xt target "(MASQUERADE|SNAT)"/.test(await run('nft', ['list', 'ruleset']))) return [];
  return [
    {
      state: 'warn',
      found: 'several uplinks with address translation: a connection can only go on over the uplink that it began on',
      remedy: 'nothing to be done; its freeze lasts until that uplink is back',
    },
  ];
}

/** Interfaces whose sources are validated strictly (RFC 3704); the TUN exempts itself. */
export function strictInterfaces(): string[] {
  return readdirSync('/proc/sys/net/ipv4/conf').filter((name) => readSysctl(`ipv4/conf/${name}/rp_filter`) === '1');
}
