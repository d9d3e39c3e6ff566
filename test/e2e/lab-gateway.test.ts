/** The handle on the real gateway in the lab: start, commands, end. Freezing, and what a kill does, is told by the stories. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { Lab } from '../../src/lab/topology.ts';

const possible = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!possible) console.warn('gateway handle tests skipped: they need root and /dev/net/tun');

describe.skipIf(!possible)('the gateway in the lab', () => {
  let lab: Lab;
  beforeEach(async () => {
    lab = await Lab.create({ topology: 'router' });
  });
  afterEach(() => lab.dispose());

  test('it becomes ready, answers, and leaves nothing when told to end', async () => {
    const rules = () => lab.gateway.ip('rule', 'show');
    const before = await rules();
    const gateway = await LabGateway.start(lab);
    expect(await rules()).not.toBe(before);
    expect((await gateway.client.status()).links.map((link) => link.name).sort()).toEqual(['lan0', 'wan0']);
    expect(await gateway.command('status')).toContain('wan0');
    const refused = await gateway.cli('freeze', '--flow', 'no such flow');
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).not.toBe('');
    await expect(gateway.command('freeze', '--flow', 'no such flow')).rejects.toThrow(/freeze --flow/);
    expect(await gateway.stop()).toBe(0);
    expect(existsSync(dirname(gateway.control))).toBe(false);
    expect(await rules()).toBe(before);
  });

  test('a gateway that cannot start says why', async () => {
    await expect(LabGateway.start(lab, { args: ['--config', '/nonexistent.yaml'] })).rejects.toThrow(/nonexistent/);
  });
});
