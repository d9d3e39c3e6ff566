/**
 * Interfaces set up and down, and asked whether they are operational (netdevice(7)), without starting a program: for moments
 * that are measured. Numbers from uapi/linux/sockios.h and uapi/linux/if.h.
 *
 * A socket belongs for ever to the network namespace in which it was made, whatever its owner does later: so one opened in another
 * namespace reaches that namespace's interfaces from here.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { ENODEV, systemError } from './errno.ts';
import { addressOf, CLONE_NEWNET, close, ioctl, O_RDONLY, open, SOCK_DGRAM, setns, socket } from './libc.ts';

const AF_INET = 2;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 0x1;
/** Set while the interface is up and its operational state is "up" or unknown (RFC 2863; net/core/dev.c, netif_get_flags). */
const IFF_RUNNING = 0x40;

/** struct ifreq on 64-bit: name[16], then a union of 24 bytes whose member here is `short flags`. */
const IFREQ_BYTES = 40;
const FLAGS_INDEX = 8;
/** IFNAMSIZ - 1, uapi/linux/if.h. */
const NAME_MAX = 15;

/** One interface of one network namespace. */
export class InterfaceFlags {
  readonly #fd: number;
  readonly #name: string;
  readonly #request = new Uint8Array(IFREQ_BYTES);
  readonly #shorts = new Uint16Array(this.#request.buffer);

  /**
   * @param name of an interface that exists
   * @param namespace path of its network namespace, e.g. /run/netns/NAME; absent: the calling thread's own
   * @throws TcpfreezeError INTERFACE_UNKNOWN, or SYSTEM_* (of another namespace: CAP_SYS_ADMIN is needed)
   */
  constructor(name: string, namespace?: string) {
    if (name.length === 0 || name.length > NAME_MAX) throw unknown(name);
    this.#name = name;
    for (let i = 0; i < name.length; i++) this.#request[i] = name.charCodeAt(i);
    this.#fd = namespace === undefined ? controlSocket() : controlSocketIn(namespace);
    try {
      this.#read();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Set up, with a carrier, and not held back by the kernel: packets can be sent. @throws TcpfreezeError as the constructor */
  isOperational(): boolean {
    const flags = this.#read();
    return (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0;
  }

  /** Sets the interface up or down; done when it returns. @throws TcpfreezeError: no permission (CAP_NET_ADMIN there) */
  set(up: boolean): void {
    const flags = this.#read();
    this.#shorts[FLAGS_INDEX] = up ? flags | IFF_UP : flags & ~IFF_UP;
    this.#call(SIOCSIFFLAGS, 'SIOCSIFFLAGS');
  }

  close(): void {
    close(this.#fd);
  }

  #read(): number {
    this.#call(SIOCGIFFLAGS, 'SIOCGIFFLAGS');
    return this.#shorts[FLAGS_INDEX]!;
  }

  #call(request: number, call: string): void {
    const result = ioctl(this.#fd, request, addressOf(this.#request));
    if (result === -ENODEV) throw unknown(this.#name);
    if (result < 0) throw systemError(`ioctl(${call}, ${this.#name})`, result);
  }
}

function controlSocket(): number {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) throw systemError('socket(AF_INET)', fd);
  return fd;
}

/** The thread is elsewhere for the length of one call; nothing else can run on it meanwhile. */
function controlSocketIn(namespace: string): number {
  const own = openNamespace('/proc/thread-self/ns/net');
  try {
    const other = openNamespace(namespace);
    try {
      enter(other, namespace);
      try {
        return controlSocket();
      } finally {
        enter(own, 'the network namespace it came from');
      }
    } finally {
      close(other);
    }
  } finally {
    close(own);
  }
}

function openNamespace(path: string): number {
  const fd = open(path, O_RDONLY);
  if (fd < 0) throw systemError(`open(${path})`, fd);
  return fd;
}

function enter(fd: number, what: string): void {
  const result = setns(fd, CLONE_NEWNET);
  if (result < 0) throw systemError(`setns(${what})`, result);
}

function unknown(name: string): TcpfreezeError {
  return new TcpfreezeError('INTERFACE_UNKNOWN', `there is no interface ${name}`, 'list them with: ip link');
}
