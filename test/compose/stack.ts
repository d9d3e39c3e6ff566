/**
 * One profile of docker-compose.yml, brought up under a project name of its own and without its own transfers and cuts.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatusJson } from '../../src/control/api.ts';
import { onLabExit } from '../../src/lab/registry.ts';
import { attempt, composeCommand, docker, type Outcome, succeed, until } from './engine.ts';
import { projectName, removeProject } from './projects.ts';

export type Profile = 'router' | 'nat' | 'access';

/** Where each profile loses its link: the gateway's interface, and the network and addresses behind it. */
const LOST = {
  router: {
    link: 'wan0',
    network: 'router-wan',
    address: { 4: '10.82.2.3', 6: 'fd82:2::3' },
    server: { 4: '10.82.3.2', 6: 'fd82:3::2' },
  },
  nat: {
    link: 'wan0',
    network: 'nat-wan',
    address: { 4: '10.83.2.3', 6: 'fd83:2::3' },
    server: { 4: '10.83.2.2', 6: 'fd83:2::2' },
  },
  access: {
    link: 'lan0',
    network: 'access-lan',
    address: { 4: '10.84.1.3', 6: 'fd84:1::3' },
    server: { 4: '10.84.2.2', 6: 'fd84:2::2' },
  },
} as const;

/** Congestion and loss state of the sending socket, as `ss -ti` words it. */
export interface SenderState {
  readonly cwnd: number;
  readonly backoff: number;
  /** Segments repeated since the connection began. */
  readonly retransmitted: number;
  /** Sent and not acknowledged, in segments. */
  readonly unacked: number;
}

export class Stack {
  readonly profile: Profile;
  readonly project: string;
  readonly plain: boolean;
  /** Folder of the captures. */
  readonly captures = mkdtempSync(join(tmpdir(), 'tcpfreeze-captures-'));
  readonly #containers = new Map<string, string>();
  #release = (): void => {};

  constructor(profile: Profile, options: { readonly plain?: boolean } = {}) {
    this.profile = profile;
    this.plain = options.plain === true;
    this.project = projectName(`${profile}${this.plain ? '-plain' : ''}`);
  }

  get link(): string {
    return LOST[this.profile].link;
  }

  compose(...args: string[]): Promise<string> {
    const [program, all] = composeCommand('--project-name', this.project, '--profile', this.profile, ...args);
    return succeed(program, all, {
      TCPFREEZE_TRANSFERS: 'off',
      TCPFREEZE_PLAIN: this.plain ? '1' : '',
      TCPFREEZE_CAPTURES: this.captures,
    });
  }

  /** Everything but the service that cuts; returns when gateway and server are healthy. */
  async up(): Promise<void> {
    const roles = ['gateway', 'server', 'client', 'viewer', ...(this.profile === 'router' ? ['link'] : [])];
    // Remembered before it exists: a signal may come in between.
    this.#release = onLabExit(() => {
      removeProject(this.project);
      rmSync(this.captures, { recursive: true, force: true });
    });
    await this.compose('up', '-d', ...roles.map((role) => `${this.profile}-${role}`)).catch(explain);
    for (const family of [4, 6] as const) {
      await until(`the client reaches the server by IPv${family}`, 20, async () => {
        const { exitCode } = await this.try('client', 'curl', '-sf', '-m', '1', `${this.#url(family)}/alive`);
        return exitCode === 0;
      });
    }
  }

  async down(): Promise<void> {
    await this.compose('down', '--volumes', '--timeout', '5');
    rmSync(this.captures, { recursive: true, force: true });
    this.#release();
  }

  /** What the engine still has of this project. */
  async remains(): Promise<string[]> {
    const filter = ['--filter', `label=com.docker.compose.project=${this.project}`, '-q'];
    const lists = [
      docker('ps', '-a', ...filter),
      docker('network', 'ls', ...filter),
      docker('volume', 'ls', ...filter),
    ];
    return (await Promise.all(lists)).flatMap((text) => text.split('\n').filter((line) => line !== ''));
  }

  /** Id of the container of a service, running or not. Remembered: compose takes a second to tell. */
  async container(role: string): Promise<string> {
    const known = this.#containers.get(role);
    if (known !== undefined) return known;
    const filters = [`project=${this.project}`, `service=${this.profile}-${role}`];
    const labels = filters.flatMap((one) => ['--filter', `label=com.docker.compose.${one}`]);
    const id = (await docker('ps', '--all', '--quiet', ...labels)).trim();
    if (id === '') throw new Error(`there is no container of ${role}`);
    this.#containers.set(role, id);
    return id;
  }

  async exec(role: string, ...command: string[]): Promise<string> {
    return docker('exec', await this.container(role), ...command);
  }

  /** Runs a program as an ordinary user of the container. @returns standard output */
  async as(user: string, role: string, ...command: string[]): Promise<string> {
    return docker('exec', '--user', user, await this.container(role), ...command);
  }

  /** Address of the server. */
  server(family: 4 | 6): string {
    return LOST[this.profile].server[family];
  }

  /** A command line that logs in at the server. */
  ssh(family: 4 | 6): string {
    const options = 'StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes';
    return `ssh -i /opt/keys/guest -p 2222 -o ${options} guest@${this.server(family)}`;
  }

  async try(role: string, ...command: string[]): Promise<Outcome> {
    return attempt('docker', ['exec', await this.container(role), ...command]);
  }

  async status(): Promise<StatusJson> {
    return JSON.parse(await this.exec('gateway', 'tcpfreeze', 'status', '--json')) as StatusJson;
  }

  /** Cuts the way a person would: the interface, inside the container. */
  async linkDown(): Promise<void> {
    await this.exec('gateway', 'ip', 'link', 'set', 'dev', this.link, 'down');
  }

  async linkUp(): Promise<void> {
    await this.exec('gateway', 'ip', 'link', 'set', 'dev', this.link, 'up');
  }

  /** Takes the interface away altogether. */
  async unplug(): Promise<void> {
    await docker('network', 'disconnect', this.#network, await this.container('gateway'));
  }

  /** Another interface, with the same addresses. */
  async plug(): Promise<void> {
    const { address } = LOST[this.profile];
    const own = ['--ip', address[4], '--ip6', address[6]];
    await docker('network', 'connect', ...own, this.#network, await this.container('gateway'));
  }

  /** Starts a transfer of random bytes away from the endpoint that gets frozen, and returns when it is well under way. */
  async transfer(mebibytes: number, family: 4 | 6): Promise<Transfer> {
    const url = this.#url(family);
    const sender = this.profile === 'access' ? 'server' : 'client';
    const file = `/tmp/sent-${mebibytes}`;
    const place = sender === 'client' ? file : '/srv/www/sent';
    await this.exec(sender, 'sh', '-c', `head -c ${mebibytes}M /dev/urandom >${place} && chmod 644 ${place}`);
    const sent = hashIn(await this.exec(sender, 'sha256sum', place));
    const wanted = ['-sS', '-f', '-m', '150'];
    const command =
      sender === 'client'
        ? ['curl', ...wanted, '-T', place, `${url}/received`]
        : ['curl', ...wanted, '-o', '/tmp/received', `${url}/sent`];
    const begun = performance.now();
    const end = this.try('client', ...command);
    const received = sender === 'client' ? ['server', '/srv/www/received'] : ['client', '/tmp/received'];
    const done = end.then(async ({ exitCode, stderr }) => {
      const seconds = (performance.now() - begun) / 1_000;
      if (exitCode !== 0) throw new Error(`curl ended with ${exitCode}: ${stderr.trim()}`);
      return { seconds, hash: hashIn(await this.exec(received[0]!, 'sha256sum', received[1]!)) };
    });
    // Waited for later; until then a failure must not count as unhandled.
    done.catch(() => {});
    const transfer: Transfer = { sender, sent, done };
    await until('the transfer is under way', 15, async () => (await this.acknowledged(transfer)) > 1 << 20);
    return transfer;
  }

  /** Bytes that the peer of the sending socket has acknowledged so far. */
  async acknowledged(transfer: Transfer): Promise<number> {
    return figure(await this.#socket(transfer), /bytes_acked:(\d+)/);
  }

  async sender(transfer: Transfer): Promise<SenderState> {
    const text = await this.#socket(transfer);
    if (text === '') throw new Error('the sending socket is gone');
    return {
      cwnd: figure(text, /\bcwnd:(\d+)/),
      backoff: figure(text, /backoff:(\d+)/),
      retransmitted: figure(text, /retrans:\d+\/(\d+)/),
      unacked: figure(text, /unacked:(\d+)/),
    };
  }

  /** The line of the sending socket: the one with the most bytes sent. */
  async #socket(transfer: Transfer): Promise<string> {
    const text = await this.exec(transfer.sender, 'ss', '-tinH', 'state', 'established');
    const lines = text.split('\n').filter((line) => line.includes('bytes_sent'));
    const bytes = (line: string) => figure(line, /bytes_sent:(\d+)/);
    return lines.toSorted((a, b) => bytes(b) - bytes(a))[0] ?? '';
  }

  get #network(): string {
    return `${this.project}_${LOST[this.profile].network}`;
  }

  #url(family: 4 | 6): string {
    const server = this.server(family);
    return `http://${family === 6 ? `[${server}]` : server}:8080`;
  }
}

export interface Transfer {
  readonly sender: 'client' | 'server';
  /** SHA-256 of what is sent. */
  readonly sent: string;
  /** Resolves when it is complete. */
  readonly done: Promise<{ readonly seconds: number; readonly hash: string }>;
}

/** @throws Error always: what compose said, and what to do where another project holds the addresses */
function explain(error: Error): never {
  if (!error.message.includes('overlaps')) throw error;
  throw new Error(
    'another network of this engine has addresses of docker-compose.yml (10.82.0.0 to 10.84.255.255): find it with `docker network ls`, and end the project that it belongs to with `docker compose --project-name PROJECT --profile PROFILE down --volumes`',
    { cause: error },
  );
}

function figure(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? 0);
}

function hashIn(text: string): string {
  const hash = /^[0-9a-f]{64}/.exec(text)?.[0];
  if (hash === undefined) throw new Error(`no hash: ${text}`);
  return hash;
}

/** SHA-256 of nothing: what a transfer that moved no byte would have. */
export const EMPTY_HASH: string = createHash('sha256').digest('hex');
