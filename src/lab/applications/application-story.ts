/** One outage, all applications: started before it, used during it, finished after it. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpfreezeError } from '../../base/errors.ts';
import type { StatusJson } from '../../control/api.ts';
import { LabGateway } from '../gateway.ts';
import { type LinkSettings, monotonicMicros } from '../link-handle.ts';
import { sweep } from '../namespace.ts';
import { onLabExit } from '../registry.ts';
import { resetsSent } from '../sampler.ts';
import { assertLabPossible, Lab } from '../topology.ts';
import type { Application, Outcome, Session } from './application.ts';
import { bad } from './application.ts';
import { SshServer } from './ssh-server.ts';

/** Slow enough for transfers of a few megabytes to be under way when the link is lost. */
const LINK: LinkSettings = { rateBps: 20e6, delayMillis: 20, queuePackets: 200 };
/** Into the outage, when the users type and write; every sender has noticed by then. */
const TYPE_AFTER_MILLIS = 5_000;
const ATTEMPTS = 5;

export interface ApplicationStoryOptions {
  readonly applications: readonly Application[];
  readonly gateway: boolean;
  readonly outageSeconds: number;
}

export interface ApplicationResult extends Outcome {
  readonly application: Application;
  /** From link-up until its user was done, seconds. */
  readonly seconds: number;
}

export interface ApplicationStoryResult {
  readonly applications: readonly ApplicationResult[];
  readonly status: StatusJson | undefined;
  readonly resets: Readonly<Record<'host' | 'gateway' | 'server', number>>;
}

/** @throws TcpfreezeError: a server or a client did not start, the gateway did not start */
export async function runApplicationStory(options: ApplicationStoryOptions): Promise<ApplicationStoryResult> {
  await assertLabPossible();
  await sweep();
  const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-applications-'));
  // Servers that give up root have to find their files.
  chmodSync(directory, 0o755);
  const release = onLabExit(() => rmSync(directory, { recursive: true, force: true }));
  let lab: Lab | undefined;
  let gateway: LabGateway | undefined;
  try {
    lab = await Lab.create({ topology: 'router', link: LINK });
    if (options.gateway) gateway = await LabGateway.start(lab);
    return await play(options, lab, gateway, directory);
  } finally {
    await gateway?.stop();
    await lab?.dispose();
    rmSync(directory, { recursive: true, force: true });
    release();
  }
}

/** One after another, the most fleeting state last; and again for what was over meanwhile. */
async function untilUnderWay(sessions: readonly Session[], applications: readonly Application[]): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    for (const session of sessions) if (attempt === 1 || !session.isUnderWay()) await session.ready();
    if (sessions.every((session) => session.isUnderWay())) return;
  }
  const over = applications.filter((_, index) => !sessions[index]!.isUnderWay()).map(({ name }) => name);
  throw new TcpfreezeError('LAB_TIMEOUT', `over before the link could be cut: ${over.join(', ')}`, '');
}

async function play(
  { applications, outageSeconds }: ApplicationStoryOptions,
  lab: Lab,
  gateway: LabGateway | undefined,
  directory: string,
): Promise<ApplicationStoryResult> {
  const keys = join(directory, 'ssh');
  mkdirSync(keys);
  const ssh = await SshServer.start(lab, keys);
  const sessions: Session[] = [];
  for (const [index, application] of applications.entries()) {
    const own = join(directory, String(index));
    mkdirSync(own);
    sessions.push(await application.start({ lab, directory: own, ssh }));
  }
  await untilUnderWay(sessions, applications);
  const cutAt = await lab.link.cut('carrier');
  await sleep(TYPE_AFTER_MILLIS);
  await Promise.all(sessions.map((session) => session.duringOutage()));
  await sleep(Math.max(0, outageSeconds * 1000 - (monotonicMicros() - cutAt) / 1000));
  const { openedAt } = await lab.link.restore();

  const results = await Promise.all(
    sessions.map(async (session, index) => {
      const outcome = await session.finish().catch((error: Error) => bad(error.message));
      return { ...outcome, application: applications[index]!, seconds: (monotonicMicros() - openedAt) / 1e6 };
    }),
  );
  const status = gateway?.exitCode === undefined ? await gateway?.client.status() : undefined;
  return { applications: results, status, resets: await resetsSent(lab) };
}
