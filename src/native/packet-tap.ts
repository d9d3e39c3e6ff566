/**
 * Packet sockets that listen to ICMP errors and DHCP entering an interface (packet(7)): one per family, because a socket
 * for a single protocol is asked for arriving packets of that protocol only, where one for all protocols would cost a clone of
 * every packet sent (dev_queue_xmit_nit, net/core/dev.c).
 */
import { systemError } from './errno.ts';
import {
  addressOf,
  bindSocket,
  close,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_DGRAM,
  SOL_SOCKET,
  setsockopt,
  socket,
} from './libc.ts';
import { emitProgram, TAP_IPV4, TAP_IPV6 } from './packet-filter.ts';

const AF_PACKET = 17;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
/** uapi/asm-generic/socket.h. */
const SO_ATTACH_FILTER = 26;
/** Some hundred messages; what a flood brings beyond them is dropped by the kernel, where that is cheapest. */
const RECEIVE_BUFFER_BYTES = 128 * 1024;

/** The kernel's copy is made by setsockopt; these stay for as long as the module does. */
const PROGRAMS = { 4: emitProgram(TAP_IPV4), 6: emitProgram(TAP_IPV6) } as const;

/**
 * Opens a tap that hears nothing yet; `bindTap` attaches it to an interface.
 * @returns a non-blocking descriptor, which the caller closes
 * @throws TcpfreezeError: no permission (CAP_NET_RAW), no packet sockets in this kernel (CONFIG_PACKET)
 */
export function openTap(family: 4 | 6): number {
  // Protocol 0 receives nothing until bind() sets one.
  const fd = socket(AF_PACKET, SOCK_DGRAM, 0);
  if (fd < 0)
    throw systemError('socket(AF_PACKET)', fd, 'run as root, on a kernel with packet sockets (CONFIG_PACKET)');
  const size = Int32Array.of(RECEIVE_BUFFER_BYTES);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size) < 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size);
  // struct sock_fprog {u16 len; struct sock_filter *filter}: the pointer is at offset 8 on 64-bit machines.
  const program = PROGRAMS[family];
  const request = new Uint8Array(16);
  new Uint16Array(request.buffer)[0] = program.byteLength / 8;
  new BigUint64Array(request.buffer)[1] = BigInt(addressOf(program));
  const attached = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, request);
  if (attached < 0) {
    close(fd);
    throw systemError('setsockopt(SO_ATTACH_FILTER)', attached);
  }
  return fd;
}

/**
 * Attaches a tap to an interface, also one that it was attached to under another index before.
 * @param index of the interface, above 0
 * @returns 0 or -errno
 */
export function bindTap(fd: number, family: 4 | 6, index: number): number {
  // struct sockaddr_ll: family u16, protocol be16, ifindex i32, hatype u16, pkttype u8, halen u8, addr[8].
  const address = new Uint8Array(20);
  new Uint16Array(address.buffer)[0] = AF_PACKET;
  new DataView(address.buffer).setUint16(2, family === 4 ? ETH_P_IP : ETH_P_IPV6, false);
  new Int32Array(address.buffer)[1] = index;
  return bindSocket(fd, address);
}
