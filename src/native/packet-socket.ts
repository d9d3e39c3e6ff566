/**
 * Packet sockets (packet(7)): whole Ethernet frames of one interface, in and out. For link emulation and captures.
 * Numbers from uapi/linux/if_packet.h and uapi/linux/if_ether.h.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { systemError } from './errno.ts';
import {
  bindSocket,
  close,
  interfaceIndex,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
  setsockopt,
  socket,
} from './libc.ts';

const AF_PACKET = 17;
const SOL_PACKET = 263;
const ETH_P_ALL = 0x0003;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISC = 1;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;

export interface PacketSocketOptions {
  /** See frames addressed to others, too. Default true. */
  readonly promiscuous?: boolean;
  /** Frames that this machine sends through the interface are not read back. Default true. */
  readonly ignoreOutgoing?: boolean;
  /** Sent frames skip the interface's queueing discipline: a full ring shows as ENOBUFS. Default true. */
  readonly qdiscBypass?: boolean;
  /** Receive buffer asked for, in bytes. Default 8 MiB: about 4,000 full frames with the kernel's bookkeeping. */
  readonly receiveBufferBytes?: number;
}

export interface PacketSocket {
  /** Non-blocking; for `recv`, `send` and `PollSet` of libc.ts; the owner closes it. */
  readonly fd: number;
  readonly interfaceIndex: number;
}

/**
 * Opens a packet socket on one interface of the current network namespace.
 * @throws TcpfreezeError: no such interface, no permission (CAP_NET_RAW), kernel too old (PACKET_IGNORE_OUTGOING: 4.20)
 */
export function openPacketSocket(name: string, options: PacketSocketOptions = {}): PacketSocket {
  const index = interfaceIndex(name);
  if (index < 0) throw systemError(`if_nametoindex(${name})`, index);
  if (index === 0) {
    throw new TcpfreezeError('INTERFACE_UNKNOWN', `there is no interface ${name}`, 'list them with: ip link');
  }
  // Protocol 0 receives nothing; bind() sets it. Otherwise frames of every interface would arrive in between.
  const fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0) throw systemError('socket(AF_PACKET)', fd);
  try {
    const { promiscuous = true, ignoreOutgoing = true, qdiscBypass = true, receiveBufferBytes = 8 << 20 } = options;
    const size = Int32Array.of(receiveBufferBytes);
    // FORCE goes beyond net.core.rmem_max but needs CAP_NET_ADMIN; less buffer is better than no socket.
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size) < 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size);
    if (ignoreOutgoing) enable(fd, PACKET_IGNORE_OUTGOING, 'PACKET_IGNORE_OUTGOING');
    if (qdiscBypass) enable(fd, PACKET_QDISC_BYPASS, 'PACKET_QDISC_BYPASS');
    const bound = bindSocket(fd, linkLayerAddress(index));
    if (bound < 0) throw systemError(`bind(AF_PACKET, ${name})`, bound);
    if (promiscuous) {
      const result = setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuousRequest(index));
      if (result < 0) throw systemError(`setsockopt(PACKET_ADD_MEMBERSHIP, ${name})`, result);
    }
    return { fd, interfaceIndex: index };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function enable(fd: number, option: number, name: string): void {
  const result = setsockopt(fd, SOL_PACKET, option, Int32Array.of(1));
  if (result < 0) throw systemError(`setsockopt(${name})`, result, 'Linux 4.20 or newer is needed');
}

/** struct sockaddr_ll: family u16, protocol be16, ifindex i32, hatype u16, pkttype u8, halen u8, addr[8]. */
function linkLayerAddress(index: number): Uint8Array {
  const bytes = new Uint8Array(20);
  new Uint16Array(bytes.buffer)[0] = AF_PACKET;
  new DataView(bytes.buffer).setUint16(2, ETH_P_ALL, false);
  new Int32Array(bytes.buffer)[1] = index;
  return bytes;
}

/** struct packet_mreq: ifindex i32, type u16, alen u16, address[8]. */
function promiscuousRequest(index: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new Int32Array(bytes.buffer)[0] = index;
  new Uint16Array(bytes.buffer)[2] = PACKET_MR_PROMISC;
  return bytes;
}
