// The steering with a TUN that only echoes, so that its rules can be tested without an engine. Lines on the standard
// input: `lost IF`, `restored IF`, `inject HEX` (writes a packet), `hold` (a process that keeps the TUN, and survives), `repair`,
// `stop`. Runs against dist/.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { addressOf, read, write } from '../../dist/native/libc.js';
import { openTun } from '../../dist/native/tun.js';
import { Steering } from '../../dist/steering/steering.js';

const tun = openTun({ name: 'detour0', vnetHeader: false });
const report = { info: (text) => print(`info ${text}`), warn: (text) => print(`warn ${text}`) };
const buffer = new Uint8Array(65_536);
const address = addressOf(buffer);

function print(text) {
  process.stdout.write(`${text}\n`);
}

function echo() {
  for (let length = read(tun.fd, address, buffer.length); length > 0; length = read(tun.fd, address, buffer.length)) {
    write(tun.fd, address, length);
  }
}

const steering = await Steering.setUp(
  {
    tun: tun.name,
    mtu: 1500,
    table: null,
    priority: null,
    connectionTracking: process.argv[2] ?? 'auto',
    links: [
      { name: 'lan0', role: 'lan' },
      { name: 'wan0', role: 'wan' },
    ],
  },
  report,
);
const timer = setInterval(echo, 1);
print(`ready ${steering.nftables}`);

for await (const line of createInterface({ input: process.stdin })) {
  const [word, argument] = line.split(' ');
  if (word === 'lost') await steering.onLinkLost(argument);
  if (word === 'restored') await steering.onLinkRestored(argument);
  if (word === 'inject') {
    const packet = Uint8Array.from(Buffer.from(argument, 'hex'));
    write(tun.fd, addressOf(packet), packet.length);
  }
  if (word === 'hold')
    spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', tun.fd], detached: true }).unref();
  if (word === 'repair') print(`repaired ${(await steering.repair()).join(', ')}`);
  if (word === 'stop') break;
  print(`done ${word}`);
}
clearInterval(timer);
await steering.tearDown();
// The test keeps the standard input open, which would keep this process, too.
process.exit(0);
