// Runs taps and echoes from dist/ inside a network namespace for taps.test.ts: JSON lines on stdin and stdout.
import { createInterface } from 'node:readline';
import { monotonicMicros } from '../../dist/datapath/clock.js';
import { Echoes } from '../../dist/datapath/echoes.js';
import { Taps } from '../../dist/datapath/taps.js';
import { COUNTER, readCounters } from '../../dist/engine/counters.js';
import { POLLIN, PollSet } from '../../dist/native/libc.js';
import { openTap } from '../../dist/native/packet-tap.js';
import { openRtnetlink, Rtnetlink } from '../../dist/native/rtnetlink.js';

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function plain(event) {
  const copy = { ...event };
  for (const key of ['address', 'hardware', 'bytes', 'destination', 'gateway']) {
    if (copy[key] !== undefined) copy[key] = Buffer.from(copy[key]).toString('hex');
  }
  return copy;
}

const events = [];
const counters = new Float64Array(Object.keys(COUNTER).length);
const poll = new PollSet(8);
const rtnetlink = new Rtnetlink(openRtnetlink());
const netlinkSlot = poll.add(rtnetlink.fd, POLLIN);
const role = process.argv[2];
const taps = new Taps([{ name: 'eth0', role, fd4: openTap(4), fd6: openTap(6) }], poll, counters);
const asked = new Map();
const echoes = await Echoes.start((event) => {
  const micros = monotonicMicros() - (asked.get(event.sequence) ?? 0);
  events.push({ ...plain(event), micros });
});
const onLink = (event) => {
  taps.onLink(event);
  echoes.onLink(event);
  if (event.kind === 'interface' || event.kind === 'interface-gone') events.push(plain(event));
};
rtnetlink.sync(monotonicMicros, onLink);

function turn() {
  poll.wait(0);
  const now = monotonicMicros();
  if (poll.revents(netlinkSlot) !== 0) rtnetlink.read(now, onLink);
  taps.read(now, (event) => events.push(plain(event)));
  if (rtnetlink.pollTimeout() <= now) rtnetlink.handleTimeout(now);
  if (taps.pollTimeout() <= now) taps.handleTimeout(now);
  setTimeout(turn, 1);
}
turn();

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, address, family, sequence } = JSON.parse(line);
  if (op === 'echo') {
    asked.set(sequence, monotonicMicros());
    echoes.send({ name: 'eth0', family, address: Uint8Array.from(Buffer.from(address, 'hex')), sequence });
  }
  say({ id, events: op === 'events' ? events.splice(0) : undefined, counters: readCounters(counters) });
}
process.exit(0);
