/** What the configuration means for the datapath and its engine. */
import { randomBytes } from 'node:crypto';
import type { DatapathOptions } from '../datapath/datapath.ts';
import type { PortConfig } from '../engine/engine.ts';
import type { GatewayConfig } from '../policy/policy.ts';
import { findsTranslation } from '../steering/translation.ts';

/**
 * @param absent links whose interface does not exist yet
 * @param journal as the datapath takes it
 */
export async function datapathOptions(
  config: GatewayConfig,
  absent: readonly string[],
  journal: DatapathOptions['journal'],
): Promise<DatapathOptions> {
  const words = new Uint32Array(Uint8Array.from(randomBytes(12)).buffer);
  return {
    tun: { name: config.steering.tun },
    engine: {
      ports: await ports(config, absent),
      maxFlows: config.limits.maxFlows,
      custodyBytesPerFlow: config.limits.custodyBytesPerFlow,
      custodyBytesTotal: config.limits.custodyBytes,
      policy: config.policy,
      flowsPerHost: config.limits.flowsPerHost,
      parkedSyns: config.limits.parkedSyns,
      freezing: true,
      hashKey: [words[0]!, words[1]!],
      seed: words[2]!,
    },
    arenaBytes: config.limits.arenaBytes,
    journal,
  };
}

/** The links as the engine takes them, with what this machine's rules say of address translation. */
async function ports({ links }: GatewayConfig, absent: readonly string[]): Promise<PortConfig[]> {
  const isAsked = links.some((link) => link.role === 'wan' && link.isTranslated === undefined);
  const isTranslating = isAsked && (await findsTranslation());
  return links.map((link) => ({ isTranslated: isTranslating, ...link, absent: absent.includes(link.name) }));
}
