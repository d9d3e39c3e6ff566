/** Runs a scenario and says everything that is wrong with how it went. */
import { type Micros, NEVER, seconds } from '../../src/base/time.ts';
import { LINUX } from './endpoint-config.ts';
import type { GatewayMemory } from './gateway.ts';
import { Network, type SimFlow } from './network.ts';
import type { Outage, Scenario } from './scenario.ts';

export interface Outcome {
  readonly network: Network;
  /** One line each; empty when all is well. */
  readonly complaints: string[];
  readonly endedAt: Micros;
}

export interface RunOptions {
  readonly extraTimeouts?: number;
  /** Without any gateway: what the hosts make of the same day by themselves. */
  readonly plain?: boolean;
  readonly prepare?: (network: Network) => void;
  /** The gateway's memory, taken over from an earlier run as it is. */
  readonly memory?: GatewayMemory;
}

/** RTO back-off reaches 120 s; a sender without RFC 6069 sleeps that long once more after a late loss. */
const PATIENCE = seconds(700);

function plan(network: Network, outage: Outage): Micros {
  const { side, kind, at, noticed, settling, mode, lead } = outage;
  const end = at + Math.max(outage.lasts, mode === 'cut' ? noticed + 1_000 : lead + 1_000);
  if (mode === 'cut') {
    network.at(at, () => network.cut(side, kind, noticed));
    network.at(end, () => network.restore(side, kind, settling));
  } else {
    const selector = { kind: 'link', name: `${side}0` } as const;
    const leadMicros = mode === 'planned' ? lead : 0;
    const freeze = (command: { leadMicros?: Micros }, mayRefuse: string): void =>
      network.tell({ kind: 'command', command: { kind: 'freeze', selector, ...command } }, mayRefuse);
    // An engine without lead times says so; the freeze then comes with the cut.
    if (leadMicros > 0) network.at(at, () => freeze({ leadMicros }, 'LEAD_UNSUPPORTED'));
    network.at(at + leadMicros, () => {
      if (mode === 'planned') network.cut(side, 'none', 0);
      freeze({}, '');
    });
    network.at(end, () => network.restore(side, 'command', mode === 'planned' ? settling : 0));
  }
  return end + Math.abs(settling);
}

/** Whether every byte that an application writes has reached the other one. */
function hasArrived(flow: SimFlow): boolean {
  const total = (end: SimFlow['lan']): number => end.config.deeds.reduce((sum, deed) => sum + deed.write, 0);
  return flow.wan.receiver.received === total(flow.lan) && flow.lan.receiver.received === total(flow.wan);
}

/**
 * A reset that costs nothing: the peer had everything and closed, its TIME-WAIT ran out during an outage, and so the last
 * FIN meets a closed port. That happens without any gateway, too.
 */
function isHarmless(flow: SimFlow): boolean {
  const { lan, wan } = flow;
  const gone = lan.state === 'closed' || wan.state === 'closed';
  const reset = lan.failure === 'reset' ? wan.failure === null : wan.failure === 'reset' && lan.failure === null;
  return hasArrived(flow) && gone && reset && lan.config.closes && wan.config.closes;
}

/**
 * The near endpoint had closed, all it wrote was in custody, and the gateway died while the link worked: the kernel forwards the
 * far peer's next ACK to a host that knows nothing of the connection any more, and its RST ends it. Whoever fails open cannot prevent
 * that; the event of the next process counts the bytes.
 */
function isForsaken(network: Network, { lan, wan }: SimFlow): boolean {
  if (network.crashes === 0) return false;
  const [gone, told] = lan.failure === null ? [lan, wan] : [wan, lan];
  return gone.failure === null && gone.state === 'closed' && told.failure === 'reset';
}

function holdsSomething({ gateway, now }: Network): boolean {
  return gateway?.flows(now).some(({ phase, custodyBytes }) => phase !== 'flowing' && custodyBytes > 0) ?? false;
}

/** Whether a flow has nothing more to do. A connection that never closes is through when all bytes have arrived. */
export function isThrough(flow: SimFlow): boolean {
  const finished = (end: SimFlow['lan']): boolean =>
    end.sender.sndUna >= end.sender.written && (!end.config.closes || end.sender.isFinished);
  return isHarmless(flow) || (hasArrived(flow) && finished(flow.lan) && finished(flow.wan));
}

/** Whether a rule or a link limits how long connections wait, or one is worth less than another one of its host. */
function mayGiveUp({ engine }: Scenario, { lan }: SimFlow): boolean {
  const rule = engine.policy?.find(({ match }) =>
    match.port?.some(({ from, to }) => from <= lan.config.port && lan.config.port <= to),
  );
  const isLimited = rule?.maxOutage !== null || engine.ports.some(({ maxOutage }) => (maxOutage ?? null) !== null);
  return isLimited || rule.class !== 'critical';
}

/** Whether an end of the connection that this originator opened is gone, or both have all they wanted. */
function isOverAtAnEnd({ flows }: Network, originator: string): boolean {
  const flow = flows.find(({ lan, wan }) => originator.endsWith(`:${(lan.config.active ? lan : wan).config.port}`));
  if (flow === undefined) return false;
  const isGone = ({ state }: SimFlow['lan']): boolean => state === 'closed' || state === 'failed';
  return isThrough(flow) || isGone(flow.lan) || isGone(flow.wan);
}

function verdict(network: Network, scenario: Scenario): string[] {
  // Whoever adopts a connection mid-stream does not know the scale of its windows, and tries what fits an unscaled one.
  const adopts = network.crashes > 0 || (scenario.engine.flowsPerHost ?? null) !== null;
  const complaints = network.complaints().filter((line) => !adopts || !line.includes('beyond the window'));
  const hasGivenUp = network.gateway?.events.some(({ name }) => name === 'flow-given-up') === true;
  for (const flow of network.flows) {
    const isEnded = [flow.lan, flow.wan].some((end) => end.config.abortsAt !== NEVER);
    // What was ended on purpose, or by a limit, cannot be whole. That it harms nobody else is judged all the same.
    if (isHarmless(flow) || isEnded || isForsaken(network, flow) || (hasGivenUp && mayGiveUp(scenario, flow))) continue;
    for (const [from, to] of [[flow.lan, flow.wan] as const, [flow.wan, flow.lan] as const]) {
      const { name } = from.config;
      if (from.failure !== null) complaints.push(`${name} failed: ${from.failure}`);
      if (to.receiver.received !== from.sender.written) {
        complaints.push(`${name} sent ${from.sender.written}, ${to.receiver.received} arrived`);
      }
      if (from.config.closes && !from.sender.isFinished) complaints.push(`${name} (${from.state}) never finished`);
    }
  }
  const { gateway } = network;
  if (gateway === null) return complaints;
  for (const snapshot of gateway.flows(network.now)) {
    // Restored although its connection had been given back and ended: it asks a peer that is gone, for a while.
    const isAsking =
      network.crashes > 0 && snapshot.phase === 'handback' && isOverAtAnEnd(network, snapshot.originator);
    if (isAsking) continue;
    if (
      snapshot.phase.toLowerCase() === 'frozen' ||
      snapshot.phase.toLowerCase() === 'handback' ||
      snapshot.custodyBytes > 0
    ) {
      complaints.push(
        `${snapshot.id} ${snapshot.originator} is left ${snapshot.phase} with ${snapshot.custodyBytes} bytes`,
      );
    }
  }
  const status = gateway.command({ kind: 'status' }, network.now);
  if (status.kind !== 'status') complaints.push('no status');
  else if (status.links.some((link) => link.state !== 'up')) complaints.push('a link is left lost');
  else if (status.flows.total > scenario.engine.maxFlows) complaints.push(`${status.flows.total} flows are tracked`);
  return complaints;
}

/** Invariant 7: what is in custody stays within its bounds, looked at while it matters. */
function watchMemory(network: Network, scenario: Scenario, at: Micros, found: string[]): void {
  const { custodyBytesPerFlow, custodyBytesTotal } = scenario.engine;
  network.at(at, () => {
    let total = 0;
    for (const flow of network.gateway?.flows(network.now) ?? []) {
      total += flow.custodyBytes;
      if (flow.custodyBytes > custodyBytesPerFlow)
        found.push(`${flow.id} holds ${flow.custodyBytes}, limit ${custodyBytesPerFlow}`);
    }
    if (total > custodyBytesTotal) found.push(`custody of ${total} exceeds ${custodyBytesTotal}`);
  });
}

export function runScenario(scenario: Scenario, options: RunOptions = {}): Outcome {
  const network = new Network({
    seed: scenario.seed,
    lan: scenario.lan,
    wan: scenario.wan,
    engine: options.plain === true ? null : scenario.engine,
    arenaBytes: scenario.arenaBytes,
    memory: options.memory ?? null,
    extraTimeouts: options.extraTimeouts ?? 0,
    base: LINUX,
  });
  options.prepare?.(network);
  for (const flow of scenario.flows) network.addFlow(flow);
  const memory: string[] = [];
  let last: Micros = 0;
  for (const outage of scenario.outages) {
    last = Math.max(last, plan(network, outage));
    for (const part of [0.3, 0.9, 1.05]) watchMemory(network, scenario, outage.at + outage.lasts * part, memory);
  }
  for (const { at, down } of scenario.crashes ?? []) network.at(at, () => network.crash(down));
  network.run(last);
  const isOver = (flow: SimFlow): boolean => isThrough(flow) || flow.lan.failure !== null || flow.wan.failure !== null;
  network.run(last + PATIENCE, () => network.flows.every(isOver));
  // An endpoint may be gone while the gateway still delivers what it has left.
  for (let from = network.now; network.now < last + PATIENCE && holdsSomething(network); ) {
    from += seconds(5);
    network.run(from);
    if (network.now < from && network.queue.nextAt() === NEVER) break;
  }
  // Late duplicates, TIME-WAIT and the engine's own clean-up get a little longer.
  network.run(network.now + seconds(5));
  return { network, complaints: [...memory, ...verdict(network, scenario)], endedAt: network.now };
}
