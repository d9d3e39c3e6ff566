/** The gateway behind its supervisor, and what is asked of the two. */
import { readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';

/** How long nothing may pass; time spent waiting for a processor does not count for the watchdogs, up to 15 s. */
export function stallSeconds(): number {
  return loadavg()[0]! > availableParallelism() ? 20 : 2;
}

/** The gateway that the supervisor has started: the process below `pid` that is marked as supervised. */
export function childOf(pid: number): number | undefined {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
    for (const child of children) {
      const isMarked = readFileSync(`/proc/${child}/environ`, 'utf8').includes('TCPFREEZE_SUPERVISED=');
      const found = isMarked ? child : childOf(child);
      if (found !== undefined) return found;
    }
  } catch {
    // It ended while it was looked at.
  }
  return undefined;
}
