/**
 * Assembly: makes the parts of an engine and ties them together. The ties are here alone; each part knows only what it is given.
 */
import { Prng } from '../base/prng.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { HostTable } from '../flow/hosts.ts';
import { Note } from '../flow/note.ts';
import { FlowTable } from '../flow/table.ts';
import { Arena } from '../freeze/arena.ts';
import type { FreezeContext } from '../freeze/context.ts';
import { CustodyBudget } from '../freeze/custody.ts';
import { Drainer } from '../freeze/drain.ts';
import { Freezer } from '../freeze/freeze.ts';
import { Handback } from '../freeze/handback.ts';
import { Holder } from '../freeze/hold.ts';
import { Journal } from '../freeze/journal.ts';
import { Outbox } from '../freeze/outbox.ts';
import { Pacer } from '../freeze/pacer.ts';
import { Parking } from '../freeze/parking.ts';
import { Synthesizer } from '../freeze/synthesis.ts';
import { Suspects } from '../freeze/trickle.ts';
import { Waker } from '../freeze/wakeup.ts';
import { LinkMonitor } from '../link/monitor.ts';
import { ScopeList } from '../link/scope.ts';
import { DEFAULT_LIMITS } from '../policy/policy.ts';
import { KIND_TCP, Packet } from '../wire/packet.ts';
import { verifyChecksums } from '../wire/rewrite.ts';
import { Admission } from './admission.ts';
import { Chronicle } from './chronicle.ts';
import { type EngineConfig, type EngineMemory, READ_MAX } from './config.ts';
import { Detection } from './detection.ts';
import { Ending } from './ending.ts';
import { EventQueue } from './event-queue.ts';
import { Handshakes } from './handshakes.ts';
import { limitOf } from './limit.ts';
import { Operator } from './operator.ts';
import { dropRecalled } from './recall.ts';
import { Recut } from './recut.ts';
import { Rulebook } from './rulebook.ts';
import { Settler } from './settler.ts';
import { FlowTimers } from './timers.ts';
import { Verdicts } from './verdicts.ts';
import type { Watch } from './watch.ts';

export interface EngineParts {
  readonly counters: Float64Array;
  readonly context: FreezeContext;
  readonly table: FlowTable;
  readonly arena: Arena;
  readonly outbox: Outbox;
  readonly monitor: LinkMonitor;
  readonly scopes: ScopeList;
  readonly timers: FlowTimers;
  readonly waker: Waker;
  readonly drainer: Drainer;
  readonly freezer: Freezer;
  readonly holder: Holder;
  readonly handback: Handback;
  readonly admission: Admission;
  readonly operator: Operator;
  readonly settler: Settler;
  readonly watch: Watch;
  readonly detection: Detection;
  readonly recut: Recut;
  readonly verdicts: Verdicts;
  readonly events: EventQueue;
  readonly chronicle: Chronicle;
  readonly handshakes: Handshakes;
}

/** The present, for parts that are called back without being told: set by the engine at each of its entries. */
export interface Present {
  now: Micros;
}

/** @throws RangeError when the memory is too small for the configuration; a programmer's error */
export function assemble(config: EngineConfig, memory: EngineMemory, present: Present): EngineParts {
  const { counters } = memory;
  const vnetLength = config.vnetHeaderLength;
  const arena = new Arena(memory.arena, READ_MAX);
  const check = new Packet();
  check.attach(memory.arena);
  const outbox = new Outbox(memory.outbox);
  const table = new FlowTable(config.maxFlows, config.hashKey);
  const damping = config.ports.map((port) => port.detectors?.damping ?? null);
  const monitor = new LinkMonitor(config.ports, 0, damping);
  const scopes = new ScopeList();
  const timers = new FlowTimers();
  const events = new EventQueue();
  const chronicle = new Chronicle(counters, events);
  const pacers = Array.from({ length: config.ports.length + 1 }, () => new Pacer());
  const synthesizer = new Synthesizer(table, outbox, counters, new Prng(config.seed), vnetLength);
  for (const [port, { maxOutage }] of config.ports.entries()) monitor.links[port]!.maxOutage = maxOutage ?? NEVER;
  const rulebook = new Rulebook(monitor, config.policy ?? []);
  const hosts = new HostTable();
  const suspects = new Suspects();
  const handshakes = new Handshakes(table, config.journal ?? false);
  const budget = new CustodyBudget(config.custodyBytesPerFlow, config.custodyBytesTotal, config.journal ?? false);
  const context: FreezeContext = {
    table,
    arena,
    budget,
    journal: new Journal(
      table,
      budget,
      config.ports.map((port) => port.name),
    ),
    synthesizer,
    counters,
    note: new Note(),
    pacerOf: (port) => pacers[port + 1]!,
    mtuOf: (port) => monitor.links[port]?.mtu ?? 1500,
    isReachable: (flow, half) => monitor.links[flow.halves[half].port]?.canCarry ?? true,
    isSound: (offset, length) => check.parse(offset, length, vnetLength) === KIND_TCP && verifyChecksums(check),
    suspects,
    parking: new Parking(config.parkedSyns ?? DEFAULT_LIMITS.parkedSyns),
    limitOf: (flow) => limitOf(flow, flow.near, suspects.limitOf(flow, flow.near, table), monitor),
    relieve: (flow, bytes, at) => ending.relieve(flow, bytes, at),
    giveUp: (flow, why, at) => ending.giveUp(flow, why, at),
    reschedule: (flow) => timers.set(flow, freezer.deadlineOf(flow)),
    onReplayed: (flow, far, isRepeat, now) => detection.watch.onReplayed(flow, far, isRepeat, now),
    abandon: (flow, why, now) => dropRecalled({ counters, events, settler, admission }, flow, why, now),
    report: (name, flow, message, figures, at) => chronicle.report(name, flow, message, figures, at),
  };
  const waker = new Waker(context);
  const drainer = new Drainer(context);
  const handback = new Handback(context);
  const holder = new Holder(context);
  const freezer = new Freezer(context, waker, (flow) => handback.begin(flow, present.now));
  const admission = new Admission({
    table,
    monitor,
    scopes,
    rulebook,
    hosts,
    lostHosts: () => verdicts.hosts,
    counters,
    vnetLength,
    flowsPerHost: config.flowsPerHost ?? null,
    newcomersPerSecond: config.newcomersPerSecond,
    chronicle,
    handshakes,
    onForget: (flow) => {
      settler.endHandback(flow, present.now);
      freezer.release(flow);
    },
  });
  const settler = new Settler({
    table,
    admission,
    freezer,
    handback,
    drainer,
    rulebook,
    counters,
    events,
    chronicle,
    pacerOf: context.pacerOf,
    reschedule: context.reschedule,
  });
  const verdicts = new Verdicts(monitor, events, settler, counters, damping);
  const detection = new Detection(context, verdicts, events, settler, config.ports);
  const ending = new Ending({
    table,
    synthesizer,
    freezer,
    chronicle,
    counters,
    onEnded: (flow, now) => settler.endHandback(flow, now),
    onRelieved: (flow) => context.journal.mark(flow),
    reschedule: context.reschedule,
  });
  const operator = new Operator({
    table,
    monitor,
    scopes,
    budget: context.budget,
    parking: context.parking,
    suspects,
    hosts,
    rulebook,
    admission,
    ending,
    arenaBytes: memory.arena.byteLength,
    drainer,
    verdicts,
    detection,
    events,
    chronicle,
    isSettling: () => settler.isPending,
    onScopesChanged: (now) => settler.settleAll(now),
  });
  return {
    counters,
    context,
    table,
    arena,
    outbox,
    monitor,
    scopes,
    timers,
    waker,
    drainer,
    freezer,
    holder,
    handback,
    admission,
    operator,
    settler,
    watch: detection.watch,
    verdicts,
    detection,
    recut: new Recut(context, handback),
    events,
    chronicle,
    handshakes,
  };
}
