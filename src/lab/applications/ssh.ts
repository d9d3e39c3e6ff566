/** An interactive ssh session: lines typed before, during and after the outage into a file on the server. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Application, bad, ok } from './application.ts';
import { Program } from './program.ts';

const DURING = ['typed while the link is down', 'and another line', 'and a third'];

export const SSH: Application = {
  name: 'ssh session',
  programs: [
    ['ssh', 'openssh-client'],
    ['sshd', 'openssh-server'],
  ],
  start: async ({ lab, directory, ssh }) => {
    const client = new Program(lab.host, 'ssh', [...ssh.clientOptions, '-tt', ssh.destination]);
    const file = join(directory, 'typed');
    // What is asked for is computed, because a terminal echoes what is typed.
    client.type('echo before-$((6 * 7))\n');
    await client.says('before-42', 20_000);
    client.type(`cat > ${file}\nbefore\n`);
    return {
      ready: async () => {},
      isUnderWay: () => client.exitCode === undefined,
      duringOutage: () => client.type(DURING.map((line) => `${line}\n`).join('')),
      finish: async () => {
        client.type('after\n\u0004');
        client.type('echo after-$((7 * 8))\nexit 3\n');
        const code = await client.ended(60_000);
        if (code !== 3) return bad(`ended with ${code}: ${client.quote()}`);
        if (!client.output.includes('after-56')) return bad(`no answer: ${client.quote()}`);
        const typed = readFileSync(file, 'utf8');
        const wanted = ['before', ...DURING, 'after', ''].join('\n');
        return typed === wanted ? ok(`${wanted.split('\n').length - 1} lines`) : bad(`the file holds ${typed}`);
      },
    };
  },
};
