// One end of a TCP transfer for datapath.test.ts. `serve ADDRESS PORT` or `send ADDRESS PORT BYTES`; prints one JSON line.
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';

const [, , mode, address, port, amount] = process.argv;
const hash = createHash('sha256');
let bytes = 0;

function finish() {
  process.stdout.write(`${JSON.stringify({ bytes, hash: hash.digest('hex') })}\n`);
}

if (mode === 'serve') {
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on('end', () => {
      socket.end();
      server.close(finish);
    });
  });
  server.listen(Number(port), address, () => process.stdout.write('listening\n'));
} else {
  const socket = connect(Number(port), address);
  let state = 12345;
  const block = Buffer.alloc(65_536);
  const pump = () => {
    while (bytes < Number(amount)) {
      for (let i = 0; i < block.length; i += 4) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        block.writeInt32LE(state, i);
      }
      const chunk = Buffer.from(block);
      hash.update(chunk);
      bytes += chunk.length;
      if (!socket.write(chunk)) return;
    }
    socket.end();
  };
  socket.on('connect', pump);
  socket.on('drain', pump);
  socket.on('close', finish);
}
