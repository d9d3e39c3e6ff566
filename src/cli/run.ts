/** `tcpfreeze run`: the gateway in the foreground. */
import { TcpfreezeError } from '../base/errors.ts';
import { readConfigFile } from '../control/config-file.ts';
import { createLog } from '../control/log.ts';
import { controlPath } from '../control/socket.ts';
import { Daemon } from '../daemon.ts';
import { DEFAULT_CONFIG, type GatewayConfig, type LinkConfig, type LinkRole, type LogLevel } from '../policy/policy.ts';

export interface RunFlags {
  readonly lan?: readonly string[];
  readonly wan?: readonly string[];
  readonly config?: string;
  readonly control?: string;
  readonly logLevel?: LogLevel;
  readonly steering: boolean;
}

/** Runs until SIGTERM or SIGINT. @throws TcpfreezeError with nothing left changed */
export async function run(flags: RunFlags): Promise<void> {
  const config = withFlags(flags.config === undefined ? DEFAULT_CONFIG : readConfigFile(flags.config), flags);
  const log = createLog(config.log.level, config.log.format);
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.on('SIGTERM', resolve);
    process.on('SIGINT', resolve);
    // The terminal went away; a gateway under a service manager gets SIGTERM instead.
    process.on('SIGHUP', resolve);
  });
  // A signal during the start waits until the start is over, and everything is there to be undone.
  const daemon = await Daemon.start({ config, control: controlPath(config.control), steering: flags.steering }, log);
  const end = await Promise.race([signalled, daemon.failed]);
  if (typeof end === 'string') log.info({ signal: end }, 'stopping');
  await daemon.stop();
  if (typeof end !== 'string') throw end;
  log.info({}, 'stopped');
}

/**
 * Flags override the file; an interface named by a flag gets that role, whatever the file says.
 * @throws TcpfreezeError NO_LINKS, LINK_TWICE
 */
export function withFlags(config: GatewayConfig, flags: Omit<RunFlags, 'steering'>): GatewayConfig {
  const links = new Map<string, LinkConfig>();
  for (const role of ['lan', 'wan'] as const) {
    const named = flags[role] ?? config.links.filter((link) => link.role === role).map((link) => link.name);
    for (const name of named) addLink(links, name, role, flags);
  }
  // A flag decides about the role alone.
  const all = [...links.values()].map((link) => ({ ...config.links.find(({ name }) => name === link.name), ...link }));
  for (const role of ['lan', 'wan'] as const) {
    if (all.some((link) => link.role === role)) continue;
    throw new TcpfreezeError(
      'NO_LINKS',
      `no ${role} interface is named`,
      `name one: --${role} IF, or links in the configuration`,
      2,
    );
  }
  return {
    ...config,
    links: all,
    control: flags.control ?? config.control,
    log: { ...config.log, level: flags.logLevel ?? config.log.level },
  };
}

function addLink(
  links: Map<string, LinkConfig>,
  name: string,
  role: LinkRole,
  flags: Omit<RunFlags, 'steering'>,
): void {
  const other = links.get(name);
  if (other !== undefined && other.role !== role) {
    // The file's role of an interface gives way to that of a flag; two flags contradict each other.
    if (flags[other.role]?.includes(name) === true && flags[role]?.includes(name) !== true) return;
    if (flags[role]?.includes(name) === true && flags[other.role]?.includes(name) !== true) {
      links.set(name, { name, role });
      return;
    }
    throw new TcpfreezeError('LINK_TWICE', `the interface ${name} is named as lan and as wan`, 'name it once', 2);
  }
  links.set(name, { name, role });
}
