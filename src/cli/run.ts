/** `tcpfreeze run`: the gateway in the foreground. */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../base/errors.ts';
import { readConfig } from '../control/config-file.ts';
import { effectiveSettings, type Setting, settingsText } from '../control/config-print.ts';
import { createLog, type Log } from '../control/log.ts';
import { SdNotify } from '../control/sd-notify.ts';
import { controlPath, groupId } from '../control/socket.ts';
import { Daemon } from '../daemon.ts';
import { errnoName } from '../native/errno.ts';
import { keepOnly } from '../native/privileges.ts';
import { DEFAULT_DETECTORS } from '../policy/detectors.ts';
import { DEFAULT_CONFIG, type GatewayConfig, type LinkConfig, type LinkRole, type LogLevel } from '../policy/policy.ts';
import { CAPABILITIES } from '../steering/machine.ts';
import { giveSigns, shouldSupervise, supervise } from './supervise.ts';

/** How often custody is looked at while the end waits for it. */
const DRAIN_LOOK_MILLIS = 100;

export interface RunFlags {
  readonly lan?: readonly string[];
  readonly wan?: readonly string[];
  readonly config?: string;
  readonly control?: string;
  readonly journal?: string;
  readonly logLevel?: LogLevel;
  readonly steering: boolean;
  /** A process of its own watches the gateway and starts it anew. */
  readonly supervisor: boolean;
  /** When stopped, what is held is given back first, for at most this long (seconds). */
  readonly drain?: number;
  /** Print the configuration in effect, and do nothing else. */
  readonly printConfig?: boolean;
}

/** Runs until SIGTERM or SIGINT. @throws TcpfreezeError with nothing left changed */
export async function run(flags: RunFlags): Promise<void> {
  if (flags.supervisor && flags.printConfig !== true && shouldSupervise()) {
    giveUpRights(flags, undefined);
    process.exitCode = await supervise(process.argv[1]!, process.argv.slice(2));
    return;
  }
  const file = flags.config === undefined ? { config: DEFAULT_CONFIG, document: {} } : readConfig(flags.config);
  const config = withFlags(file.config, flags);
  if (flags.printConfig === true) {
    process.stdout.write(settingsText(effectiveSettings(...withDecisions(file.document, config, flags))));
    return;
  }
  const given = giveUpRights(flags, config);
  const log = createLog(config.log.level, config.log.format);
  if (given < 0)
    log.warn(
      { errno: errnoName(given) },
      'it keeps the capabilities that it was started with: giving them up was refused',
    );
  let hungUp = (): void => {};
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.on('SIGTERM', resolve);
    process.on('SIGINT', resolve);
    // Without a file there is nothing to read again, and the terminal went away.
    if (flags.config === undefined) process.on('SIGHUP', resolve);
    else process.on('SIGHUP', () => hungUp());
  });
  const { config: path } = flags;
  const readAgain = path === undefined ? {} : { readAgain: () => withFlags(readConfig(path).config, flags) };
  // A signal during the start waits until the start is over, and everything is there to be undone.
  const { steering } = flags;
  // Before there is anything that could hang while it stands in the way of traffic.
  const endSigns = giveSigns();
  const starting = Daemon.start({ config, control: controlPath(config.control), steering, ...readAgain }, log);
  const daemon = await starting.catch((error: unknown) => {
    // What is wrong now would be wrong at another start.
    endSigns();
    throw error;
  });
  hungUp = () => {
    // What is wrong with the file is told as an event.
    daemon.reload().catch(() => {});
  };
  const notify = SdNotify.fromEnvironment(() => daemon.answers());
  notify.ready();
  const end = await Promise.race([signalled, daemon.failed]);
  notify.stopping();
  endSigns();
  if (typeof end === 'string') {
    log.info({ signal: end }, 'stopping');
    if (flags.drain !== undefined) await drain(daemon, flags.drain, log);
  }
  await daemon.stop();
  if (typeof end !== 'string') throw end;
  log.info({}, 'stopped');
}

/**
 * From here on the process may do what a gateway needs, whoever started it. What is wrong with the file is told by who reads it.
 * @returns negative errno where that was refused
 */
function giveUpRights(flags: RunFlags, config: GatewayConfig | undefined): number {
  let group: number | null = null;
  try {
    const read = config ?? (flags.config === undefined ? undefined : readConfig(flags.config).config);
    group = read === undefined || read.controlGroup === null ? null : groupId(read.controlGroup);
  } catch {
    // Told when it is needed.
  }
  return keepOnly(Object.values(CAPABILITIES), group);
}

/** Waits until no connection is held and nothing is in custody any more, the time is over, or another signal comes. */
async function drain(daemon: Daemon, longest: number, log: Log): Promise<void> {
  let isHurried = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => (isHurried = true));
  for (const deadline = performance.now() + longest * 1e3; performance.now() < deadline && !isHurried; ) {
    const status = await daemon.status().catch(() => undefined);
    if (status === undefined) return;
    const { custodyBytes: bytes, flows } = status;
    // A window that is shut opens with the sender's next probe otherwise, and that may be two minutes away.
    const held = flows.frozen + flows.handback;
    if (bytes === 0 && held === 0) return;
    log.debug({ bytes, flows: held }, 'what is held is given back before the end');
    await sleep(DRAIN_LOOK_MILLIS);
  }
}

/**
 * The file's words with the links that are in effect, and what flags and environment decide.
 * @param document of the file
 */
export function withDecisions(
  document: unknown,
  config: GatewayConfig,
  flags: Omit<RunFlags, 'steering' | 'supervisor'>,
): [document: unknown, decided: Setting[]] {
  const written = (document ?? {}) as { readonly links?: Record<string, object>; readonly control?: string };
  const links = Object.fromEntries(config.links.map(({ name, role }) => [name, { ...written.links?.[name], role }]));
  const decided: Setting[] = config.links
    .filter(({ name, role }) => flags[role]?.includes(name) === true)
    .map(({ name, role }) => ({ path: ['links', name, 'role'], value: role, origin: `flag --${role}` }));
  const environment = (process.env.TCPFREEZE_CONTROL ?? '') === '' ? 'default' : 'TCPFREEZE_CONTROL';
  const control = flags.control !== undefined ? 'flag --control' : written.control !== undefined ? 'file' : environment;
  decided.push({ path: ['control'], value: controlPath(config.control), origin: control });
  const journal =
    flags.journal !== undefined
      ? 'flag --journal'
      : (process.env.TCPFREEZE_JOURNAL ?? '') !== '' && 'TCPFREEZE_JOURNAL';
  if (journal !== false) decided.push({ path: ['journal'], value: config.journal ?? 'off', origin: journal });
  if (flags.logLevel !== undefined) {
    decided.push({ path: ['log', 'level'], value: flags.logLevel, origin: 'flag --log-level' });
  }
  return [{ ...written, links }, decided];
}

/**
 * Flags override the file; an interface named by a flag gets that role, whatever the file says.
 * @throws TcpfreezeError NO_LINKS, LINK_TWICE
 */
export function withFlags(config: GatewayConfig, flags: Omit<RunFlags, 'steering' | 'supervisor'>): GatewayConfig {
  const links = new Map<string, Pick<LinkConfig, 'name' | 'role'>>();
  for (const role of ['lan', 'wan'] as const) {
    const named = flags[role] ?? config.links.filter((link) => link.role === role).map((link) => link.name);
    for (const name of named) addLink(links, name, role, flags);
  }
  // A flag decides about the role alone.
  const all = [...links.values()].map((link) => {
    const written = config.links.find(({ name }) => name === link.name);
    return { detectors: DEFAULT_DETECTORS, ...written, ...link };
  });
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
    journal: journalDirectory(config, flags.journal),
    log: { ...config.log, level: flags.logLevel ?? config.log.level },
  };
}

/** As for the control socket: what is given, else TCPFREEZE_JOURNAL, else the default. */
function journalDirectory(config: GatewayConfig, flag: string | undefined): string | null {
  const isGiven = flag !== undefined || config.journal !== DEFAULT_CONFIG.journal;
  const environment = process.env.TCPFREEZE_JOURNAL ?? '';
  const chosen = flag ?? (isGiven || environment === '' ? undefined : environment);
  return chosen === undefined ? config.journal : chosen === 'off' ? null : resolve(chosen);
}

function addLink(
  links: Map<string, Pick<LinkConfig, 'name' | 'role'>>,
  name: string,
  role: LinkRole,
  flags: Omit<RunFlags, 'steering' | 'supervisor'>,
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
