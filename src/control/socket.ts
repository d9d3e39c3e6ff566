/**
 * The place of the control socket, and whether somebody is already listening there.
 */
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readFileSync, rmdirSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { TcpfreezeError } from '../base/errors.ts';

export const DEFAULT_CONTROL_PATH = '/run/tcpfreeze/control.sock';

/** sun_path of unix(7) less its final zero. */
const PATH_MAX_BYTES = 107;

/** Read and write for the owner and the group: whoever may write here may end connections. */
const SOCKET_MODE = 0o660;

/** @param given by `--control` or the configuration; else TCPFREEZE_CONTROL, else the default */
export function controlPath(given: string | null | undefined): string {
  const fromEnvironment = process.env.TCPFREEZE_CONTROL;
  return given ?? (fromEnvironment === undefined || fromEnvironment === '' ? DEFAULT_CONTROL_PATH : fromEnvironment);
}

/**
 * Makes sure that nobody listens at the path; a socket file that nobody listens at any more is removed.
 * @throws TcpfreezeError ALREADY_RUNNING, CONTROL_PATH
 */
export async function assertSocketFree(path: string): Promise<void> {
  // libuv cuts a longer path off silently, and listens somewhere else.
  if (Buffer.byteLength(path) > PATH_MAX_BYTES) {
    throw new TcpfreezeError(
      'CONTROL_PATH',
      `the path of the control socket is longer than ${PATH_MAX_BYTES} bytes`,
      'choose a shorter one with --control',
    );
  }
  if (!existsSync(path)) return;
  if (!lstatSync(path).isSocket()) {
    throw new TcpfreezeError('CONTROL_PATH', `${path} exists and is no socket`, 'choose another path with --control');
  }
  if (await isListening(path)) {
    throw new TcpfreezeError(
      'ALREADY_RUNNING',
      `another tcpfreeze is already running with the control socket ${path}`,
      'stop it first, or choose another path with --control',
    );
  }
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // The backlog is full: somebody is there, only slow.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(pathError(path, error));
    });
  });
}

/**
 * Binds a server to the path and makes the directory it needs.
 * @returns the function that removes what was made; the server itself is closed by its owner
 * @param group group that may use the socket; null: that of the process
 * @throws TcpfreezeError ALREADY_RUNNING, CONTROL_PATH, CONTROL_GROUP
 */
export async function listenAt(server: Server, path: string, group: string | null): Promise<() => void> {
  const gid = group === null ? -1 : groupId(group);
  await assertSocketFree(path);
  const folder = dirname(path);
  // One level, as for /run/tcpfreeze: a recursive mkdir of Node.js never returns where the kernel says ENOENT, as in /proc.
  const made = !existsSync(folder);
  try {
    if (made) mkdirSync(folder, { mode: 0o755 });
    if (existsSync(path)) unlinkSync(path);
  } catch (error) {
    throw pathError(path, error as NodeJS.ErrnoException);
  }
  try {
    await bind(server, path);
    if (gid >= 0) give(path, group ?? '', gid);
  } catch (error) {
    if (made) rmdirQuietly(folder);
    throw error;
  }
  return () => {
    if (existsSync(path)) unlinkSync(path);
    if (made) rmdirQuietly(folder);
  };
}

/** @throws TcpfreezeError CONTROL_GROUP */
function give(path: string, group: string, gid: number): void {
  try {
    chownSync(path, -1, gid);
  } catch (error) {
    throw new TcpfreezeError(
      'CONTROL_GROUP',
      `the control socket may not be given to the group ${group}: ${(error as NodeJS.ErrnoException).code}`,
      'stop the gateway and start it again as root, or as a member of that group',
      1,
      error,
    );
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(pathError(path, error)));
    server.listen(path, resolve);
    // Bound synchronously, served only from the next turn on: nobody connects in between.
    if (existsSync(path)) chmodSync(path, SOCKET_MODE);
  });
}

/** Number of a group. @throws TcpfreezeError CONTROL_GROUP */
export function groupId(name: string): number {
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[2]);
  if (line !== undefined && Number.isInteger(gid)) return gid;
  throw new TcpfreezeError(
    'CONTROL_GROUP',
    `there is no group ${name} on this machine`,
    `make it ("groupadd ${name}"), or name another as controlGroup`,
  );
}

function rmdirQuietly(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Not empty: somebody else uses it.
  }
}

function pathError(path: string, error: NodeJS.ErrnoException): TcpfreezeError {
  return new TcpfreezeError(
    'CONTROL_PATH',
    `the control socket ${path} cannot be used: ${error.code ?? error.message}`,
    'choose another path with --control, or run as root',
    1,
    error,
  );
}
