/** Processor time that a process has used, to the nanosecond (Linux Documentation/scheduler/sched-stats.rst: /proc/PID/schedstat). */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * @returns nanoseconds on a processor, all threads that live now
 * @throws Error: no such process, or a kernel without CONFIG_SCHED_INFO
 */
export function processorNanos(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return sum;
}
