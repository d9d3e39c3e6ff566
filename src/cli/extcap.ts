/**
 * `tcpfreeze extcap`: the gateway's links in Wireshark's list of interfaces, those of this machine and, over ssh, of any other.
 * Speaks the extcap protocol (Wireshark, doc/extcap.adoc): Wireshark asks what there is, and then for a capture into a pipe.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { TcpfreezeError } from '../base/errors.ts';
import { parseFilter } from '../capture/filter-language.ts';
import { LINKTYPE_RAW } from '../capture/pcapng-writer.ts';
import { ControlClient } from '../control/client.ts';
import { controlPath } from '../control/socket.ts';
import { packageVersion } from '../control/version.ts';
import { streamTo } from './capture.ts';

export interface ExtcapFlags {
  readonly extcapInterfaces?: boolean;
  readonly extcapInterface?: string;
  readonly extcapDlts?: boolean;
  readonly extcapConfig?: boolean;
  readonly extcapCaptureFilter?: string;
  readonly capture?: boolean;
  readonly fifo?: string;
  readonly control?: string;
  readonly snaplen?: number;
  readonly ssh?: string;
  readonly sshPort?: number;
  readonly remoteCommand?: string;
}

/** Names that Wireshark knows the interfaces by. */
const ALL = 'tcpfreeze';
const SSH = 'tcpfreeze-ssh';
const LINK = 'tcpfreeze-link-';

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Braces end a value in this protocol. */
function value(text: string): string {
  return text.replace(/[{}\n]/g, ' ');
}

/** Wireshark hands over empty values, too. */
function clientOf({ control }: ExtcapFlags): ControlClient {
  return new ControlClient(controlPath(control === '' ? undefined : control));
}

/** Names of the links of the gateway on this machine; null where none runs, or it may not be asked. */
async function localLinks(flags: ExtcapFlags): Promise<string[] | null> {
  try {
    return (await clientOf(flags).status()).links.map(({ name }) => name);
  } catch (error) {
    if (error instanceof TcpfreezeError) return null;
    throw error;
  }
}

/** @throws TcpfreezeError USAGE, and what a capture throws */
export async function extcap(flags: ExtcapFlags): Promise<void> {
  if (flags.extcapInterfaces === true) return listInterfaces(flags);
  const name = flags.extcapInterface;
  if (name === undefined) throw usage('no --extcap-interface is named');
  if (name !== ALL && name !== SSH && !name.startsWith(LINK)) throw usage(`there is no interface ${name}`);
  if (flags.extcapDlts === true) return print(`dlt {number=${LINKTYPE_RAW}}{name=LINKTYPE_RAW}{display=Raw IP}`);
  if (flags.extcapConfig === true) return listConfig(name);
  if (flags.capture === true) return capture(name, flags);
  if (flags.extcapCaptureFilter !== undefined) return checkFilter(flags.extcapCaptureFilter, flags);
  throw usage('nothing is asked for: --extcap-interfaces, --extcap-dlts, --extcap-config or --capture');
}

async function listInterfaces(flags: ExtcapFlags): Promise<void> {
  print(`extcap {version=${packageVersion()}}{display=tcpfreeze}`);
  const links = await localLinks(flags);
  if (links !== null) {
    print(`interface {value=${ALL}}{display=tcpfreeze: all links}`);
    for (const link of links) print(`interface {value=${LINK}${value(link)}}{display=tcpfreeze: ${value(link)}}`);
  }
  print(`interface {value=${SSH}}{display=tcpfreeze: another machine, by ssh}`);
}

function listConfig(name: string): void {
  const all = [
    ...(name === SSH
      ? [
          '{call=--ssh}{display=Machine}{tooltip=as for ssh, without a password: user@router}{type=string}{required=true}',
          '{call=--ssh-port}{display=Port}{type=unsigned}{range=1,65535}{default=22}',
          '{call=--remote-command}{display=Command there}{tooltip=for example: sudo tcpfreeze}{type=string}{default=tcpfreeze}',
        ]
      : []),
    '{call=--control}{display=Control socket}{tooltip=empty: the usual place}{type=string}',
    '{call=--snaplen}{display=Bytes of each packet}{type=unsigned}{range=1,65535}{default=65535}',
  ];
  all.forEach((one, number) => {
    print(`arg {number=${number}}${one}`);
  });
}

/** What is wrong with a filter is said on standard output, with nothing else: silence means that it is right. */
async function checkFilter(text: string, flags: ExtcapFlags): Promise<void> {
  try {
    // The links of another machine are not known here.
    const named = [...text.matchAll(/\blink\s+([^\s()]+)/g)].map((match) => match[1]!);
    parseFilter(text, flags.extcapInterface === SSH ? named : ((await localLinks(flags)) ?? named));
  } catch (error) {
    if (!(error instanceof TcpfreezeError)) throw error;
    print(error.message);
  }
}

async function capture(name: string, flags: ExtcapFlags): Promise<void> {
  const { fifo, extcapCaptureFilter = '', snaplen } = flags;
  if (fifo === undefined) throw usage('no --fifo is named');
  const filter = name.startsWith(LINK) ? withLink(name.slice(LINK.length), extcapCaptureFilter) : extcapCaptureFilter;
  const output = createWriteStream(fifo);
  // A Wireshark that has seen enough closes the pipe.
  output.on('error', () => {});
  try {
    if (name === SSH) await captureBySsh(filter, flags, output);
    else {
      await streamTo(clientOf(flags), { filter, ...(snaplen === undefined ? {} : { snaplen }) }, output);
    }
  } finally {
    output.end();
  }
}

function withLink(link: string, filter: string): string {
  return filter.trim() === '' ? `link ${link}` : `link ${link} and (${filter})`;
}

/** The same capture by the command line of the other machine. */
async function captureBySsh(filter: string, flags: ExtcapFlags, output: NodeJS.WritableStream): Promise<void> {
  const { ssh, sshPort, remoteCommand = 'tcpfreeze', control = '', snaplen } = flags;
  if (ssh === undefined || ssh === '') throw usage('no machine is named: --ssh user@router');
  const words = ['capture', 'start', '--file', '-'];
  if (filter !== '') words.push('--filter', filter);
  if (snaplen !== undefined) words.push('--snaplen', String(snaplen));
  if (control !== '') words.push('--control', control);
  // The other side's shell reads the command; what the user typed as command is meant for it.
  const command = [remoteCommand, ...words.map(quoted)].join(' ');
  const port = sshPort === undefined ? [] : ['-p', String(sshPort)];
  const child = spawn('ssh', ['-T', '-o', 'BatchMode=yes', ...port, '--', ssh, command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = (): void => void child.kill('SIGTERM');
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', () =>
      reject(new TcpfreezeError('PROGRAM_MISSING', 'ssh is missing', 'install it (Debian: openssh-client)')),
    );
    child.once('close', resolve);
  });
  const piped = pipeline(child.stdout, output).catch(() => stop());
  const code = await ended;
  await piped;
  if (code !== 0 && code !== null) {
    const last = said.trim().split('\n').at(-1) ?? '';
    throw new TcpfreezeError(
      'SSH_FAILED',
      `${ssh}: ${last === '' ? `ssh ended with ${code}` : last}`,
      `try: ssh ${ssh} tcpfreeze status`,
    );
  }
}

/** One word for a POSIX shell. */
export function quoted(word: string): string {
  return /^[\w./:@=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function usage(message: string): TcpfreezeError {
  return new TcpfreezeError('USAGE', message, 'this command is for Wireshark (extcap)', 2);
}
