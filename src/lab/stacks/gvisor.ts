/**
 * gVisor's netstack (Debian runsc): an OCI bundle whose root is this machine's, in a namespace whose interface the sandbox takes over,
 * addresses and routes included.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Namespace, namespaceName } from '../namespace.ts';
import { runCommand } from '../run-command.ts';
import { Peer } from './peer.ts';
import { missingProgram, type Stack } from './stack.ts';

const VETH = 'togvisor';

export const GVISOR: Stack = {
  name: 'gVisor netstack (runsc)',
  key: 'gvisor',
  missing: () => missingProgram(['gcc', 'gcc'], ['runsc', 'runsc'], ['unshare', 'util-linux']),
  start: async (site) => {
    const { host, lab, subnet, directory, peer, target } = site;
    const sandbox = await Namespace.create(namespaceName(lab, 'gvisor'));
    site.onEnd(() => sandbox.dispose());
    await host.ip('link', 'add', VETH, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', sandbox.name);
    await host.ip('address', 'add', `${subnet}.1/24`, 'dev', VETH);
    await host.ip('link', 'set', VETH, 'up');
    await sandbox.ip('address', 'add', `${subnet}.2/24`, 'dev', 'eth0');
    await sandbox.ip('link', 'set', 'eth0', 'up');
    await sandbox.ip('route', 'add', 'default', 'via', `${subnet}.1`);

    const bundle = join(directory, 'bundle');
    const state = join(directory, 'runsc');
    mkdirSync(bundle);
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(configuration(peer, sandbox.path)));
    const id = `${sandbox.name}`;
    const general = ['--root', state, '--platform', 'ptrace', '--network', 'sandbox', '--ignore-cgroups'];
    site.onEnd(async () => {
      await runCommand('runsc', [...general, 'delete', '--force', id]).catch(() => {});
    });
    // runsc refuses the initial namespace, which it knows by a kernel parameter that newer kernels show everywhere
    // (/proc/sys/net/core/rps_default_mask): in a mount namespace of its own that directory is empty.
    const hide = 'mount -t tmpfs none /proc/sys/net/core && exec runsc "$@"';
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', hide, 'runsc'];
    const child = sandbox.spawn('unshare', [...args, ...general, 'run', '--bundle', bundle, id], { stdio: 'pipe' });
    return Peer.ready(child, target);
  },
};

/** OCI runtime specification 1.0.2, config.json. */
function configuration(program: string, network: string): object {
  const own = ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
  return {
    ociVersion: '1.0.2',
    process: { terminal: false, user: { uid: 0, gid: 0 }, args: [program], env: [], cwd: '/', capabilities: {} },
    root: { path: '/', readonly: true },
    linux: { namespaces: [...own, { type: 'network', path: network }] },
  };
}
