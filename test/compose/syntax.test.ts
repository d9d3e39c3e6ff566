/** docker-compose.yml is what Compose v2 reads, too: judged by the Compose Specification's schema (dclint), without an engine. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';

const FILE = resolve(import.meta.dirname, '../../docker-compose.yml');
const LINT = join(createRequire(import.meta.url).resolve('dclint/package.json'), '../bin/dclint.cjs');

/** Errors alone; what is a matter of taste is a warning there. */
function judge(path: string): { readonly status: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [LINT, '--quiet', path], { encoding: 'utf8' });
  return { status, text: stdout + stderr };
}

describe('docker-compose.yml', () => {
  test('follows the Compose Specification', () => {
    expect(judge(FILE)).toEqual({ status: 0, text: expect.stringMatching(/^\s*$/) });
  });

  test.each([
    ['an unknown key', 'stop_grace_period: 10s', 'stop_grace_periods: 10s'],
    ['a value of another kind', 'enable_ipv6: true', 'enable_ipv6: [1]'],
  ])('%s would be noticed', (_what, right, wrong) => {
    const folder = mkdtempSync(join(tmpdir(), 'tcpfreeze-compose-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'docker-compose.yml');
    const text = readFileSync(FILE, 'utf8');
    expect(text).toContain(right);
    writeFileSync(path, text.replace(right, wrong));
    const { status, text: said } = judge(path);
    expect(status).toBe(1);
    expect(said).toContain('invalid-schema');
  });
});
