/**
 * The application at both ends of a benchmark's connections. Controlled by lines of JSON (child.ts):
 *
 *   listen {port}                          send back whatever comes
 *   echo {address, port, count, bytes}     one connection, one message under way; answered with the round-trip times in microseconds
 *   crowd {address, port, count}           open connections and leave them alone; answered when all are established
 *   disperse                               close those
 */
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import net from 'node:net';
import { lineSplitter } from '../child.ts';

interface Request {
  readonly id: number;
  readonly op: string;
  readonly address: string;
  readonly port: number;
  readonly count: number;
  readonly bytes: number;
}

/** Connections that are being opened at the same time: fewer than any queue of half-open ones is long. */
const OPENING_AT_ONCE = 50;

let crowd: net.Socket[] = [];

function say(message: object): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

function listen({ id, port }: Request): void {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => socket.write(data));
    socket.on('error', () => socket.destroy());
  });
  server.once('error', (error) => say({ id, error: error.message }));
  server.listen({ port, host: '0.0.0.0', backlog: 4096 }, () => say({ id }));
}

function connect(address: string, port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: address, port, noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

async function echo({ id, address, port, count, bytes }: Request): Promise<void> {
  const socket = await connect(address, port);
  const message = Buffer.alloc(bytes, 1);
  const micros: number[] = [];
  let missing = bytes;
  let sentAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.on('data', (data) => {
      missing -= data.length;
      if (missing > 0) return;
      const at = performance.now();
      micros.push((at - sentAt) * 1000);
      if (micros.length === count) {
        resolve();
        return;
      }
      missing = bytes;
      sentAt = performance.now();
      socket.write(message);
    });
    socket.write(message);
  });
  socket.destroy();
  say({ id, micros });
}

async function open({ id, address, port, count }: Request): Promise<void> {
  while (crowd.length < count) {
    const some = Math.min(OPENING_AT_ONCE, count - crowd.length);
    crowd.push(...(await Promise.all(Array.from({ length: some }, () => connect(address, port)))));
  }
  for (const socket of crowd) socket.on('error', () => {});
  say({ id });
}

async function handle(request: Request): Promise<void> {
  const { id, op } = request;
  try {
    if (op === 'listen') listen(request);
    else if (op === 'echo') await echo(request);
    else if (op === 'crowd') await open(request);
    else {
      for (const socket of crowd) socket.destroy();
      crowd = [];
      say({ id });
    }
  } catch (error) {
    say({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

process.stdin.setEncoding('utf8').on(
  'data',
  lineSplitter((line) => void handle(JSON.parse(line) as Request)),
);
process.stdin.on('end', () => process.exit(0));
say({ event: 'ready' });
