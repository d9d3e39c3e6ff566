/**
 * A curl download from nginx. A server that still has data to write when the link is lost waits for `send_timeout` (60 s by default), and
 * closes an idle connection after `keepalive_timeout` (75 s). These are timers of an application: where the server is beyond the lost link,
 * nobody can reach it, and its kernel gives up on a closed connection after tcp_orphan_retries. Where the server is the held side, what it had
 * written outlives them: a closed connection whose probes are answered lives on.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import { pathOf } from '../stacks/stack.ts';
import { ADDRESS } from '../topology.ts';
import { until } from '../wait.ts';
import { type Application, bad, ok, type Session, type Site } from './application.ts';
import { writeRandom } from './files.ts';
import { Program } from './program.ts';

export interface Download {
  readonly name: string;
  readonly bytes: number;
  /** Where the server runs: beyond the link that is lost, or on the LAN, with the client beyond. */
  readonly server: 'beyond' | 'lan';
  /** nginx's directive; absent: its default. */
  readonly sendTimeout?: string;
  /** The outage is to find it when the server has written everything and the client does not have it yet. */
  readonly untilWritten?: boolean;
}

const PORTS = { default: 8080, patient: 8081 } as const;
const UNDER_WAY = 500_000;

export function curl(download: Download): Application {
  return {
    name: download.name,
    programs: [
      ['curl', 'curl'],
      ['nginx', 'nginx'],
    ],
    start: (site) => fetch(site, download),
  };
}

async function fetch({ lab, directory }: Site, download: Download): Promise<Session> {
  const nginx = pathOf('nginx');
  if (nginx === undefined) throw new TcpfreezeError('PROGRAM_MISSING', 'nginx is missing', 'Debian: nginx');
  const port = download.sendTimeout === undefined ? PORTS.default : PORTS.patient;
  const offered = join(directory, 'offered');
  mkdirSync(offered);
  writeRandom(join(offered, 'file'), 900, download.bytes);
  const configuration = join(directory, 'nginx.conf');
  const log = join(directory, 'access.log');
  writeFileSync(configuration, text(directory, offered, log, port, download.sendTimeout));
  const [near, far] = [lab.host, lab.server];
  const [at, address, from] = download.server === 'lan' ? [near, ADDRESS.host[4], far] : [far, ADDRESS.server[4], near];
  const server = new Program(at, nginx, ['-p', directory, '-c', configuration, '-e', 'stderr']);
  const copy = join(directory, 'copy');
  const isListening = async (): Promise<boolean> => (await at.exec('ss', ['-tlnH'])).includes(`:${port}`);
  await until(isListening, { what: `nginx (${server.quote()})`, timeoutMillis: 10_000 });
  let client: Program | undefined;
  return {
    ready: async () => {
      rmSync(copy, { force: true });
      if (existsSync(log)) truncateSync(log);
      const url = `http://${address}:${port}/file`;
      client = new Program(from, 'curl', ['-sS', '-o', copy, url]);
      const isThere = download.untilWritten
        ? () => existsSync(log) && statSync(log).size > 0
        : () => existsSync(copy) && statSync(copy).size > UNDER_WAY;
      await client.whileRunning('a download under way', isThere);
    },
    isUnderWay: () => client?.exitCode === undefined,
    duringOutage: () => {},
    finish: async () => {
      const code = await client!.ended(120_000);
      if (code !== 0) return bad(`curl ended with ${code}: ${client!.quote()}`);
      const [wanted, got] = [join(offered, 'file'), copy].map((path) =>
        createHash('sha256').update(readFileSync(path)).digest('hex'),
      );
      return wanted === got ? ok(`${download.bytes / 1e6} MB`) : bad('the file is another');
    },
  };
}

/** As Debian configures it (sendfile, tcp_nopush), with its files in the story's directory. */
function text(directory: string, root: string, log: string, port: number, sendTimeout: string | undefined): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${directory}/${name};`,
  );
  return `user root;
worker_processes 1;
daemon off;
pid ${directory}/nginx.pid;
events {}
http {
  sendfile on;
  tcp_nopush on;
  access_log ${log};
${temporary.join('\n')}
  server {
    listen ${port};
    root ${root};
${sendTimeout === undefined ? '' : `    send_timeout ${sendTimeout};`}
  }
}
`;
}
