/**
 * Datagrams to a service manager (sd_notify(3)): Node.js has no datagram sockets of the Unix family.
 */
import { addressOf, close, connectSocket, SOCK_DGRAM, send, socket } from './libc.ts';

const AF_UNIX = 1;
/** sun_path of unix(7). */
const PATH_BYTES = 108;
const ENAMETOOLONG = 36;

/**
 * Sends one datagram.
 * @param path of the socket; `@` at its start stands for the abstract name space (unix(7))
 * @returns 0 or -errno
 */
export function notifySocket(path: string, text: string): number {
  const name = Buffer.from(path);
  if (name.length === 0 || name.length > PATH_BYTES) return -ENAMETOOLONG;
  // struct sockaddr_un {u16 family; char path[108]}; the length says how much of it counts.
  const address = Buffer.alloc(2 + name.length + (path.startsWith('@') ? 0 : 1));
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX;
  name.copy(address, 2);
  if (path.startsWith('@')) address[2] = 0;
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) return fd;
  const connected = connectSocket(fd, address);
  const message = Buffer.from(text);
  const sent = connected < 0 ? connected : send(fd, addressOf(message), message.length);
  close(fd);
  return Math.min(0, sent);
}
