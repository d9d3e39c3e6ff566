/** tshark as an independent reader of captures. */
import { execFileSync, spawnSync } from 'node:child_process';

export const hasTshark: boolean = spawnSync('tshark', ['--version'], { stdio: 'ignore' }).status === 0;
if (!hasTshark) console.warn('comparisons with tshark skipped: it is missing; install it (Debian: tshark)');

/** One line per packet, the fields separated by tabs. */
export function tsharkFields(path: string, fields: readonly string[], ...options: readonly string[]): string[] {
  const wanted = fields.flatMap((field) => ['-e', field]);
  const output = execFileSync('tshark', ['-n', '-r', path, ...options, '-T', 'fields', ...wanted], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return output === '' ? [] : output.replace(/\n$/, '').split('\n');
}
