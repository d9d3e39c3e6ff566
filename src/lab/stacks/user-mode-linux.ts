/**
 * Linux 6.1 as a process (Debian user-mode-linux): boots from this machine's root directory, read-only, with the peer as its first
 * process. As most deployed kernels it ignores a zero window whose ACK does not advance (tcp_may_update_window before 6.6).
 */
import { Peer } from './peer.ts';
import { missingProgram, type Stack } from './stack.ts';

const TAP = 'taplinux';
const MEMORY = '64M';

export const USER_MODE_LINUX: Stack = {
  name: 'Linux 6.1 (user-mode-linux)',
  key: 'uml',
  missing: () => missingProgram(['gcc', 'gcc'], ['linux.uml', 'user-mode-linux']),
  start: async ({ host, peer, subnet, directory, target }) => {
    await host.ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap');
    await host.ip('address', 'add', `${subnet}.1/24`, 'dev', TAP);
    await host.ip('link', 'set', TAP, 'up');
    const args = [
      `mem=${MEMORY}`,
      ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro'],
      `eth0=tuntap,${TAP}`,
      `uml_dir=${directory}`,
      ...['con=null', 'con0=fd:0,fd:1', 'quiet', 'loglevel=0'],
      `init=${peer}`,
      // What follows `--` are the first process's arguments.
      ...['--', `${subnet}.2`, '255.255.255.0', `${subnet}.1`],
    ];
    return Peer.ready(host.spawn('linux.uml', args, { stdio: 'pipe' }), target);
  },
};
