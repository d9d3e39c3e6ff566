/** What the datapath assumes of the kernel holds on this one. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const PROBES = fileURLToPath(new URL('../../dist/native/probes.js', import.meta.url));
const isRoot = process.getuid?.() === 0;
const able = isRoot && existsSync('/dev/net/tun');
if (!able) console.warn(`skipping the probes: ${isRoot ? 'no /dev/net/tun' : 'not root'}`);

test.skipIf(!able)('every probe of the kernel succeeds', () => {
  const { stdout, status } = spawnSync(process.execPath, [PROBES], { encoding: 'utf8', timeout: 120_000 });
  const lines = stdout.trim().split('\n');
  expect(lines.filter((line) => line.startsWith('FAIL'))).toEqual([]);
  expect(lines.at(-1)).toMatch(/^[1-9]\d* ok, 0 failed$/);
  expect(status).toBe(0);
});

test.skipIf(!isRoot)('without root they say what they need', () => {
  const argv = ['--reuid', '65534', '--clear-groups', process.execPath, PROBES];
  const { stderr, status } = spawnSync('setpriv', argv, { encoding: 'utf8' });
  expect(stderr).toMatch(/need root.*sudo npm run probes/);
  expect(status).toBe(2);
});
