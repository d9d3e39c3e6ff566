/** The kernel of this machine. It takes a zero window whose ACK does not advance. */
import { release } from 'node:os';
import { Peer } from './peer.ts';
import { missingProgram, type Stack } from './stack.ts';

export const HOST_KERNEL: Stack = {
  name: `Linux ${/^\d+\.\d+/.exec(release())?.[0]} (this machine)`,
  key: 'host',
  missing: () => missingProgram(['gcc', 'gcc']),
  start: async ({ host, peer, target }) => Peer.ready(host.spawn(peer, [], { stdio: 'pipe' }), target),
};
