/** What is checked before the gateway changes anything of the machine. */
import { TcpfreezeError } from '../base/errors.ts';
import { parseFilter } from '../capture/filter-language.ts';
import { assertCaptureFile } from '../capture/output-file.ts';
import type { Log } from '../control/log.ts';
import { assertSocketFree } from '../control/socket.ts';
import type { GatewayConfig } from '../policy/policy.ts';
import { isInstalled, missingProgram, missingTracker } from './command.ts';
import { assertCapable, assertTunDevice, findInterfaces } from './machine.ts';
import { obstacles } from './surroundings.ts';
import { readSysctl } from './sysctl.ts';

export interface PreflightOptions {
  readonly config: GatewayConfig;
  /** Path of the control socket. */
  readonly control: string;
  /** Whether rules and routes will be set up. */
  readonly steering: boolean;
}

/**
 * Everything that can be known before anything is changed.
 * @throws TcpfreezeError the first thing that is wrong
 */
export async function preflight(options: PreflightOptions, log: Log): Promise<void> {
  const { config, control } = options;
  assertCapable();
  assertTunDevice();
  if (!(await isInstalled('ip'))) throw missingProgram('ip');
  if (options.steering && config.steering.connectionTracking === 'auto' && !(await isInstalled('nft'))) {
    if (readSysctl('netfilter/nf_conntrack_count') !== undefined) throw missingTracker();
  }
  const links = config.links.map((link) => link.name);
  await findInterfaces(links);
  if (config.capture !== null) {
    parseFilter(config.capture.filter, links);
    assertCaptureFile(config.capture.file);
  }
  await assertSocketFree(control);
  if (options.steering) await checkSurroundings(config, log);
}

/** What stands in the way is said; a firewall that would drop everything is a reason not to start. */
async function checkSurroundings(config: GatewayConfig, log: Log): Promise<void> {
  for (const { check: what, state, found, remedy } of await obstacles(config)) {
    if (state === 'fail' && what === 'firewall' && config.steering.firewall === 'check') {
      throw new TcpfreezeError('FIREWALL_CLOSED', found, `${remedy} (or set steering.firewall: ignore)`);
    }
    log.warn({ check: what, remedy }, found);
  }
}
