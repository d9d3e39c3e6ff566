/** `tcpfreeze doctor`: what this machine lacks. */
import { readdirSync, readFileSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { readConfigFile } from '../control/config-file.ts';
import { isInstalled, run } from '../steering/command.ts';
import { findInterfaces, missingCapabilities, tunDeviceProblem } from '../steering/machine.ts';
import { hasIpv6, readSysctl } from '../steering/sysctl.ts';
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
  { check: 'ip', run: checkIp },
  { check: 'ip rule ipproto', run: checkIpproto },
  { check: 'nft', run: checkNft },
  { check: 'nft owner tables', run: checkOwner },
  { check: 'connection tracking', run: checkTracking },
  { check: 'ipv4 forwarding', run: () => checkForwarding('ipv4/ip_forward', 'net.ipv4.ip_forward', 'fail') },
  { check: 'ipv6 forwarding', run: checkForwarding6 },
  { check: 'rp_filter', run: checkReversePath },
  { check: 'forward policy', run: checkForwardPolicy },
];

/**
 * Runs all checks; one that throws has failed.
 * @param config path of a configuration to check, too
 */
export async function diagnose(config?: string): Promise<Finding[]> {
  const checks =
    config === undefined ? CHECKS : [...CHECKS, { check: 'configuration', run: () => checkConfiguration(config) }];
  const findings: Finding[] = [];
  for (const { check, run: find } of checks) {
    try {
      findings.push({ check, ...(await find()) });
    } catch (error) {
      const { message, remedy } = error instanceof TcpfreezeError ? error : { message: String(error), remedy: '' };
      findings.push({ check, ...fail(message, remedy) });
    }
  }
  return findings;
}

/** Prints the findings; exit code 1 when something essential is missing. */
export async function doctor(flags: { readonly config?: string; readonly json?: boolean }): Promise<void> {
  const findings = await diagnose(flags.config);
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

function checkForwarding(path: string, name: string, otherwise: 'fail' | 'warn'): Omit<Finding, 'check'> {
  if (readSysctl(path) === '1') return ok('on');
  return (otherwise === 'fail' ? fail : warn)('off', `sysctl -w ${name}=1`);
}

function checkForwarding6(): Omit<Finding, 'check'> {
  if (!hasIpv6()) return warn('this kernel has no IPv6', 'boot without ipv6.disable=1 if you need it');
  return checkForwarding('ipv6/conf/all/forwarding', 'net.ipv6.conf.all.forwarding', 'warn');
}

/** Strict validation of an interface drops what the kernel would not route back there (RFC 3704). */
function checkReversePath(): Omit<Finding, 'check'> {
  const strict = readdirSync('/proc/sys/net/ipv4/conf').filter(
    (name) => readSysctl(`ipv4/conf/${name}/rp_filter`) === '1',
  );
  if (strict.length === 0) return ok('not strict');
  return ok(`strict on ${strict.join(', ')}; the TUN device is exempted`);
}

/** A firewall that forwards from interface to interface does not know the TUN between them. */
async function checkForwardPolicy(): Promise<Omit<Finding, 'check'>> {
  if (!(await isInstalled('nft')) || missingCapabilities().length > 0) return ok('not checked');
  const listed = JSON.parse(await run('nft', ['-j', 'list', 'chains'])) as { nftables: { chain?: ForwardChain }[] };
  const closed = listed.nftables.find(({ chain }) => chain?.hook === 'forward' && chain.policy === 'drop')?.chain;
  if (closed === undefined) return ok('accept');
  return warn(
    `the chain ${closed.family} ${closed.table} ${closed.name} drops what it does not know; it must know the TUN device`,
    `nft insert rule ${closed.family} ${closed.table} ${closed.name} iifname "tcpfreeze0" accept; the same with oifname`,
  );
}

interface ForwardChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

async function checkConfiguration(file: string): Promise<Omit<Finding, 'check'>> {
  const config = readConfigFile(file);
  if (await isInstalled('ip')) await findInterfaces(config.links.map((link) => link.name));
  return ok(`${file} is valid`);
}
