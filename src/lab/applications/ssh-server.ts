/** An OpenSSH server with Debian's settings beyond the link, and how the host's clients reach it. Used by ssh, rsync and git. */
import { copyFileSync, existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import { onLabExit } from '../registry.ts';
import { runCommand } from '../run-command.ts';
import { pathOf } from '../stacks/stack.ts';
import { ADDRESS, type Lab } from '../topology.ts';
import { Program } from './program.ts';

const PORT = '2222';
const CONFIGURATION = '/etc/ssh/sshd_config';
/** Privilege separation directory of Debian's sshd, which its service makes at start. */
const RUN_DIRECTORY = '/run/sshd';
const START_MILLIS = 10_000;

export class SshServer {
  readonly destination = `root@${ADDRESS.server[4]}`;
  readonly port = PORT;
  /** Options of the client: no settings of this machine's user, the story's own keys. */
  readonly clientOptions: readonly string[];

  private constructor(directory: string) {
    this.clientOptions = [
      ...['-F', 'none', '-i', join(directory, 'user'), '-o', `UserKnownHostsFile=${join(directory, 'known_hosts')}`],
      ...['-o', 'StrictHostKeyChecking=no', '-o', 'LogLevel=ERROR', '-p', PORT],
    ];
  }

  /** @param directory for keys @throws TcpfreezeError: it did not start */
  static async start(lab: Lab, directory: string): Promise<SshServer> {
    for (const name of ['host', 'user']) {
      await runCommand('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)]);
    }
    copyFileSync(join(directory, 'user.pub'), join(directory, 'authorized_keys'));
    if (!existsSync(RUN_DIRECTORY)) {
      mkdirSync(RUN_DIRECTORY, { mode: 0o755 });
      onLabExit(() => rmdirSync(RUN_DIRECTORY));
    }
    const sshd = pathOf('sshd');
    if (sshd === undefined) throw new TcpfreezeError('PROGRAM_MISSING', 'sshd is missing', 'Debian: openssh-server');
    const own = [
      `Port=${PORT}`,
      `HostKey=${join(directory, 'host')}`,
      `AuthorizedKeysFile=${join(directory, 'authorized_keys')}`,
      'PidFile=none',
      // Temporary directories lie in one that everybody may write.
      'StrictModes=no',
    ];
    const args = ['-D', '-e', '-f', CONFIGURATION, ...own.flatMap((option) => ['-o', option])];
    const server = new Program(lab.server, sshd, args);
    await server.says('Server listening', START_MILLIS);
    return new SshServer(directory);
  }

  /** The ssh command as one word, for programs that take it from an option or the environment. */
  get command(): string {
    return ['ssh', ...this.clientOptions].join(' ');
  }
}
