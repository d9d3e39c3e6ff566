/**
 * Real applications, as Debian ships them, with their default settings, as connections of the lab: the client on the host, the
 * server beyond the link. Each in a file of its own; servers run in temporary directories and end with their namespaces.
 */
import type { Lab } from '../topology.ts';
import type { SshServer } from './ssh-server.ts';

/** What an application finds. */
export interface Site {
  readonly lab: Lab;
  /** Of its own; removed afterwards. Readable by every user of the machine. */
  readonly directory: string;
  readonly ssh: SshServer;
}

export interface Application {
  readonly name: string;
  /** Programs that it needs, with their Debian packages. */
  readonly programs: readonly (readonly [program: string, debian: string])[];
  /** Starts server and client, and waits until the connection is in use. @throws TcpfreezeError */
  start(site: Site): Promise<Session>;
}

/** An application in use. */
export interface Session {
  /** Called again where it is not under way any more. Resolves when it is where the outage is to find it: a transfer under way, a transaction open. */
  ready(): Promise<void>;
  /** Whether it is still there: a transfer may be over by the time that the others are ready. */
  isUnderWay(): boolean;
  /** What its user does while the link is lost; must not wait for an answer. */
  duringOutage(): Promise<void> | void;
  /** Finishes the work after the outage. @returns what became of it; `problem` is undefined when all is as it must be */
  finish(): Promise<Outcome>;
}

export interface Outcome {
  readonly problem: string | undefined;
  /** What was compared, for people. */
  readonly detail: string;
}

export const ok = (detail: string): Outcome => ({ problem: undefined, detail });
export const bad = (problem: string): Outcome => ({ problem, detail: '' });
