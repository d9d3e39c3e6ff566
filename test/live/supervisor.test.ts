/** The supervisor: a gateway that is killed or stopped is started again, and traffic does not wait for it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { monotonicMicros } from '../../src/lab/link-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';
import { Router } from '../steering/router.ts';
import { childOf, stallSeconds } from './supervised.ts';

describe.skipIf(!storiesPossible)('the supervisor', () => {
  let router: Router;
  beforeAll(async () => {
    router = await Router.create();
  });
  afterAll(() => router.dispose());

  test.each(['SIGSTOP', 'SIGKILL'] as const)('%s: its device is gone within 2 s, and it runs again', async (signal) => {
    const before = await router.dump();
    const gateway = await router.run(['--control', `${router.journal}/control.sock`]);
    const pid = gateway.child.pid!;
    const child = (await until(() => childOf(pid), { what: 'the gateway', timeoutMillis: 10_000 }))!;
    process.kill(child, signal);
    const at = monotonicMicros();
    const isGone = async (): Promise<boolean> => childOf(pid) !== child;
    await until(isGone, { what: 'the end of the gateway', timeoutMillis: 10_000, everyMillis: 20 });
    const took = (monotonicMicros() - at) / 1e6;
    await until(() => childOf(pid), { what: 'the next gateway', timeoutMillis: 10_000 });
    const isUp = async (): Promise<boolean> =>
      (await router.cli(['status', '--control', `${router.journal}/control.sock`])).code === 0;
    await until(isUp, { what: 'an answer of the next gateway', timeoutMillis: 30_000, everyMillis: 200 });
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
    expect(took).toBeLessThan(stallSeconds());
  });
});
