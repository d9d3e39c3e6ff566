/** What of a new configuration can take effect while the gateway runs, and what has to wait for its next start. */
import { TcpfreezeError } from '../base/errors.ts';
import { NEVER } from '../base/time.ts';
import type { Settings } from '../engine/configure.ts';
import type { GatewayConfig } from '../policy/policy.ts';

/** What the engine takes over at once. */
export function settingsOf(config: GatewayConfig): Settings {
  const { policy, limits, links } = config;
  return {
    policy,
    maxOutages: Object.fromEntries(links.map(({ name, maxOutage }) => [name, maxOutage ?? NEVER])),
    custodyBytesPerFlow: limits.custodyBytesPerFlow,
    custodyBytesTotal: limits.custodyBytes,
    flowsPerHost: limits.flowsPerHost,
    parkedSyns: limits.parkedSyns,
  };
}

/** A broken file in one line, however many mistakes it has. */
export function refusedReload(error: Error): TcpfreezeError {
  const [first = '', ...others] = error.message.split('\n');
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  const code = error instanceof TcpfreezeError ? error.code : 'CONFIG_INVALID';
  const message = `the old configuration stays: ${first}${more}`;
  return new TcpfreezeError(code, message, 'check the file: tcpfreeze doctor --config FILE', 1, error);
}

/** Settings that are taken over while running, by their path. */
const CHANGEABLE = [
  /^policy(\.|$)/,
  /^links\.[^.]+\.maxOutage$/,
  /^limits\.(custodyBytes|custodyBytesPerFlow|flowsPerHost|parkedSyns)$/,
  /^log\.level$/,
];

/**
 * Settings that differ and cannot change before the next start.
 * @returns their paths, such as `limits.maxFlows`
 */
export function unchangeable(before: GatewayConfig, after: GatewayConfig): string[] {
  const differing = new Set<string>();
  compare('', named(before), named(after), differing);
  return [...differing].filter((path) => !CHANGEABLE.some((pattern) => pattern.test(path))).sort();
}

/** The configuration that is in effect after a reload: what can change is new, the rest stays. */
export function changed(before: GatewayConfig, after: GatewayConfig): GatewayConfig {
  const { maxFlows, arenaBytes } = before.limits;
  return {
    ...before,
    policy: after.policy,
    limits: { ...after.limits, maxFlows, arenaBytes },
    links: before.links.map((link) => {
      const { maxOutage: _before, ...rest } = link;
      const maxOutage = after.links.find(({ name }) => name === link.name)?.maxOutage;
      return maxOutage === undefined ? rest : { ...rest, maxOutage };
    }),
    log: { ...before.log, level: after.log.level },
  };
}

/** Links by name, so that a difference has the path that it has in the file. */
function named(config: GatewayConfig): object {
  return { ...config, links: Object.fromEntries(config.links.map(({ name, ...link }) => [name, link])) };
}

function compare(path: string, before: unknown, after: unknown, differing: Set<string>): void {
  if (Object.is(before, after)) return;
  if (!isMap(before) || !isMap(after)) {
    if (JSON.stringify(before) !== JSON.stringify(after)) differing.add(path);
    return;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    compare(path === '' ? key : `${path}.${key}`, before[key], after[key], differing);
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
