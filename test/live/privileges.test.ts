/** What a gateway that root started may still do, and who may talk to it. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../src/lab/wait.ts';
import { storiesPossible } from '../e2e/story-goals.ts';
import { type Program, Router } from '../steering/router.ts';
import { childOf } from './supervised.ts';

/** CAP_NET_ADMIN (12) and CAP_NET_RAW (13) of linux/capability.h, and CAP_SYS_NICE (23) where root lacks CAP_SYS_RESOURCE (24). */
const own = BigInt(`0x${/^CapEff:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]}`);
const NEEDED = (own & (1n << 24n)) === 0n ? '0000000000803000' : '0000000000003000';
/** Nobody, and a group of which nobody is no member: those of Debian (base-passwd). */
const NOBODY = 65_534;
const GROUP = 'daemon';
const GROUP_ID = 1;

/** Orders a freeze of everything, without the command line. Perl: every Debian has one that anybody may start. */
const ASK = `my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die 'refused ' . ($!+0) . "\\n";
print $s "POST /freeze HTTP/1.0\\r\\ncontent-length: 2\\r\\n\\r\\n{}"; $s->flush; print scalar <$s>;`;

const hasSetpriv = existsSync('/usr/bin/setpriv');
if (!hasSetpriv) console.warn('test of the control socket by other users skipped: it needs setpriv (util-linux)');

describe.skipIf(!storiesPossible)('rights', () => {
  let router: Router;
  let gateway: Program;
  let control = '';
  let before = '';

  beforeAll(async () => {
    router = await Router.create();
    before = await router.dump();
    const folder = join(router.journal, 'run');
    mkdirSync(folder);
    // Others have to get as far as the socket to be refused by it; the journal below has rights of its own.
    chmodSync(router.journal, 0o755);
    control = join(folder, 'control.sock');
    const config = join(folder, 'config.yaml');
    writeFileSync(config, `controlGroup: ${GROUP}\n`);
    const journal = join(router.journal, 'journal');
    gateway = await router.run(['--control', control, '--config', config, '--journal', journal]);
  });
  afterAll(() => router.dispose());

  test('every thread of the gateway has the two capabilities that it needs, and can get no other', async () => {
    const pid = await until(() => childOf(gateway.child.pid!), { what: 'the gateway', timeoutMillis: 10_000 });
    const threads = readdirSync(`/proc/${pid}/task`);
    expect(threads.length).toBeGreaterThan(5);
    for (const thread of threads) {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
      const sets = Object.fromEntries(
        [...status.matchAll(/^(Cap\w+):\s*(\S+)$/gm)].map(([, name, bits]) => [name, bits]),
      );
      expect(sets, /^Name:.*$/m.exec(status)?.[0]).toMatchObject({ CapPrm: NEEDED, CapEff: NEEDED, CapBnd: NEEDED });
    }
    // The datapath goes before ordinary processes all the same.
    const nice = threads.map(
      (thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ')[1]!.split(' ')[16],
    );
    expect(nice).toContain('-10');
  });

  test('what is in custody is for nobody else to read', () => {
    const journal = join(router.journal, 'journal');
    expect(statSync(journal).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(journal)) expect(statSync(join(journal, name)).mode & 0o777, name).toBe(0o600);
  });

  test.skipIf(!hasSetpriv)(
    'the control socket: its group may cut connections, others may not even connect',
    async () => {
      expect(statSync(control)).toMatchObject({ gid: GROUP_ID });
      expect(statSync(control).mode & 0o777).toBe(0o660);
      const ask = (groups: readonly string[]): Promise<string> =>
        router.gateway
          .exec('setpriv', [
            `--reuid=${NOBODY}`,
            `--regid=${NOBODY}`,
            ...groups,
            'perl',
            '-MIO::Socket::UNIX',
            '-e',
            ASK,
            control,
          ])
          .catch((error: unknown) => String(error));
      expect(await ask(['--clear-groups'])).toMatch(/refused 13/);
      expect(await ask([`--groups=${GROUP_ID}`])).toMatch(/^HTTP\/1\.1 \d\d\d/);
    },
  );

  test('afterwards everything is as before', async () => {
    gateway.signal('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(await router.dump()).toBe(before);
  });
});
