/** `tcpfreeze doctor`: what this machine lacks. */
import { readFileSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { readConfigFile } from '../control/config-file.ts';
import { DEFAULT_DETECTORS } from '../policy/detectors.ts';
import { DEFAULT_CONFIG, type GatewayConfig } from '../policy/policy.ts';
import { isInstalled, run } from '../steering/command.ts';
import { findInterfaces, missingCapabilities, tunDeviceProblem } from '../steering/machine.ts';
import { SURROUNDINGS, strictInterfaces } from '../steering/surroundings.ts';
import { readSysctl } from '../steering/sysctl.ts';
import { table } from './table.ts';

export interface Finding {
  readonly check: string;
  /** `warn`: it works without, but not as well or not for everybody. */
  readonly state: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** The command that mends it; empty when nothing is to be mended. */
  readonly remedy: string;
}

interface Check {
  readonly check: string;
  run(): Finding | Omit<Finding, 'check'> | Promise<Omit<Finding, 'check'>>;
}

/** Linux and Node.js versions that are supported. */
const LEAST_KERNEL = [5, 4] as const;
const LEAST_NODE = 20;

function ok(found: string): Omit<Finding, 'check'> {
  return { state: 'ok', found, remedy: '' };
}

function warn(found: string, remedy: string): Omit<Finding, 'check'> {
  return { state: 'warn', found, remedy };
}

function fail(found: string, remedy: string): Omit<Finding, 'check'> {
  return { state: 'fail', found, remedy };
}

const CHECKS: readonly Check[] = [
  { check: 'kernel', run: checkKernel },
  { check: 'node', run: checkNode },
  { check: 'privileges', run: checkPrivileges },
  { check: 'tun device', run: checkTun },
  { check: 'system calls', run: checkNative },
  { check: 'packet sockets', run: checkPacketSockets },
  { check: 'icmp echo', run: checkEcho },
  { check: 'ip', run: checkIp },
  { check: 'ip rule ipproto', run: checkIpproto },
  { check: 'nft', run: checkNft },
  { check: 'nft owner tables', run: checkOwner },
  { check: 'connection tracking', run: checkTracking },
  { check: 'rp_filter', run: checkReversePath },
];

/** Flags of `tcpfreeze doctor`. */
export interface DoctorFlags {
  readonly config?: string;
  readonly lan?: readonly string[];
  readonly wan?: readonly string[];
  readonly json?: boolean;
}

/** Runs all checks; one that throws has failed. */
export async function diagnose(flags: DoctorFlags = {}): Promise<Finding[]> {
  const { config: file } = flags;
  const checks =
    file === undefined ? CHECKS : [...CHECKS, { check: 'configuration', run: () => checkConfiguration(file) }];
  const findings: Finding[] = [];
  for (const { check, run: find } of checks) {
    try {
      findings.push({ check, ...(await find()) });
    } catch (error) {
      const { message, remedy } = error instanceof TcpfreezeError ? error : { message: String(error), remedy: '' };
      findings.push({ check, ...fail(message, remedy) });
    }
  }
  return [...findings, ...(await diagnoseSurroundings(flags))];
}

/** What is around the gateway, with the interfaces that are known from flags and configuration. */
async function diagnoseSurroundings({ config: file, lan = [], wan = [] }: DoctorFlags): Promise<Finding[]> {
  const read = file === undefined ? DEFAULT_CONFIG : readable(file);
  const named = [
    ...lan.map((name) => ({ name, role: 'lan' as const, detectors: DEFAULT_DETECTORS })),
    ...wan.map((name) => ({ name, role: 'wan' as const, detectors: DEFAULT_DETECTORS })),
  ];
  const config = {
    ...read,
    links: [...named, ...read.links.filter(({ name }) => !named.some((one) => one.name === name))],
  };
  const findings: Finding[] = [await interfaceFinding(config)];
  for (const { check, find } of SURROUNDINGS) {
    try {
      const obstacles = await find(config);
      findings.push(...obstacles.map((obstacle) => ({ check, ...obstacle })));
      if (obstacles.length === 0) findings.push({ check, ...ok('nothing in the way') });
    } catch (error) {
      findings.push({
        check,
        ...warn(`not checked: ${(error as Error).message}`, 'run as root: sudo tcpfreeze doctor'),
      });
    }
  }
  return findings;
}

/** Whether the interfaces exist and are those that packets are routed from. */
async function interfaceFinding({ links }: GatewayConfig): Promise<Finding> {
  const check = 'interfaces';
  if (links.length === 0) return { check, ...ok('none named: give --lan and --wan, or --config, to look at them') };
  try {
    const { present, absent, others } = await findInterfaces(links.map((link) => link.name));
    if (absent.length === 0) return { check, ...ok(present.map(({ name, mtu }) => `${name} (MTU ${mtu})`).join(', ')) };
    return {
      check,
      ...warn(`there is no interface ${absent.join(', ')} yet`, `plug it in, or mend the name: ${others}`),
    };
  } catch (error) {
    const { message, remedy = '' } = error as { readonly message: string; readonly remedy?: string };
    return { check, ...fail(message, remedy) };
  }
}

/** A configuration with mistakes has been reported already. */
function readable(file: string): GatewayConfig {
  try {
    return readConfigFile(file);
  } catch {
    return DEFAULT_CONFIG;
  }
}

/** Prints the findings; exit code 1 when something essential is missing. */
export async function doctor(flags: DoctorFlags): Promise<void> {
  const findings = await diagnose(flags);
  if (flags.json === true) process.stdout.write(`${JSON.stringify(findings)}\n`);
  else process.stdout.write(`${findingsText(findings)}\n`);
  process.exitCode = findings.some((finding) => finding.state === 'fail') ? 1 : 0;
}

export function findingsText(findings: readonly Finding[]): string {
  const rows = findings.flatMap(({ check, state, found, remedy }) => {
    const [first, ...more] = found.split('\n');
    const tail = remedy === '' ? '' : `  ->  ${remedy}`;
    const last = more.length - 1;
    const rest = more.map((line, index) => ['', '', line + (index === last ? tail : '')]);
    return [[state, check, `${first}${more.length === 0 ? tail : ''}`], ...rest];
  });
  return table(rows);
}

function checkKernel(): Omit<Finding, 'check'> {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const [major = 0, minor = 0] = release.split('.').map(Number.parseInt);
  const enough = major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1]);
  return enough
    ? ok(`Linux ${release}`)
    : fail(`Linux ${release} is too old`, `run Linux ${LEAST_KERNEL.join('.')} or newer`);
}

function checkNode(): Omit<Finding, 'check'> {
  const major = Number.parseInt(process.versions.node, 10);
  return major >= LEAST_NODE
    ? ok(`Node.js ${process.version}`)
    : fail(`Node.js ${process.version} is too old`, `install Node.js ${LEAST_NODE} or newer`);
}

function checkPrivileges(): Omit<Finding, 'check'> {
  const missing = missingCapabilities();
  if (missing.length === 0) return ok('CAP_NET_ADMIN, CAP_NET_RAW');
  return fail(`${missing.join(' and ')} missing`, 'run as root: sudo tcpfreeze ...');
}

function checkTun(): Omit<Finding, 'check'> {
  const problem = tunDeviceProblem();
  return problem === null ? ok('/dev/net/tun') : fail(problem.message, problem.remedy);
}

async function checkNative(): Promise<Omit<Finding, 'check'>> {
  try {
    await import('../native/libc.ts');
    return ok('koffi is loaded');
  } catch (error) {
    if (error instanceof TcpfreezeError) throw error;
    return fail(`koffi cannot be loaded: ${String(error).split('\n')[0]}`, 'install the dependencies again: npm ci');
  }
}

/** What detection hears ICMP and DHCP by; the socket is closed at once. */
async function checkPacketSockets(): Promise<Omit<Finding, 'check'>> {
  const { openTap } = await import('../native/packet-tap.ts');
  const { close } = await import('../native/libc.ts');
  try {
    close(openTap(4));
    return ok('ICMP errors and DHCP can be heard');
  } catch (error) {
    const { message, remedy } = error as TcpfreezeError;
    return warn(`ICMP errors and DHCP cannot be heard: ${message}`, remedy);
  }
}

async function checkEcho(): Promise<Omit<Finding, 'check'>> {
  const { loadRawSocket, RAW_SOCKET_REMEDY } = await import('../native/echo-socket.ts');
  if ((await loadRawSocket()) !== undefined) return ok('raw-socket is loaded');
  return warn('raw-socket is not there: next hops are not asked, quiet links fall silent unnoticed', RAW_SOCKET_REMEDY);
}

async function checkIp(): Promise<Omit<Finding, 'check'>> {
  if (!(await isInstalled('ip'))) return fail('not installed', 'apt-get install iproute2');
  return ok((await run('ip', ['-V'])).trim());
}

/** `ipproto` came with Linux 4.17 and iproute2 4.17; asked for by listing, which changes nothing. */
async function checkIpproto(): Promise<Omit<Finding, 'check'>> {
  try {
    await run('ip', ['rule', 'show', 'ipproto', '6']);
    return ok('understood');
  } catch {
    return fail('this ip does not know it', 'apt-get install --only-upgrade iproute2');
  }
}

async function checkNft(): Promise<Omit<Finding, 'check'>> {
  if (await isInstalled('nft')) return ok((await run('nft', ['--version'])).trim());
  if (readSysctl('netfilter/nf_conntrack_count') !== undefined) {
    return fail('not installed, and connection tracking is loaded', 'apt-get install nftables');
  }
  return warn('not installed; needed once connection tracking is used', 'apt-get install nftables');
}

/** Asked for with `nft --check`, which changes nothing; tables that end with their process need Linux 5.12. */
async function checkOwner(): Promise<Omit<Finding, 'check'>> {
  if (!(await isInstalled('nft'))) return warn('nft is not installed', 'apt-get install nftables');
  try {
    await run('nft', ['--check', '-f', '-'], 'add table inet tcpfreeze_doctor { flags owner; }\n');
    return ok('supported');
  } catch {
    return warn(
      'not supported: rules of a killed gateway go after 12 s only',
      'run Linux 5.12 and nftables 1.0 or newer',
    );
  }
}

function checkTracking(): Omit<Finding, 'check'> {
  const count = readSysctl('netfilter/nf_conntrack_count');
  return ok(count === undefined ? 'not loaded' : `loaded, ${count} connections`);
}

/** Strict validation of an interface drops what the kernel would not route back there (RFC 3704). */
function checkReversePath(): Omit<Finding, 'check'> {
  const strict = strictInterfaces();
  if (strict.length === 0) return ok('not strict');
  return ok(`strict on ${strict.join(', ')}; the TUN device is exempted`);
}

function checkConfiguration(file: string): Omit<Finding, 'check'> {
  readConfigFile(file);
  return ok(`${file} is valid`);
}
