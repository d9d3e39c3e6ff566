/**
 * Compose projects of test runs. The networks of docker-compose.yml have fixed addresses: what an interrupted run leaves
 * in the engine makes every later run fail with "Pool overlaps", also after a restart of the engine.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { docker } from './engine.ts';

/** The process that owns a project, and when it began: process ids come again. */
const NAME = /^tcpfreeze-test-(\d+)-(\d+)-[a-z-]+$/;

const LABEL = 'com.docker.compose.project';

/** Name of a project of this process. @param part lower-case letters and dashes */
export function projectName(part: string): string {
  return `tcpfreeze-test-${process.pid}-${beginning(process.pid)}-${part}`;
}

/** Whether the process that a project is named after still runs. False too for names that no test gives. */
export function isOwned(project: string): boolean {
  const [, pid, begun] = NAME.exec(project) ?? [];
  return pid !== undefined && begun === beginning(Number(pid));
}

/** Everything of a project that the engine still has: containers, networks and volumes, removed now. Synchronous, for exit handlers. */
export function removeProject(project: string): void {
  const filter = ['--quiet', '--filter', `label=${LABEL}=${project}`];
  const all = (...list: string[]): string[] => lines(run(...list, ...filter));
  const remove = (command: readonly string[], names: readonly string[]): void => {
    if (names.length > 0) run(...command, ...names);
  };
  remove(['rm', '--force', '--volumes'], all('ps', '--all'));
  remove(['network', 'rm'], all('network', 'ls'));
  remove(['volume', 'rm', '--force'], all('volume', 'ls'));
}

/**
 * Removes what interrupted test runs have left in the engine.
 * @returns the projects removed
 */
export async function sweepProjects(): Promise<string[]> {
  const format = ['--format', `{{.Label "${LABEL}"}}`];
  const lists = [
    docker('ps', '--all', ...format),
    docker('network', 'ls', ...format),
    docker('volume', 'ls', ...format),
  ];
  const found = new Set((await Promise.all(lists)).flatMap(lines));
  const left = [...found].filter((project) => project.startsWith('tcpfreeze-test-') && !isOwned(project));
  for (const project of left) removeProject(project);
  return left;
}

/** When a process began, in clock ticks since boot; empty: it is no more. Source: proc(5), field 22 of stat. */
function beginning(pid: number): string {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return '';
  const text = readFileSync(path, 'utf8');
  // The name, field 2, is in parentheses and may itself contain spaces and parentheses.
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[22 - 3]!;
}

function run(...args: string[]): string {
  return execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
