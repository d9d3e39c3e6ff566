/** lwIP (Debian liblwip-dev), the stack of embedded devices, as a library of the peer itself. */
import { TcpfreezeError } from '../../base/errors.ts';
import { lwipIsInstalled, Peer } from './peer.ts';
import { missingProgram, type Stack } from './stack.ts';

const TAP = 'taplwip';

export const LWIP: Stack = {
  name: 'lwIP 2.1',
  key: 'lwip',
  missing: () =>
    missingProgram(['gcc', 'gcc']) ?? (lwipIsInstalled ? undefined : 'liblwip is missing (Debian: liblwip-dev)'),
  start: async ({ host, peerLwip, subnet, target }) => {
    if (peerLwip === undefined) throw new TcpfreezeError('STACK_MISSING', 'liblwip is missing', 'Debian: liblwip-dev');
    await host.ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap');
    await host.ip('address', 'add', `${subnet}.1/24`, 'dev', TAP);
    await host.ip('link', 'set', TAP, 'up');
    const env = { ...process.env, PRECONFIGURED_TAPIF: TAP };
    const args = [`${subnet}.2`, '255.255.255.0', `${subnet}.1`];
    return Peer.ready(host.spawn(peerLwip, args, { stdio: 'pipe', env }), target);
  },
};
