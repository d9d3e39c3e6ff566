/**
 * Names and remedies for errno values (uapi/asm-generic/errno-base.h and errno.h; x86, arm and riscv share them).
 *
 * System calls here return a negative errno instead of throwing, as the kernel does: on the hot path an EAGAIN is no
 * event worth an exception. Set-up code turns them into an error for people with `systemError`.
 */
import { TcpfreezeError } from '../base/errors.ts';

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const ENODEV = 19;
export const EINVAL = 22;
export const EMFILE = 24;
export const EMSGSIZE = 90;
export const ENETDOWN = 100;
export const ENOBUFS = 105;

const NAMES: ReadonlyMap<number, string> = new Map([
  [EPERM, 'EPERM'],
  [ENOENT, 'ENOENT'],
  [EINTR, 'EINTR'],
  [EIO, 'EIO'],
  [6, 'ENXIO'],
  [EBADF, 'EBADF'],
  [EAGAIN, 'EAGAIN'],
  [ENOMEM, 'ENOMEM'],
  [EACCES, 'EACCES'],
  [14, 'EFAULT'],
  [EBUSY, 'EBUSY'],
  [17, 'EEXIST'],
  [ENODEV, 'ENODEV'],
  [EINVAL, 'EINVAL'],
  [23, 'ENFILE'],
  [EMFILE, 'EMFILE'],
  [25, 'ENOTTY'],
  [28, 'ENOSPC'],
  [34, 'ERANGE'],
  [38, 'ENOSYS'],
  [77, 'EBADFD'],
  [EMSGSIZE, 'EMSGSIZE'],
  [92, 'ENOPROTOOPT'],
  [93, 'EPROTONOSUPPORT'],
  [95, 'EOPNOTSUPP'],
  [97, 'EAFNOSUPPORT'],
  [98, 'EADDRINUSE'],
  [99, 'EADDRNOTAVAIL'],
  [ENETDOWN, 'ENETDOWN'],
  [ENOBUFS, 'ENOBUFS'],
]);

/** Symbolic name of an errno, e.g. `EBUSY`; `errno 123` for one without a name here. Accepts either sign. */
export function errnoName(errno: number): string {
  const value = Math.abs(errno);
  return NAMES.get(value) ?? `errno ${value}`;
}

const REMEDIES: ReadonlyMap<number, string> = new Map([
  [EPERM, 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW'],
  [EACCES, 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW'],
  [EMFILE, 'raise the limit on open files (ulimit -n)'],
  [23, 'raise fs.file-max'],
  [ENOMEM, 'free memory, or configure a smaller arena'],
  [ENOBUFS, 'free memory, or configure a smaller arena'],
  [ENODEV, 'list the interfaces there are with: ip link'],
  [97, 'the kernel lacks this protocol family; use a kernel built with it'],
]);

/**
 * An error for people from a failed call.
 * @param call what was tried, e.g. `socket(AF_PACKET)`
 * @param errno as returned, either sign
 * @param remedy overrides the general advice for this errno
 */
export function systemError(call: string, errno: number, remedy?: string): TcpfreezeError {
  const name = errnoName(errno);
  return new TcpfreezeError(
    `SYSTEM_${name.replace(' ', '_').toUpperCase()}`,
    `${call} failed: ${name}`,
    remedy ?? REMEDIES.get(Math.abs(errno)) ?? '',
  );
}
