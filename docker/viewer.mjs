// Tells what the gateway does, with figures, from its control socket alone.
import { ControlClient } from '/opt/tcpfreeze/dist/control/client.js';
import { controlPath } from '/opt/tcpfreeze/dist/control/socket.js';

/** How often the gateway is asked, in ms; every time below is true to about this much. */
const POLL_MILLIS = 50;
/** A quiet line at most this often. */
const LINE_MILLIS = 3_000;
/** Rates are means over this long. */
const RATE_MILLIS = 1_000;
/** Share of the old rate at which a recovery counts as complete. */
const RECOVERED = 0.85;
/** The rate before an outage is the best of this long: a link that swallows packets is given up a while after the last one. */
const BEFORE_MILLIS = 5_000;
/** How long after link-up a recovery is waited for. */
const RECOVERY_MILLIS = 15_000;

const client = new ControlClient(controlPath(undefined));
const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
const say = (text) => process.stdout.write(`${new Date().toISOString().slice(11, 23)}  ${text}\n`);

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

function bytes(count) {
  if (count < 10_240) return `${count} B`;
  return count < 10_485_760 ? `${(count / 1_024).toFixed(0)} KiB` : `${(count / 1_048_576).toFixed(1)} MiB`;
}

const megabits = (bytesPerSecond) => `${((bytesPerSecond * 8) / 1e6).toFixed(1)} Mb/s`;
const seconds = (millis) => `${(millis / 1_000).toFixed(2)} s`;

function phases(flows) {
  const some = Object.entries(flows).filter(([name, count]) => name !== 'total' && count > 0);
  return some.length === 0 ? 'no flows' : some.map(([name, count]) => `${count} ${name}`).join(', ');
}

/** Bytes over the latest time, and the rate between two instants. */
class Meter {
  #samples = [];

  add(at, count) {
    this.#samples.push({ at, count });
    while (this.#samples.length > 2 && this.#samples[0].at < at - 30_000) this.#samples.shift();
  }

  /** Bytes per second of the time before `at`. */
  rate(at, millis = RATE_MILLIS) {
    const inside = this.#samples.filter((sample) => sample.at <= at && sample.at >= at - millis - POLL_MILLIS);
    const [first, last] = [inside[0], inside.at(-1)];
    return first === undefined || last === undefined || last.at <= first.at
      ? 0
      : ((last.count - first.count) * 1_000) / (last.at - first.at);
  }

  /** The largest rate of the time before `at`. */
  best(at) {
    const ends = this.#samples.filter((sample) => sample.at <= at && sample.at >= at - BEFORE_MILLIS);
    return Math.max(0, ...ends.map((sample) => this.rate(sample.at)));
  }
}

const meter = new Meter();
/** Counters at the poll before: what the loss itself causes counts towards the outage. */
let previous;
/** The outage that is on, or that the traffic has not recovered from. */
let outage;
let lastLine = 0;
let announced = false;

/** One look at the gateway. */
function look(now, status) {
  const { counters, links, flows, custodyBytes } = status;
  meter.add(now, counters.bytes);
  if (!announced) {
    announced = true;
    say(`gateway ${status.version} on ${status.tun}; links ${links.map((l) => `${l.name} (${l.role}) ${l.state}`).join(', ')}`);
  }
  const lost = links.find((link) => link.state === 'lost');
  if (lost !== undefined && (outage === undefined || outage.backAt !== undefined)) begin(now, status, lost);
  else if (outage !== undefined && outage.backAt === undefined) during(now, status, lost);
  else if (outage !== undefined) recovery(now, status);
  previous = counters;
  if (now - lastLine < LINE_MILLIS) return;
  lastLine = now;
  say(`${phases(flows)}; ${megabits(meter.rate(now))} through the gateway; custody ${bytes(custodyBytes)}`);
}

function begin(now, status, lost) {
  const counters = previous ?? status.counters;
  outage = { link: lost.name, since: Date.parse(lost.since), rate: meter.best(now), counters, custody: 0 };
  say(`LOST      ${lost.name}: ${lost.reason}; ${megabits(outage.rate)} before`);
  lastLine = now - LINE_MILLIS + 500;
}

function during(now, status, lost) {
  outage.custody = Math.max(outage.custody, status.custodyBytes);
  if (lost !== undefined) return;
  const link = status.links.find((one) => one.name === outage.link);
  outage.backAt = Date.parse(link.since);
  const grown = (name) => status.counters[name] - outage.counters[name];
  say(
    `RESTORED  ${outage.link} after ${seconds(outage.backAt - outage.since)}; during it ${grown('zeroWindowAcks')} zero-window ACKs, ` +
      `${grown('custodyAcks')} custody ACKs, ${bytes(outage.custody)} in custody, ${grown('probesAnswered')} probes answered`,
  );
  lastLine = now;
}

function recovery(now, status) {
  const sinceBack = now - outage.backAt;
  // A quarter of what passed before in one poll is more than probes and handshakes are.
  const recent = meter.rate(now, 2 * POLL_MILLIS);
  if (outage.firstAt === undefined && outage.rate > 0 && recent > outage.rate / 4) {
    outage.firstAt = now;
    say(`FLOWING   traffic again ${seconds(sinceBack)} after ${outage.link} came back`);
  }
  const over = sinceBack > RECOVERY_MILLIS || outage.rate < 12_500;
  if (recent < outage.rate * RECOVERED && !over) return;
  const grown = (name) => status.counters[name] - outage.counters[name];
  const figures = `replayed ${bytes(grown('replayedBytes'))}, repeated ${bytes(grown('retransmittedBytes'))}, ${grown('wakeups')} wake-ups`;
  if (over) say(`AFTER     ${outage.link}: ${outage.rate < 12_500 ? 'nothing was under way' : 'the old rate is not reached yet'}; ${figures}`);
  else say(`RECOVERED ${RECOVERED * 100} % of the old rate ${seconds(sinceBack)} after ${outage.link} came back; ${figures}`);
  outage = undefined;
  lastLine = now;
}

if (process.env.TCPFREEZE_PLAIN === '1') {
  say('without tcpfreeze there is nothing to ask: see what the client says of its silences');
  setInterval(() => {}, 1 << 30);
} else {
  let complained = '';
  for (;;) {
    const begun = Date.now();
    try {
      look(begun, await client.status());
      complained = '';
    } catch (error) {
      announced = false;
      if (error.message !== complained) say(`waiting for the gateway: ${error.message}`);
      complained = error.message;
    }
    await pause(Math.max(0, POLL_MILLIS - (Date.now() - begun)));
  }
}
