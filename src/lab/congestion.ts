/**
 * Congestion control for the lab's namespaces.
 *
 * A child namespace may select only what the initial namespace allows (net/ipv4/tcp_cong.c: TCP_CONG_NON_RESTRICTED), and
 * that list is a parameter of the initial namespace alone. Adding CUBIC or Reno to it is the one thing that the lab changes
 * outside its own namespaces: it adds, never removes, changes no connection, and lasts until the next boot.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { TcpfreezeError } from '../base/errors.ts';
import type { Namespace } from './namespace.ts';

const ALLOWED = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';
const AVAILABLE = '/proc/sys/net/ipv4/tcp_available_congestion_control';

/** These are built into every Linux kernel of distributions, or loadable there; nothing else is put on the list. */
const MAY_ALLOW = ['cubic', 'reno', 'bbr'];

/**
 * Makes sure that a congestion control can be selected in a child namespace.
 * @returns the name
 * @throws TcpfreezeError CONGESTION_UNAVAILABLE
 */
export async function chooseCongestion(name: string): Promise<string> {
  const allowed = await readFile(ALLOWED, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
  // The list shows in the initial namespace alone. Elsewhere only trying tells: `selectCongestion`.
  if (allowed === undefined) return name;
  if (allowed.split(' ').includes(name)) return name;
  const available = (await readFile(AVAILABLE, 'utf8')).trim().split(' ');
  if (available.includes(name) && MAY_ALLOW.includes(name)) {
    try {
      await writeFile(ALLOWED, `${allowed} ${name}`);
      return name;
    } catch {
      // Root of a user namespace may not; the remedy below is for the machine's owner.
    }
  }
  throw unavailable(name, allowed);
}

/** Selects a congestion control in a namespace. @throws TcpfreezeError CONGESTION_UNAVAILABLE */
export async function selectCongestion(namespace: Namespace, name: string): Promise<void> {
  try {
    await namespace.sysctl({ 'net.ipv4.tcp_congestion_control': name });
  } catch {
    throw unavailable(name, '<those allowed now>');
  }
}

function unavailable(name: string, allowed: string): TcpfreezeError {
  return new TcpfreezeError(
    'CONGESTION_UNAVAILABLE',
    `congestion control ${name} cannot be selected in a network namespace`,
    `as root: modprobe tcp_${name}; sysctl -w net.ipv4.tcp_allowed_congestion_control="${allowed} ${name}"`,
  );
}
