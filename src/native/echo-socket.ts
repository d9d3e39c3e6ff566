/**
 * Raw ICMP sockets for the gateway's own echo requests, by the optional package raw-socket: compiled at install, absent where
 * there was no compiler. One socket per interface and family, bound to the interface, and filtered by the kernel to echo
 * replies: a flood of other ICMP never wakes the process for it.
 */
import { TcpfreezeError } from '../base/errors.ts';

type RawSocket = typeof import('raw-socket');

/** What mends a missing raw-socket. */
export const RAW_SOCKET_REMEDY = 'apt-get install python3 make g++ && npm rebuild raw-socket';

/** uapi/asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
/** include/linux/socket.h, uapi/linux/icmp.h: a set bit keeps that type out. */
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMP_ECHO_REPLY = 0;
/** uapi/linux/icmpv6.h. */
const SOL_ICMPV6 = 58;
const ICMPV6_FILTER = 1;
const ICMPV6_ECHO_REPLY = 129;

export interface EchoSocket {
  /** @param done gets the system's refusal, or null */
  send(bytes: Uint8Array, address: string, done: (error: Error | null) => void): void;
  close(): void;
}

/** The package, or undefined where it is not there or cannot be loaded. */
export async function loadRawSocket(): Promise<RawSocket | undefined> {
  try {
    const loaded = (await import('raw-socket')) as RawSocket & { readonly default?: RawSocket };
    return loaded.default ?? loaded;
  } catch {
    return undefined;
  }
}

/**
 * Opens a socket on one interface.
 * @param onMessage gets every echo reply that arrives there: with the IP header for IPv4, without for IPv6
 * @throws TcpfreezeError ECHO_SOCKET with the system's words: no permission (CAP_NET_RAW), no such interface
 */
export function openEchoSocket(
  raw: RawSocket,
  name: string,
  family: 4 | 6,
  onMessage: (bytes: Uint8Array, source: string) => void,
): EchoSocket {
  try {
    const socket = raw.createSocket({
      protocol: family === 4 ? raw.Protocol.ICMP : raw.Protocol.ICMPv6,
      addressFamily: family === 4 ? raw.AddressFamily.IPv4 : raw.AddressFamily.IPv6,
    });
    // An error closes it; whoever sends next is told by `done`.
    socket.on('error', () => {});
    try {
      const filter = family === 4 ? new Uint8Array(4) : new Uint8Array(32);
      const words = new Uint32Array(filter.buffer).fill(0xffffffff);
      const passes = family === 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
      words[passes >>> 5]! &= ~(1 << (passes & 31));
      const level = family === 4 ? SOL_RAW : SOL_ICMPV6;
      socket.setOption(level, family === 4 ? ICMP_FILTER : ICMPV6_FILTER, Buffer.from(filter), filter.length);
      const device = Buffer.from(`${name}\0`);
      socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.on('message', onMessage);
    return {
      send: (bytes, address, done) => {
        socket.send(Buffer.from(bytes), 0, bytes.length, address, (error) => done(error));
      },
      close: () => {
        socket.removeAllListeners('message');
        socket.close();
      },
    };
  } catch (error) {
    const { message } = error as Error;
    throw new TcpfreezeError('ECHO_SOCKET', `no ICMP socket on ${name}: ${message}`, 'run as root (CAP_NET_RAW)');
  }
}
