/**
 * Commands of a container engine, and whether there is one.
 */
import { execFile, execFileSync } from 'node:child_process';

/** What a command printed, and how it ended. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const REPOSITORY = new URL('../..', import.meta.url).pathname;

/** Runs a program in the repository; a failure is a result. */
export function attempt(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: REPOSITORY, env: { ...process.env, ...env }, maxBuffer: 64 * 2 ** 20 };
    execFile(program, args, options, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** As `attempt`; a failure is an exception. @returns standard output */
export async function succeed(program: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { exitCode, stdout, stderr } = await attempt(program, args, env);
  if (exitCode === 0) return stdout;
  throw new Error(
    `${program} ${args.join(' ')} ended with ${exitCode}: ${`${stdout}\n${stderr}`.trim().slice(-1_500)}`,
  );
}

export const docker = (...args: string[]): Promise<string> => succeed('docker', args);

/** Both images, once: all profiles use the same. */
export async function buildImages(): Promise<void> {
  // Debian's engine has the classic builder alone.
  const env = { DOCKER_BUILDKIT: process.env.DOCKER_BUILDKIT ?? '0' };
  for (const target of ['endpoint', 'gateway']) {
    await succeed('docker', ['build', '--quiet', '--target', target, '--tag', `tcpfreeze-${target}`, '.'], env);
  }
}

function works(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Compose v2 where it is there, else v1. */
const COMPOSE: readonly [string, ...string[]] = works('docker', 'compose', 'version')
  ? ['docker', 'compose']
  : ['docker-compose'];

/** The command line of compose for these arguments. */
export function composeCommand(...args: string[]): [string, string[]] {
  const [program, ...first] = COMPOSE;
  return [program, [...first, ...args]];
}

/** Why the stories cannot run here; null: they can. */
export function whyNoEngine(): string | null {
  if (!works('docker', 'version')) return 'no container engine answers (docker version)';
  const [program, args] = composeCommand('version');
  return works(program, ...args) ? null : 'neither docker compose nor docker-compose is installed';
}

/** Asks until the answer is yes. @param seconds after which it is an error */
export async function until(what: string, seconds: number, ask: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + seconds * 1_000;
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`within ${seconds} s this did not come true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
