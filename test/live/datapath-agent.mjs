// Runs a datapath from dist/ inside a network namespace for datapath.test.ts: JSON lines on stdin and stdout.
import { spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { monotonicMicros } from '../../dist/datapath/clock.js';
import { Datapath } from '../../dist/datapath/datapath.js';
import { openRtnetlink, Rtnetlink } from '../../dist/native/rtnetlink.js';

let datapath;
const links = [];

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function plain(event) {
  const copy = { ...event };
  for (const key of ['address', 'destination']) if (copy[key] !== undefined) copy[key] = [...copy[key]].join('.');
  return copy;
}

const operations = {
  async start({ options }) {
    datapath = await Datapath.start({
      engine: {
        ports: [
          { name: 'lan0', role: 'lan' },
          { name: 'wan0', role: 'wan' },
        ],
        maxFlows: 1024,
        custodyBytesPerFlow: 1 << 20,
        custodyBytesTotal: 8 << 20,
        freezing: false,
        hashKey: [1, 2],
        seed: 1,
      },
      ...options,
    });
    datapath.onLinkEvents((events) => links.push(...events.map(plain)));
    datapath.exited.then(({ reason }) => say({ exited: true, code: reason?.code ?? null, message: reason?.message }));
    return { name: datapath.tunName, degraded: datapath.degraded };
  },
  async command({ command }) {
    return await datapath.command(command);
  },
  async links() {
    return links;
  },
  async counters() {
    return datapath.counters();
  },
  async cpu() {
    const { user, system } = process.cpuUsage();
    return { micros: user + system };
  },
  async stop() {
    await datapath.stop();
    return {};
  },
  async exit({ code }) {
    process.exit(code);
  },
  /** More route changes than the socket can hold, unread; then what is known must equal what the kernel has. */
  async overrun({ count }) {
    const rtnetlink = new Rtnetlink(openRtnetlink());
    const known = new Map();
    const sink = (event) => {
      if (event.kind !== 'route' || event.family !== 4) return;
      const key = `${plain(event).destination}/${event.prefixLength} ${event.name}`;
      if (event.present) known.set(key, true);
      else known.delete(key);
    };
    rtnetlink.sync(monotonicMicros, sink);
    const before = known.size;
    const route = (verb, i) => `route ${verb} 10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32 dev lan0`;
    const lines = [];
    for (let i = 0; i < count; i++) lines.push(route('add', i));
    for (let i = 0; i < count; i += 2) lines.push(route('del', i));
    const result = spawnSync('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
    const end = monotonicMicros() + 20e6;
    while (monotonicMicros() < end) {
      const now = monotonicMicros();
      rtnetlink.read(now, sink);
      rtnetlink.handleTimeout(now);
      if (!rtnetlink.syncing && rtnetlink.pollTimeout() === Number.POSITIVE_INFINITY) break;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return { status: result.status, stderr: result.stderr, overruns: rtnetlink.overruns, routes: known.size - before };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    say({ id: request.id, result: await operations[request.op](request) });
  } catch (error) {
    say({ id: request.id, error: { code: error.code, line: error.line?.() ?? String(error) } });
  }
}
process.exit(0);
