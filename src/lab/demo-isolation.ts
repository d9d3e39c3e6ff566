/**
 * Where the demo runs: in mount and process namespaces of its own, and without root also in a user and a network namespace. Its
 * network namespaces are mounts on a private /run/netns, its programs children of a private first process: when that one
 * ends, however it ends, the kernel removes all of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { tunDeviceProblem } from '../steering/machine.ts';
import { compiledProgram } from './child.ts';
import { runCommand } from './run-command.ts';

const NETNS_DIRECTORY = '/run/netns';
/** For temporary files: a directory that every Linux system has and that nothing of the demo needs otherwise. */
const SCRATCH_DIRECTORY = '/dev/shm';

/** A process namespace of its own, its first process killed with `unshare` itself. */
const OWN_PROCESSES = ['--pid', '--fork', '--kill-child', '--mount-proc'] as const;
/** In a container /proc may be masked, and then no second one may be mounted (Linux fs/namespace.c, mount_too_revealing). */
const SHARED_PROCESSES = ['--fork', '--kill-child'] as const;
const AS_ROOT = ['--mount'] as const;
const AS_USER = ['--user', '--map-root-user', '--net', '--mount'] as const;

/** How to call `unshare` on this machine. */
export interface Isolation {
  readonly args: readonly string[];
  /** Without root: in a network namespace of its own, whose settings are free to be changed. */
  readonly ownNetwork: boolean;
}

/**
 * Finds out what this user may do here; changes nothing.
 * @throws TcpfreezeError DEMO_IMPOSSIBLE, PROGRAM_MISSING, TUN_MISSING: what is missing, and what to do about it
 */
export async function chooseIsolation(): Promise<Isolation> {
  const isRoot = process.geteuid?.() === 0;
  const problem = tunDeviceProblem();
  if (problem !== null && (isRoot || existsSync('/dev/net/tun') === false)) throw problem;
  if (problem !== null) {
    throw new TcpfreezeError(
      'DEMO_IMPOSSIBLE',
      'the demo needs root here, because this user may not open /dev/net/tun',
      'run it as root: sudo npm run demo',
    );
  }
  const base = isRoot ? AS_ROOT : AS_USER;
  let refusal: unknown;
  for (const processes of [OWN_PROCESSES, SHARED_PROCESSES]) {
    const args = [...base, ...processes];
    try {
      await runCommand('unshare', [...args, 'true']);
      return { args, ownNetwork: !isRoot };
    } catch (error) {
      if (error instanceof TcpfreezeError && error.code === 'PROGRAM_MISSING') throw error;
      refusal = error;
    }
  }
  if (isRoot) {
    throw new TcpfreezeError(
      'DEMO_IMPOSSIBLE',
      'the demo may not make namespaces here',
      'in a container, start that with: --cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun',
      1,
      refusal,
    );
  }
  throw new TcpfreezeError(
    'DEMO_IMPOSSIBLE',
    'the demo needs root here, because unprivileged user namespaces are not allowed',
    'run it as root: sudo npm run demo',
    1,
    refusal,
  );
}

/**
 * Starts a compiled program inside. Its standard streams are the caller's; it hears of the caller's end by the `disconnect` event.
 * @param name relative to the compiled tree
 */
export function startIsolated(isolation: Isolation, name: string, argument: string): ChildProcess {
  const command = [process.execPath, compiledProgram(name), argument];
  return spawn('unshare', [...isolation.args, '--', ...command], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

/**
 * Called inside, first of all: what would be left behind in files goes to memory that ends with the mount namespace.
 * @throws TcpfreezeError PROGRAM_FAILED
 */
export async function mountPrivate(): Promise<void> {
  await runCommand('mount', ['-t', 'tmpfs', 'tmpfs', netnsMountPoint()]);
  mkdirSync(NETNS_DIRECTORY, { recursive: true });
  if (existsSync(SCRATCH_DIRECTORY)) {
    await runCommand('mount', ['-t', 'tmpfs', 'tmpfs', SCRATCH_DIRECTORY]);
    process.env.TMPDIR = SCRATCH_DIRECTORY;
  }
}

/** Where `ip netns` was never used there is no directory yet, and only root could make one. */
function netnsMountPoint(): string {
  return existsSync(NETNS_DIRECTORY) ? NETNS_DIRECTORY : '/run';
}
