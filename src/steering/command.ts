/**
 * Runs `ip` and `nft`: argument lists only, never a shell, and a failure says which call failed and what mends it.
 */
import { execFile } from 'node:child_process';
import { TcpfreezeError } from '../base/errors.ts';

/** Debian package of each program, for the remedy. */
const PACKAGES: Readonly<Record<string, string>> = { ip: 'iproute2', nft: 'nftables', sh: 'dash' };

/** A program that hangs must not hang the gateway; the slowest of these calls takes milliseconds. */
const TIMEOUT_MILLIS = 20_000;

/** Rule sets of large routers are long. */
const MAX_OUTPUT_BYTES = 64 * 2 ** 20;

/**
 * @param program `ip` or `nft`, looked up in PATH
 * @param args passed as they are
 * @param input text for the standard input
 * @returns what it printed
 * @throws TcpfreezeError PROGRAM_MISSING, PROGRAM_FAILED
 */
export function run(program: 'ip' | 'nft', args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { timeout: TIMEOUT_MILLIS, maxBuffer: MAX_OUTPUT_BYTES, env: { ...process.env, LC_ALL: 'C' } },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(failure(program, args, error, stderr));
      },
    );
    // A program that ends without reading its input is reported by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

/** Whether a program can be started at all. */
export async function isInstalled(program: 'ip' | 'nft'): Promise<boolean> {
  try {
    await run(program, [program === 'ip' ? '-V' : '--version']);
    return true;
  } catch (error) {
    return !(error instanceof TcpfreezeError && error.code === 'PROGRAM_MISSING');
  }
}

/** The error for a program that is not in PATH. */
export function missingProgram(program: 'ip' | 'nft' | 'sh', cause?: unknown): TcpfreezeError {
  return new TcpfreezeError(
    'PROGRAM_MISSING',
    `the program ${program} is not installed or not in PATH`,
    `install it: apt-get install ${PACKAGES[program]}`,
    1,
    cause,
  );
}

/** The error for a machine with connection tracking and without nft, be there iptables or not. */
export function missingTracker(): TcpfreezeError {
  return new TcpfreezeError(
    'PROGRAM_MISSING',
    'the program nft is not installed or not in PATH, and iptables cannot tell where a packet will go, so connection tracking would see packets twice',
    `install it: apt-get install ${PACKAGES.nft}`,
  );
}

function failure(
  program: 'ip' | 'nft',
  args: readonly string[],
  error: Error & { code?: number | string | null; killed?: boolean },
  stderr: string,
): TcpfreezeError {
  if (error.code === 'ENOENT') return missingProgram(program, error);
  const call = [program, ...args].join(' ');
  if (error.code === 'EACCES') {
    return new TcpfreezeError('PROGRAM_FAILED', `${program} cannot be executed`, 'check its file mode', 1, error);
  }
  const said = firstLine(stderr);
  const how = error.killed === true ? `no answer within ${TIMEOUT_MILLIS / 1_000} s` : said || `exit ${error.code}`;
  const remedy = /not permitted|Permission denied/i.test(said)
    ? 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW'
    : 'see what the machine lacks with: tcpfreeze doctor';
  return new TcpfreezeError('PROGRAM_FAILED', `${call} failed: ${how}`, remedy, 1, error);
}

/** What a program said first, without the decoration of nft's positions. */
export function firstLine(text: string): string {
  return (
    text
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '') ?? ''
  );
}
