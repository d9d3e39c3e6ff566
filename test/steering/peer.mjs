// One end of a TCP connection under the control of a test: lines on the standard input are sent, what happens is printed.
//   node peer.mjs listen ADDRESS PORT | connect ADDRESS PORT
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [role, host, port] = process.argv.slice(2);

function print(text) {
  process.stdout.write(`${text}\n`);
}

function attend(socket) {
  socket.setNoDelay(true);
  socket.on('data', (data) => {
    for (const line of data.toString().split('\n')) if (line !== '') print(`got ${line}`);
  });
  socket.on('error', (error) => print(`error ${error.code}`));
  socket.on('end', () => print('end'));
  createInterface({ input: process.stdin }).on('line', (line) => socket.write(`${line}\n`));
}

if (role === 'listen') {
  const server = createServer((socket) => {
    print(`accepted ${socket.remoteAddress} ${socket.remotePort}`);
    attend(socket);
  });
  server.listen(Number(port), host, () => print('listening'));
} else {
  const socket = connect(Number(port), host, () => print('connected'));
  attend(socket);
}
