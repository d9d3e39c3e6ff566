/** A psql session with a transaction open across the outage. */
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import type { Namespace } from '../namespace.ts';
import { runCommand } from '../run-command.ts';
import { ADDRESS } from '../topology.ts';
import { type Application, bad, ok, type Site } from './application.ts';
import { Program } from './program.ts';

/** Where Debian keeps each version's server programs. */
const VERSIONS = '/usr/lib/postgresql';
/** The server refuses to run as root; the package makes this user. */
const USER = 'postgres';
const START_MILLIS = 30_000;
const ANSWER_MILLIS = 60_000;
/** Rows before, during and after the outage. */
const ROWS = { before: 20, during: 100, after: 20 } as const;

export const PSQL: Application = {
  name: 'psql transaction',
  programs: [
    ['psql', 'postgresql-client'],
    ['setpriv', 'util-linux'],
  ],
  start: async (site) => {
    const { lab } = site;
    await startServer(site);
    const psql = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-U', USER, '-d', 'postgres'];
    const client = new Program(lab.host, 'psql', [...psql, '-h', ADDRESS.server[4]]);
    let rows = 0;
    const insert = (count: number): void => {
      for (let i = 0; i < count; i++, rows++) client.type(`INSERT INTO story VALUES (${rows}, md5('${rows}'));\n`);
    };
    client.type('CREATE TABLE story (n int, text text);\nBEGIN;\n');
    insert(ROWS.before);
    client.type('\\echo begun\n');
    await client.says('begun', ANSWER_MILLIS);
    return {
      ready: async () => {},
      isUnderWay: () => client.exitCode === undefined,
      duringOutage: () => insert(ROWS.during),
      finish: async () => {
        insert(ROWS.after);
        client.type('COMMIT;\n\\echo committed\n');
        client.closeInput();
        const code = await client.ended(ANSWER_MILLIS);
        if (code !== 0 || !client.output.includes('committed')) return bad(`ended with ${code}: ${client.quote()}`);
        const query = "SELECT count(*) || ' ' || md5(string_agg(text, '' ORDER BY n)) FROM story";
        const found = (await lab.server.exec('psql', [...psql, '-h', '127.0.0.1', '-c', query])).trim();
        const wanted = `${rows} ${digestOf(rows)}`;
        return found === wanted ? ok(`${rows} rows committed`) : bad(`the table holds ${found}, not ${wanted}`);
      },
    };
  },
};

function digestOf(rows: number): string {
  const texts = Array.from({ length: rows }, (_, n) => md5(String(n)));
  return md5(texts.join(''));
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

/** Directory of the newest installed server's programs. */
export function serverPrograms(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined;
  const newest = readdirSync(VERSIONS)
    .filter((version) => existsSync(join(VERSIONS, version, 'bin/postgres')))
    .sort((a, b) => Number(b) - Number(a))[0];
  return newest && join(VERSIONS, newest, 'bin');
}

async function startServer({ lab, directory }: Site): Promise<void> {
  const programs = serverPrograms();
  if (programs === undefined)
    throw new TcpfreezeError('PROGRAM_MISSING', 'the PostgreSQL server is missing', 'Debian: postgresql');
  const data = join(directory, 'data');
  mkdirSync(data);
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number(await runCommand('id', [flag, USER]))));
  chownSync(data, uid!, gid!);
  chmodSync(data, 0o700);
  const initdb = asUser(lab.server, join(programs, 'initdb'), ['--no-sync', '-A', 'trust', '-U', USER, '-D', data]);
  if ((await initdb.ended(START_MILLIS)) !== 0)
    throw new TcpfreezeError('PROGRAM_FAILED', `initdb: ${initdb.quote()}`, '');
  appendFileSync(join(data, 'pg_hba.conf'), `host all all ${ADDRESS.host[4]}/32 trust\n`);
  const server = asUser(lab.server, join(programs, 'postgres'), [
    ...['-D', data, '-c', 'listen_addresses=*', '-c', `unix_socket_directories=${data}`],
  ]);
  await server.says('ready to accept connections', START_MILLIS);
}

function asUser(namespace: Namespace, program: string, args: readonly string[]): Program {
  const user = ['--reuid', USER, '--regid', USER, '--init-groups'];
  return new Program(namespace, 'setpriv', [...user, program, ...args]);
}
