/**
 * TCP stacks other than the kernel's, as near endpoints in the lab: each in a file of its own, each running the same small program
 * (peer.c), so that only the stack differs. A stack's subnet lies behind the host, which routes it:
 *
 *     stack -- tap or veth [host] -- lan0 [gateway] wan0 -- [link] -- server
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Namespace } from '../namespace.ts';
import type { Peer } from './peer.ts';

/** Where a stack is attached. */
export interface Site {
  /** Routes the stack's subnet; forwarding is on. */
  readonly host: Namespace;
  /** For names of further namespaces of this lab. */
  readonly lab: number;
  /** For files of the stack; removed afterwards. */
  readonly directory: string;
  /** The programs made of peer.c, for a kernel and for lwIP. */
  readonly peer: string;
  readonly peerLwip: string | undefined;
  /** First three numbers of the stack's subnet, a /24: the host is 1, the stack 2. */
  readonly subnet: string;
  /** Where the listening application is. */
  readonly target: Target;
  /** Takes what has to be undone at the end, besides child processes of the host's namespace. */
  readonly onEnd: (undo: () => Promise<void>) => void;
}

export interface Target {
  readonly address: string;
  readonly port: number;
}

export interface Stack {
  /** As people call it. */
  readonly name: string;
  /** Short, lower-case: part of connection names. */
  readonly key: string;
  /** Why it cannot be brought up on this machine, with the Debian package that mends it. */
  missing(): string | undefined;
  /** @throws TcpfreezeError: it did not come up */
  start(site: Site): Promise<Peer>;
}

/** The first of `programs` (name, Debian package) that is not installed, in words. */
export function missingProgram(
  ...programs: readonly (readonly [program: string, debian: string])[]
): string | undefined {
  for (const [program, debian] of programs) {
    if (pathOf(program) === undefined) return `${program} is missing (Debian: ${debian})`;
  }
  return undefined;
}

/** Full path of an installed program. Server programs live in directories that PATH often lacks. */
export function pathOf(program: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
