/** Running a system program to its end, with its own words in the error when it fails. Never through a shell. */
import { execFile, execFileSync } from 'node:child_process';
import { TcpfreezeError } from '../base/errors.ts';

/** Long dumps of nft and ss fit; a runaway program does not eat the memory. */
const MAX_OUTPUT_BYTES = 64 << 20;

/**
 * Runs a program and returns what it printed.
 * @param input written to its standard input
 * @throws TcpfreezeError PROGRAM_MISSING, PROGRAM_FAILED (message: its last words on stderr)
 */
export function runCommand(program: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: MAX_OUTPUT_BYTES }, (error, stdout, stderr) => {
      if (error) reject(commandError(program, args, error, stderr));
      else resolve(stdout);
    });
    // A program that fails before reading its input closes the pipe; its exit code tells, not the EPIPE.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

/** As `runCommand`, for exit handlers, which cannot wait. */
export function runCommandSync(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw commandError(program, args, error, stderr);
  }
}

function commandError(program: string, args: readonly string[], error: unknown, stderr: string): TcpfreezeError {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
    const remedy = `install it (Debian: ${PACKAGE_OF[program] ?? program})`;
    return new TcpfreezeError('PROGRAM_MISSING', `the program ${program} is missing`, remedy, 1, error);
  }
  const words = stderr.trim().split('\n').slice(-3).join(' / ');
  const why = words === '' && error instanceof Error ? error.message : words;
  return new TcpfreezeError('PROGRAM_FAILED', `${program} ${args.join(' ')} failed: ${why}`, '', 1, error);
}

/** Debian packages of the programs that the lab uses. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  ss: 'iproute2',
  nft: 'nftables',
  sysctl: 'procps',
  ping: 'iputils-ping',
  dnsmasq: 'dnsmasq-base',
  dhclient: 'isc-dhcp-client',
  udhcpc: 'udhcpc',
};
