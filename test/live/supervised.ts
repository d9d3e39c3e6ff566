/** Finds the gateway behind its supervisor. */
import { readFileSync } from 'node:fs';

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
