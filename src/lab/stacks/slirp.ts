/**
 * libslirp (through slirp4netns), a TCP of BSD lineage. It is an endpoint towards the TAP device and hands the bytes on over the
 * sockets of the namespace in which it runs; there the peer connects to a forwarded port.
 */
import net from 'node:net';
import { join } from 'node:path';
import { TcpfreezeError } from '../../base/errors.ts';
import { Namespace, namespaceName } from '../namespace.ts';
import { until } from '../wait.ts';
import { Peer } from './peer.ts';
import { missingProgram, type Site, type Stack } from './stack.ts';

const TAP = 'tapslirp';
const FORWARDED_PORT = 5900;

export const SLIRP: Stack = {
  name: 'BSD lineage (libslirp)',
  key: 'slirp',
  missing: () => missingProgram(['gcc', 'gcc'], ['slirp4netns', 'slirp4netns']),
  start: async (site) => {
    const { host, lab, subnet, directory, peer } = site;
    const behind = await Namespace.create(namespaceName(lab, 'slirp'));
    site.onEnd(() => behind.dispose());
    // What waits in this kernel's buffers is no matter of the stack.
    await behind.sysctl({ 'net.ipv4.tcp_wmem': '4096 16384 65536', 'net.ipv4.tcp_rmem': '4096 16384 65536' });
    const api = join(directory, 'slirp.sock');
    // The stack's own address is the subnet's 2 by its choice.
    const args = [
      '--cidr',
      `${subnet}.0/24`,
      '--disable-dns',
      '--api-socket',
      api,
      '--netns-type',
      'path',
      host.path,
      TAP,
    ];
    const slirp = behind.spawn('slirp4netns', args, { stdio: 'ignore' });
    await until(async () => slirp.exitCode !== null || (await hasLink(host)), {
      what: 'slirp4netns',
      timeoutMillis: 10_000,
      everyMillis: 20,
    });
    // It resolves whatever it sends to; the host answers for the server.
    await host.sysctl({ [`net.ipv4.conf.${TAP}.proxy_arp`]: 1 });
    await host.ip('address', 'add', `${subnet}.1/24`, 'dev', TAP);
    await host.ip('link', 'set', TAP, 'up');
    await forward(api, site);
    return Peer.ready(behind.spawn(peer, [], { stdio: 'pipe' }), { address: '127.0.0.1', port: FORWARDED_PORT });
  },
};

async function hasLink(host: Namespace): Promise<boolean> {
  return (await host.ip('-brief', 'link')).includes(TAP);
}

/** slirp4netns(1), API: what connects to the port inside becomes a connection of the stack to the server. */
async function forward(api: string, { target }: Site): Promise<void> {
  const order = {
    execute: 'add_hostfwd',
    arguments: {
      proto: 'tcp',
      host_addr: '127.0.0.1',
      host_port: FORWARDED_PORT,
      guest_addr: target.address,
      guest_port: target.port,
    },
  };
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    const socket = net.connect(api, () => socket.end(JSON.stringify(order)));
    socket.setEncoding('utf8').on('data', (piece) => {
      text += piece;
    });
    socket.once('end', () => resolve(text));
    socket.once('error', reject);
  });
  if (!answer.includes('return')) throw new TcpfreezeError('STACK_REFUSED', `slirp4netns: ${answer.trim()}`, '');
}
