/** An rsync over ssh from the host to the server, under way when the link is lost. */
import { join } from 'node:path';
import { type Application, bad, ok } from './application.ts';
import { bytesBelow, listing, writeTree } from './files.ts';
import { Program } from './program.ts';

const FILES = 40;
const BYTES = 24e6;
/** Arrived when the outage begins. */
const UNDER_WAY = 1e6;

export const RSYNC: Application = {
  name: 'rsync over ssh',
  programs: [['rsync', 'rsync']],
  start: async ({ lab, directory, ssh }) => {
    const source = join(directory, 'source');
    const copy = join(directory, 'copy');
    writeTree(source, 100, FILES, BYTES);
    const args = ['-a', '-e', ssh.command, `${source}/`, `${ssh.destination}:${copy}/`];
    let client: Program | undefined;
    return {
      ready: async () => {
        client = new Program(lab.host, 'rsync', args);
        await client.whileRunning('a transfer under way', () => bytesBelow(copy) > UNDER_WAY);
      },
      isUnderWay: () => client?.exitCode === undefined,
      duringOutage: () => {},
      finish: async () => {
        const code = await client!.ended(120_000);
        if (code !== 0) return bad(`ended with ${code}: ${client!.quote()}`);
        return listing(copy) === listing(source) ? ok(`${FILES} files, ${BYTES / 1e6} MB`) : bad('the copy is another');
      },
    };
  },
};
