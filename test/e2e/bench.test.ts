/** The benchmark runs, and what does not depend on how busy the machine is meets its goal. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compiledProgram } from '../../src/lab/child.ts';

const root = process.getuid?.() === 0;
if (!root) console.warn('benchmark test skipped: it needs root to make network namespaces');

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [compiledProgram('lab/bench/bench.js'), ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** Lab namespaces whose run is over. */
function orphans(): string[] {
  const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  return names.filter((name) => {
    const pid = /^tfz(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

interface BenchDocument {
  readonly latency: { readonly figures: readonly { readonly path: string; readonly medianMicros: number }[] };
  readonly idle: { readonly flows: number; readonly share: number };
}

test.skipIf(!root)('latency of all three ways, and an idle gateway that tracks 1,000 connections', async () => {
  const before = orphans();
  const { code, stdout, stderr } = await bench('idle', 'latency', '--repetitions', '1', '--seconds', '2', '--json');
  expect(stderr.replace(/^(?:latency|idle).*\n/gm, '')).toBe('');
  expect(code).toBe(0);
  const { latency, idle } = JSON.parse(stdout) as BenchDocument;
  expect(latency.figures.map(({ path }) => path)).toEqual(['kernel', 'loop', 'gateway']);
  const [kernel, , gateway] = latency.figures.map(({ medianMicros }) => medianMicros);
  expect(kernel).toBeGreaterThan(5);
  // The way through user space is the longer one: otherwise the gateway was not on it.
  expect(gateway).toBeGreaterThan(kernel!);
  expect(idle.flows).toBeGreaterThanOrEqual(1000);
  expect(idle.share).toBeGreaterThan(0);
  expect(idle.share).toBeLessThan(0.01);
  expect(orphans()).toEqual(before);
});

test('a part that does not exist is wrong usage', async () => {
  const { code, stderr } = await bench('speed');
  expect(code).toBe(2);
  expect(stderr).toMatch(/^bench: there is no part speed; usage: npm run bench -- .*\n$/);
});
