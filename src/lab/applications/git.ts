/** A git clone over ssh, under way when the link is lost. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../run-command.ts';
import { type Application, bad, ok } from './application.ts';
import { bytesBelow, listing, writeTree } from './files.ts';
import { Program } from './program.ts';

const FILES = 40;
const BYTES = 24e6;
const UNDER_WAY = 1e6;
const PERSON = ['-c', 'user.name=lab', '-c', 'user.email=lab@invalid'];

export const GIT: Application = {
  name: 'git clone over ssh',
  programs: [['git', 'git']],
  start: async ({ lab, directory, ssh }) => {
    const repository = join(directory, 'repository');
    const clone = join(directory, 'clone');
    mkdirSync(repository);
    await runCommand('git', ['init', '-q', repository]);
    writeTree(join(repository, 'files'), 500, FILES, BYTES);
    await runCommand('git', ['-C', repository, 'add', '.']);
    await runCommand('git', ['-C', repository, ...PERSON, 'commit', '-q', '-m', 'files']);
    const url = `ssh://${ssh.destination}:${ssh.port}${repository}`;
    let client: Program | undefined;
    return {
      ready: async () => {
        client = new Program(lab.host, 'git', ['clone', '-q', url, clone], { GIT_SSH_COMMAND: ssh.command });
        await client.whileRunning('a clone under way', () => bytesBelow(clone) > UNDER_WAY);
      },
      isUnderWay: () => client?.exitCode === undefined,
      duringOutage: () => {},
      finish: async () => {
        const code = await client!.ended(120_000);
        if (code !== 0) return bad(`ended with ${code}: ${client!.quote()}`);
        if (listing(clone) !== listing(repository)) return bad('the working tree is another');
        await runCommand('git', ['-C', clone, 'fsck', '--full']);
        const [head, cloned] = await Promise.all(
          [repository, clone].map((path) => runCommand('git', ['-C', path, 'rev-parse', 'HEAD'])),
        );
        return head === cloned ? ok(`${FILES} files, ${BYTES / 1e6} MB`) : bad('the head is another');
      },
    };
  },
};
