/**
 * Records the stories in this folder anew: `npm run build && sudo node captures/record-stories.mjs`. Topology `router` without the gateway, a
 * link of 1 Mb/s with 40 ms round trip and a queue of 30 packets, carrier cut for three seconds; what passes the router's lan0,
 * 128 bytes of each packet. Beside each capture goes the script with the times at which the link was cut and restored.
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { assertLabPossible, Lab } from '../dist/lab/topology.js';
import { Traffic } from '../dist/lab/traffic-handle.js';

const HERE = dirname(fileURLToPath(import.meta.url));
const LINK = { rateBps: 1e6, delayMillis: 20, queuePackets: 30 };
const SNAP_LENGTH = '128';
const OUTAGE_MILLIS = 3_000;

const STORIES = [
  { name: 'upload', family: 4, play: (flow) => flow.finished(), options: { mode: 'upload', bytes: 80_000 } },
  { name: 'download', family: 6, play: (flow) => flow.finished(), options: { mode: 'download', bytes: 80_000 } },
  {
    name: 'typing',
    family: 4,
    options: { mode: 'echo' },
    play: async (flow) => {
      for (let i = 0; i < 6; i++) {
        await flow.line(`line ${i}`);
        await sleep(200);
      }
      await flow.stop();
      await flow.finished();
    },
  },
];

/** Seconds since 1970 of the first packet. */
function startOf(path) {
  const bytes = readFileSync(path);
  return bytes.readUInt32LE(24) + bytes.readUInt32LE(28) / 1e6;
}

async function record({ name, family, options, play }) {
  const lab = await Lab.create({ topology: 'router', link: LINK });
  try {
    const traffic = await Traffic.start(lab);
    const path = join(HERE, 'stories', `${name}-cut.pcap`);
    const args = ['-i', 'lan0', '-n', '-U', '-s', SNAP_LENGTH, '-Z', 'root', '-w', path, 'tcp'];
    const tcpdump = lab.gateway.spawn('tcpdump', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(tcpdump.stderr, 'data');
    const flow = await traffic.open({ family, ...options });
    const played = play(flow);
    await sleep(400);
    const cutAt = Date.now() / 1_000;
    await lab.link.cut('carrier');
    await sleep(OUTAGE_MILLIS);
    await lab.link.restore();
    const restoredAt = Date.now() / 1_000;
    await played;
    await sleep(300);
    const gone = once(tcpdump, 'close');
    tcpdump.kill('SIGINT');
    await gone;
    await traffic.stop();
    const start = startOf(path);
    const line = (at, verb) => `+${(at - start).toFixed(3)} ${verb} wan0\n`;
    const title = `# Times at which the link of stories/${name}-cut.pcap was cut and restored.\n`;
    writeFileSync(join(HERE, 'scripts', `${name}-cut.events`), title + line(cutAt, 'lose') + line(restoredAt, 'restore'));
  } finally {
    await lab.dispose();
  }
}

await assertLabPossible();
for (const story of STORIES) await record(story);
