/**
 * When a story may begin: the transfers run at the link's rate, nobody is recovering from a loss, and nobody is about to cause one. A
 * loss-based sender fills the queue until it overflows; cut at that moment, it would lose segments after the outage as it would
 * have without one, and the story would tell of its congestion control.
 */
import type { LinkSettings } from './link-handle.ts';
import type { SocketSampler } from './sampler.ts';
import type { SocketReading } from './ss.ts';
import type { Flow } from './traffic-handle.ts';
import { until } from './wait.ts';

/** Share of the link's rate that the payload of all flows in a direction must reach; headers alone take 5 %. */
const SHARE = 0.75;
/** Beyond this many flows one of them is always recovering from a loss, which is then the steady state. */
const FEW = 2;
/** The steady state is there within seconds after the least time; on a machine that is busy with something else it takes its time. */
const PATIENCE_MILLIS = 40_000;
const LOOK_MILLIS = 250;
/** Share of what link and queue hold together that the senders of a direction may have under way. */
const FILLED = 0.9;
/** Bytes of a full frame on the link. */
const FRAME_BYTES = 1514;
/** The rate is judged over this long: that is what recovery is compared with afterwards (recovery.ts). */
const WINDOW_MILLIS = 2_000;

/**
 * Waits for the steady state.
 * @param bulk transfers; none: only the time is waited
 * @param leastMillis not before this, so that slow start and its overshoot are over
 * @throws TcpfreezeError LAB_TIMEOUT: the transfers never got going
 */
export async function warmUp(
  bulk: readonly Flow[],
  sampler: SocketSampler,
  link: LinkSettings,
  leastMillis: number,
  progress: () => void,
): Promise<void> {
  const notBefore = performance.now() + leastMillis;
  const counts = [await count(bulk)];
  const steady = async (): Promise<boolean> => {
    progress();
    const now = await count(bulk);
    counts.push(now);
    while (counts.length > 1 && now.at - counts[1]!.at >= WINDOW_MILLIS) counts.shift();
    const before = counts[0]!;
    const fast = (['up', 'down'] as const).every((direction) => {
      const bytes = now[direction] - before[direction];
      const wanted = (SHARE * link.rateBps * (now.at - before.at)) / 8000;
      return bytes >= wanted || !bulk.some((flow) => flow.direction === direction);
    });
    const whole = bulk.length === 0 || now.at - before.at >= WINDOW_MILLIS;
    if (!fast || !whole || performance.now() < notBefore) return false;
    if (bulk.length > FEW) return true;
    const readings = await sampler.take();
    return bulk.every(({ name }) => isCalm(readings.get(name))) && isFilled(bulk, readings, link);
  };
  await until(steady, {
    what: 'transfers at the rate of the link',
    timeoutMillis: leastMillis + PATIENCE_MILLIS,
    everyMillis: LOOK_MILLIS,
  });
}

function isCalm(reading: SocketReading | undefined): boolean {
  return reading !== undefined && reading.lost + reading.sacked + reading.retransmitsNow === 0;
}

/** The wire is full, and the queue is not about to overflow. */
function isFilled(bulk: readonly Flow[], readings: ReadonlyMap<string, SocketReading>, link: LinkSettings): boolean {
  if (link.rateBps === 0) return true;
  const onTheWire = (link.rateBps * 2 * link.delayMillis) / 8000 / FRAME_BYTES;
  return (['up', 'down'] as const).every((direction) => {
    const senders = bulk.filter((flow) => flow.direction === direction).map(({ name }) => readings.get(name)!);
    if (senders.length === 0) return true;
    // BBR drains the wire for 200 ms every 10 s; a cut at that moment would find nothing to freeze.
    const underWay = senders.reduce((sum, reading) => sum + reading.unacked, 0);
    // BBR sizes its window by a model of the path, beyond what it sends; it does not wait for the queue to overflow.
    const lossBased = senders.filter((reading) => reading.congestion !== 'bbr');
    const allowed = lossBased.reduce((sum, reading) => sum + reading.cwnd, 0);
    return underWay >= SHARE * onTheWire && allowed <= FILLED * (onTheWire + link.queuePackets);
  });
}

/** Bytes received by now, by direction; time in milliseconds. */
async function count(flows: readonly Flow[]): Promise<{ up: number; down: number; at: number }> {
  const sums = { up: 0, down: 0, at: performance.now() };
  const received = await Promise.all(flows.map((flow) => flow.received()));
  for (const [index, flow] of flows.entries()) sums[flow.direction] += received[index]!;
  return sums;
}
