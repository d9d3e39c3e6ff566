/**
 * An MQTT subscription across the outage, with messages published meanwhile. The client's keepalive (60 s by default) is a timer of
 * the application, which ends its connection in a longer outage; it then connects anew by itself, and the session, which
 * is persistent, goes on. With a longer keepalive the connection itself lives.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import type { Namespace } from '../namespace.ts';
import { pathOf } from '../stacks/stack.ts';
import { ADDRESS } from '../topology.ts';
import { until } from '../wait.ts';
import { type Application, bad, ok, type Session, type Site } from './application.ts';
import { Program } from './program.ts';

const PORT = '1883';
const TOPIC = 'story';
const MESSAGES = 5;
const START_MILLIS = 10_000;
const ARRIVAL_MILLIS = 60_000;

export function mqtt(keepaliveSeconds?: number): Application {
  const how = keepaliveSeconds === undefined ? 'default keepalive' : `keepalive ${keepaliveSeconds} s`;
  return {
    name: `MQTT subscription, ${how}`,
    programs: [
      ['mosquitto', 'mosquitto'],
      ['mosquitto_sub', 'mosquitto-clients'],
      ['mosquitto_pub', 'mosquitto-clients'],
    ],
    start: (site) => subscribe(site, keepaliveSeconds),
  };
}

async function subscribe({ lab, directory }: Site, keepaliveSeconds: number | undefined): Promise<Session> {
  const port = keepaliveSeconds === undefined ? PORT : String(Number(PORT) + 1);
  const broker = await startBroker(lab.server, directory, port);
  const id = 'subscriber';
  const keepalive = keepaliveSeconds === undefined ? [] : ['-k', String(keepaliveSeconds)];
  const session = ['-i', id, '-c', '-q', '1', ...keepalive];
  const client = new Program(lab.host, 'mosquitto_sub', ['-h', ADDRESS.server[4], '-p', port, '-t', TOPIC, ...session]);
  await broker.says(`${id} 1 ${TOPIC}`, START_MILLIS);
  let published = 0;
  const publish = async (): Promise<void> => {
    for (let i = 0; i < MESSAGES; i++) {
      published++;
      const message = ['-t', TOPIC, '-q', '1', '-m', `message-${published}-`];
      await lab.server.exec('mosquitto_pub', ['-h', '127.0.0.1', '-p', port, ...message]);
    }
  };
  const wanted = (): string => Array.from({ length: published }, (_, index) => `message-${index + 1}-`).join(' ');
  const arrived = (): string => client.output.trim().split('\n').join(' ');
  await publish();
  return {
    ready: () =>
      until(() => arrived() === wanted(), { what: 'first messages', timeoutMillis: START_MILLIS }).then(() => {}),
    isUnderWay: () => client.exitCode === undefined,
    duringOutage: publish,
    finish: async () => {
      await publish();
      await until(() => arrived() === wanted(), { what: '', timeoutMillis: ARRIVAL_MILLIS }).catch(() => {});
      if (arrived() !== wanted()) return bad(`arrived: ${arrived()}`);
      const connections = broker.output.split(`as ${id}`).length - 1;
      if (keepaliveSeconds !== undefined && connections !== 1) return bad(`connected ${connections} times`);
      return ok(
        `${published} messages in order, ${connections === 1 ? 'one connection' : `connected ${connections} times`}`,
      );
    },
  };
}

async function startBroker(server: Namespace, directory: string, port: string): Promise<Program> {
  const program = pathOf('mosquitto');
  if (program === undefined) throw new TcpfreezeError('PROGRAM_MISSING', 'mosquitto is missing', 'Debian: mosquitto');
  const file = join(directory, 'mosquitto.conf');
  writeFileSync(file, `listener ${port}\nallow_anonymous true\nlog_dest stderr\nlog_type all\n`);
  // It gives up root before it reads the file a second time.
  chmodSync(directory, 0o755);
  const broker = new Program(server, program, ['-c', file]);
  await broker.says(/running/, START_MILLIS);
  return broker;
}
