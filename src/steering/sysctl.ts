/**
 * Per-interface settings of the network stack, through /proc/sys/net. That tree shows the network namespace of the
 * process that opens it (Linux net/sysctl_net.c), so no `sysctl` program is needed.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';

const ROOT = '/proc/sys/net';

/** @returns the value without the line end, or undefined when this kernel has no such setting. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`${ROOT}/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * @param path below /proc/sys/net, e.g. `ipv4/conf/tun0/rp_filter`
 * @throws TcpfreezeError SYSCTL_FAILED
 */
export function writeSysctl(path: string, value: string | number): void {
  // In a container /proc/sys is read-only, and the values come from the container's definition.
  if (readSysctl(path) === String(value)) return;
  try {
    writeFileSync(`${ROOT}/${path}`, String(value));
  } catch (error) {
    throw new TcpfreezeError(
      'SYSCTL_FAILED',
      `cannot set net.${path.replaceAll('/', '.')} to ${value}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`,
      'run as root, with a writable /proc/sys (in a container give it --sysctl net.ipv4.conf.default.rp_filter=0 and the like)',
      1,
      error,
    );
  }
}

/** Whether this kernel has IPv6 at all (it may be left out, or disabled at boot). */
export function hasIpv6(): boolean {
  return existsSync(`${ROOT}/ipv6/conf/all/forwarding`);
}

/** Settings of the TUN device; it is ours, and they vanish with it. */
export function tunSysctls(tun: string, ipv6: boolean, rpFilter: '0' | '2', marked: boolean): [string, string][] {
  const v4 = `ipv4/conf/${tun}`;
  const v6 = `ipv6/conf/${tun}`;
  const settings: [string, string][] = [
    // The effective value is the maximum of `all` and the device (Documentation/networking/ip-sysctl.rst).
    [`${v4}/rp_filter`, rpFilter],
    [`${v4}/src_valid_mark`, marked ? '1' : '0'],
    // What enters by the TUN is forwarded whatever `default` said when the device was made.
    [`${v4}/forwarding`, '1'],
    // A redirect would tell a LAN host to go round the router; the packet came in by another interface in truth.
    [`${v4}/send_redirects`, '0'],
    [`${v4}/accept_redirects`, '0'],
  ];
  if (!ipv6) return settings;
  return [
    ...settings,
    [`${v6}/disable_ipv6`, '0'],
    // No link-local address, hence no duplicate detection, no router solicitation, no multicast reports into the TUN.
    [`${v6}/addr_gen_mode`, '1'],
    [`${v6}/accept_ra`, '0'],
    [`${v6}/autoconf`, '0'],
    // The device's own setting makes it a router that joins groups and reports them; forwarding goes by `all` (ip6_forward).
    [`${v6}/forwarding`, '0'],
    [`${v6}/accept_redirects`, '0'],
  ];
}

/** Whether a setting of the TUN only spares messages that nobody would answer. */
export function isCosmetic(path: string): boolean {
  return /^ipv6\/.*\/(forwarding|accept_ra|autoconf|accept_redirects|addr_gen_mode)$/.test(path);
}
