/**
 * TUN devices (drivers/net/tun.c, uapi/linux/if_tun.h): open one, with the virtio-net header and the segmentation
 * offloads that let 64 KiB super-packets through. native-notes/tun-abi.md proves the numbers.
 *
 * The device is never made persistent: it vanishes with the last descriptor, and its routes with it. That is what
 * makes the gateway fail open.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { EACCES, EBUSY, EINVAL, ENODEV, ENOENT, EPERM, errnoName, systemError } from './errno.ts';
import { addressOf, close, interfaceIndex, ioctl, O_NONBLOCK, O_RDWR, open } from './libc.ts';

const TUN_PATH = '/dev/net/tun';

/** _IOW('T', 202, int) and _IOW('T', 208, unsigned int), as encoded by uapi/asm-generic/ioctl.h (x86, arm, riscv). */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;

const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Never attach to a device that already exists: it is somebody else's. */
const IFF_TUN_EXCL = 0x8000;

/** struct ifreq on 64-bit: name[16], then a union of 24 bytes whose first member here is `short flags`. */
const IFREQ_BYTES = 40;
/** IFNAMSIZ - 1, uapi/linux/if.h. */
const NAME_MAX = 15;

/** sizeof(struct virtio_net_hdr), uapi/linux/virtio_net.h; the default that TUNGETVNETHDRSZ reports. */
const VNET_HEADER_BYTES = 10;

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;

/** Best first. Every step is a combination that some kernel accepts where it refuses the one before. */
const OFFLOAD_STEPS: readonly { readonly flags: number; readonly names: string; readonly gso: boolean }[] = [
  { flags: TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN, names: 'CSUM|TSO4|TSO6|TSO_ECN', gso: true },
  { flags: TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, names: 'CSUM|TSO4|TSO6', gso: true },
  { flags: TUN_F_CSUM, names: 'CSUM', gso: false },
];

export interface TunOptions {
  /** 1 to 15 characters; must not exist yet. A `%d` in it is replaced by the first free number. */
  readonly name: string;
  /** Ask for the virtio-net header. Default true; without it packets come one MTU at a time. */
  readonly vnetHeader?: boolean;
  /** Ask for checksum and segmentation offload. Default true; only with the header. */
  readonly offloads?: boolean;
}

export interface Tun {
  /** Non-blocking; whoever opened it closes it, and the device vanishes then. */
  readonly fd: number;
  /** The name that the kernel gave. The device is down and has no address. */
  readonly name: string;
  readonly vnetHeaderLength: 0 | 10;
  /** Super-packets may be read and written. */
  readonly gso: boolean;
  /** The kernel passes TCP segments with CWR in super-packets, too (otherwise it splits those before). */
  readonly gsoEcn: boolean;
  /** What the kernel refused, one readable reason each; empty when everything asked for was granted. */
  readonly degraded: readonly string[];
}

/**
 * Creates a TUN device in the current network namespace.
 * @throws TcpfreezeError with code TUN_NAME_INVALID, TUN_NAME_IN_USE, TUN_MISSING (no /dev/net/tun or no driver),
 *   TUN_FORBIDDEN (CAP_NET_ADMIN lacking, or the device node not writable), or SYSTEM_*
 */
export function openTun(options: TunOptions): Tun {
  const { name, vnetHeader = true, offloads = true } = options;
  if (!isInterfaceName(name)) {
    throw new TcpfreezeError(
      'TUN_NAME_INVALID',
      `${JSON.stringify(name)} cannot be an interface name`,
      `choose one of 1 to ${NAME_MAX} characters without space, slash or colon`,
    );
  }
  const fd = open(TUN_PATH, O_RDWR | O_NONBLOCK);
  if (fd < 0) throw openError(fd);
  try {
    const degraded: string[] = [];
    let header = vnetHeader;
    let attached = attach(fd, name, header);
    if (attached.errno === EINVAL && header && interfaceIndex(name) === 0) {
      degraded.push(`the kernel refused TUNSETIFF with IFF_VNET_HDR (EINVAL): packets come one MTU at a time`);
      header = false;
      attached = attach(fd, name, header);
    }
    if (attached.errno !== 0) throw attachError(name, attached.errno);
    let gso = false;
    let gsoEcn = false;
    if (header && offloads) {
      const granted = setOffloads(fd, degraded);
      gso = (granted & TUN_F_TSO4) !== 0;
      gsoEcn = (granted & TUN_F_TSO_ECN) !== 0;
    }
    return { fd, name: attached.name, vnetHeaderLength: header ? VNET_HEADER_BYTES : 0, gso, gsoEcn, degraded };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** As dev_valid_name() in net/core/dev.c has it, printable ASCII only. */
export function isInterfaceName(name: string): boolean {
  return /^[!-~]+$/.test(name) && name.length <= NAME_MAX && name !== '.' && name !== '..' && !/[/:]/.test(name);
}

/** TUNSETIFF. `errno` is 0 or positive; `name` what the kernel made of it. */
function attach(fd: number, name: string, vnetHeader: boolean): { errno: number; name: string } {
  const request = new Uint8Array(IFREQ_BYTES);
  for (let i = 0; i < name.length; i++) request[i] = name.charCodeAt(i);
  new Uint16Array(request.buffer)[8] = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL | (vnetHeader ? IFF_VNET_HDR : 0);
  const result = ioctl(fd, TUNSETIFF, addressOf(request));
  const end = request.indexOf(0);
  return { errno: result < 0 ? -result : 0, name: String.fromCharCode(...request.subarray(0, end)) };
}

/** Returns the flags granted, 0 for none; adds a reason for each step refused. */
function setOffloads(fd: number, degraded: string[]): number {
  for (const step of OFFLOAD_STEPS) {
    const result = ioctl(fd, TUNSETOFFLOAD, step.flags);
    if (result >= 0) return step.flags;
    degraded.push(`the kernel refused TUNSETOFFLOAD with ${step.names} (${errnoName(result)})`);
  }
  return 0;
}

function openError(errno: number): TcpfreezeError {
  if (errno === -ENOENT || errno === -ENODEV) {
    return new TcpfreezeError(
      'TUN_MISSING',
      `${TUN_PATH} is missing (${errnoName(errno)})`,
      `load the driver and make the node: modprobe tun; mkdir -p /dev/net; mknod ${TUN_PATH} c 10 200`,
    );
  }
  if (errno === -EACCES || errno === -EPERM) {
    return new TcpfreezeError('TUN_FORBIDDEN', `no permission to open ${TUN_PATH}`, 'run as root');
  }
  return systemError(`open(${TUN_PATH})`, errno);
}

function attachError(name: string, errno: number): TcpfreezeError {
  if (errno === EBUSY || (errno === EINVAL && interfaceIndex(name) > 0)) {
    return new TcpfreezeError(
      'TUN_NAME_IN_USE',
      `an interface ${name} exists already`,
      `stop the program that made it, or choose another TUN name; see: ip -details link show ${name}`,
    );
  }
  if (errno === EPERM || errno === EACCES) {
    return new TcpfreezeError(
      'TUN_FORBIDDEN',
      `no permission to create the TUN device ${name}`,
      'run as root, or grant CAP_NET_ADMIN',
    );
  }
  return systemError(`ioctl(TUNSETIFF, ${name})`, errno);
}
