import { describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import {
  BATCH,
  DEVICE_GONE,
  type LoopEngine,
  type LoopHost,
  type PacketDevice,
  READY_COMMANDS,
  READY_DEVICE,
  READY_LINKS,
  runLoop,
} from '../../src/datapath/loop.ts';
import type { EngineEvent } from '../../src/engine/commands.ts';
import { COUNTER, COUNTER_NAMES } from '../../src/engine/counters.ts';
import { CONSUME, type Disposition, DROP, FORWARD } from '../../src/engine/engine.ts';
import type { EchoRequest, LinkEvent, ResolveRequest } from '../../src/link/events.ts';
import { EAGAIN, EINVAL, ENOBUFS } from '../../src/native/errno.ts';

const EBADFD = 77;
const LINK: LinkEvent = { kind: 'interface-gone', name: 'wan0' };

interface Script {
  /** What `wait` returns, turn by turn; the end of the list stops the loop. */
  readonly waits: readonly number[];
  /** Results of reads, in order; then EAGAIN. */
  readonly reads?: readonly number[];
  /** Verdicts by packet, in order; then FORWARD. */
  readonly verdicts?: readonly Disposition[];
  readonly writes?: readonly number[];
  readonly transmits?: readonly number[];
  /** What `pollTimeout` of the engine says until `handleTimeout` is called. */
  readonly deadline?: number;
  readonly linksDeadline?: number;
  readonly events?: readonly EngineEvent[];
  readonly echoes?: readonly EchoRequest[];
  readonly resolves?: readonly ResolveRequest[];
  readonly links?: readonly LinkEvent[];
}

/** Runs the loop on scripted surroundings, writing down every call. The clock advances by 10 per reading. */
function run(script: Script): { log: string[]; end: string; counters: Float64Array } {
  const log: string[] = [];
  const counters = new Float64Array(COUNTER_NAMES.length);
  const reads = [...(script.reads ?? [])];
  const verdicts = [...(script.verdicts ?? [])];
  const writes = [...(script.writes ?? [])];
  const transmits = [...(script.transmits ?? [])];
  const events = [...(script.events ?? [])];
  const echoes = [...(script.echoes ?? [])];
  const resolves = [...(script.resolves ?? [])];
  const waits = [...script.waits];
  let clock = 0;
  let deadline = script.deadline ?? NEVER;
  let linksDeadline = script.linksDeadline ?? NEVER;
  let readOffset = 0;
  const engine: LoopEngine = {
    get readOffset() {
      return readOffset;
    },
    transmitOffset: 0,
    handlePacket(offset, length) {
      log.push(`packet ${offset} ${length}`);
      readOffset += 100;
      return verdicts.shift() ?? FORWARD;
    },
    handleLink: (event) => void log.push(`link ${event.kind}`),
    handleTimeout: () => {
      log.push('timeout');
      deadline = NEVER;
    },
    pollTransmit: () => transmits.shift() ?? 0,
    pollTimeout: () => deadline,
    pollEvent: () => events.shift(),
    pollEcho: () => echoes.shift(),
    pollResolve: () => resolves.shift(),
    pollJournal: () => null,
    pollHandshakes: () => null,
  };
  const device: PacketDevice = {
    read: () => reads.shift() ?? -EAGAIN,
    write: (offset, length, fromOutbox) => {
      log.push(`write ${fromOutbox ? 'outbox' : 'arena'} ${offset} ${length}`);
      return writes.shift() ?? length;
    },
  };
  const host: LoopHost = {
    now: () => (clock += 10),
    wait: (timeout) => {
      log.push(`wait ${timeout}`);
      return waits.shift() ?? READY_COMMANDS;
    },
    readLinks: (_now, sink) => {
      for (const event of script.links ?? [LINK]) sink(event);
    },
    pollLinksTimeout: () => linksDeadline,
    linksTimeout: () => {
      log.push('links timeout');
      linksDeadline = NEVER;
    },
    serveCommands: () => waits.length > 0,
    writeJournal: () => {},
    writeHandshakes: () => {},
    resolve: ({ name, address }) => log.push(`resolve ${name} ${address.join('.')}`),
    report: (reported, links, asked) =>
      log.push(`report ${reported.length} ${links.length}${asked.length === 0 ? '' : ` ${asked.length} echoes`}`),
  };
  const end = runLoop(engine, device, host, counters);
  return { log, end, counters };
}

describe('a turn', () => {
  test('has the kernel try those neighbours again that the engine waits for', () => {
    const hardware = Uint8Array.of(2, 0, 0, 0, 0, 2);
    const address = Uint8Array.of(10, 1, 0, 2);
    const { log } = run({ waits: [0], resolves: [{ name: 'lan0', address, hardware }] });
    expect(log).toContain('resolve lan0 10.1.0.2');
  });

  test('forwards from where the packet was read, though the engine moved on', () => {
    const { log, end, counters } = run({ waits: [READY_DEVICE], reads: [60, 70] });
    expect(log).toEqual([
      'wait 0',
      'packet 0 60',
      'write arena 0 60',
      'packet 100 70',
      'write arena 100 70',
      'wait Infinity',
    ]);
    expect(end).toBe('stopped');
    expect(counters[COUNTER.turns]).toBe(2);
  });

  test('writes nothing for dropped and consumed packets', () => {
    const { log } = run({ waits: [READY_DEVICE], reads: [60, 61, 62], verdicts: [DROP, CONSUME, FORWARD] });
    expect(log.filter((entry) => entry.startsWith('write'))).toEqual(['write arena 200 62']);
  });

  test('is bounded: a full batch makes the next wait only look', () => {
    const { log } = run({ waits: [READY_DEVICE, READY_DEVICE], reads: Array<number>(BATCH + 3).fill(60) });
    expect(log.filter((entry) => entry.startsWith('wait'))).toEqual(['wait 0', 'wait 0', 'wait Infinity']);
    expect(log.filter((entry) => entry.startsWith('packet')).length).toBe(BATCH + 3);
  });

  test('applies link events before packets, and reports them once', () => {
    const { log } = run({ waits: [READY_LINKS + READY_DEVICE], reads: [60] });
    expect(log).toEqual([
      'wait 0',
      'link interface-gone',
      'packet 0 60',
      'write arena 0 60',
      'report 0 1',
      'wait Infinity',
    ]);
  });

  test('what others can bring about at will reaches the engine, but not the main thread', () => {
    const icmp: LinkEvent = { kind: 'icmp', name: 'wan0', bytes: new Uint8Array(28) };
    const neighbour: LinkEvent = {
      kind: 'neighbour',
      name: 'lan0',
      family: 4,
      address: Uint8Array.of(10, 0, 0, 9),
      state: 'failed',
    };
    const { log } = run({ waits: [READY_LINKS, READY_LINKS], links: [icmp, neighbour] });
    expect(log).toEqual([
      'wait 0',
      ...['link icmp', 'link neighbour', 'wait Infinity', 'link icmp', 'link neighbour'],
      'wait Infinity',
    ]);
  });

  test('hands over the echoes that the engine asks for, and counts them', () => {
    const echo: EchoRequest = { name: 'wan0', family: 4, address: Uint8Array.of(10, 0, 0, 1), sequence: 1 };
    const { log, counters } = run({ waits: [0], echoes: [echo, { ...echo, sequence: 2 }] });
    expect(log).toEqual(['wait 0', 'report 0 0 2 echoes', 'wait Infinity']);
    expect(counters[COUNTER.echoRequests]).toBe(2);
  });

  test('waits for the nearest deadline and serves it when due', () => {
    const { log } = run({ waits: [0, 0, 0], deadline: 55, linksDeadline: 35 });
    // The clock reads 10 at the start and moves by 10 with each reading.
    expect(log).toEqual(['wait 0', 'wait 5', 'links timeout', 'wait 5', 'timeout', 'wait Infinity']);
  });

  test('writes synthesized packets at once, those that wait before the packets that come, and collects events', () => {
    const event: EngineEvent = { at: 0, name: 'link-lost', message: 'x' };
    const { log } = run({ waits: [READY_DEVICE], reads: [60], transmits: [40, 41], events: [event, event] });
    expect(log).toEqual([
      'wait 0',
      'write outbox 0 40',
      'write outbox 0 41',
      'packet 0 60',
      'write arena 0 60',
      'report 2 0',
      'wait Infinity',
    ]);
  });
});

describe('what fails', () => {
  test('refused writes are counted by cause and nothing is thrown', () => {
    const { counters } = run({
      waits: [READY_DEVICE],
      reads: [60, 60, 60, 60],
      writes: [-EAGAIN, -ENOBUFS, -EINVAL, -5],
      transmits: [40],
    });
    expect(counters[COUNTER.writeDropped]).toBe(2);
    expect(counters[COUNTER.writeErrors]).toBe(2);
  });

  test('a failing read ends the batch and is counted; the loop waits again', () => {
    const { log, counters } = run({ waits: [READY_DEVICE], reads: [60, -5, 60] });
    expect(counters[COUNTER.readErrors]).toBe(1);
    expect(log.at(-1)).toBe('wait Infinity');
    expect(log.filter((entry) => entry.startsWith('packet')).length).toBe(1);
  });

  test('no packet left is no error', () => {
    expect(run({ waits: [READY_DEVICE] }).counters[COUNTER.readErrors]).toBe(0);
  });

  test.each([
    ['poll reports it', { waits: [DEVICE_GONE, READY_DEVICE] }],
    ['read reports it', { waits: [READY_DEVICE, READY_DEVICE], reads: [-EBADFD] }],
  ])('a device that is gone ends the loop: %s', (_how, script) => {
    expect(run(script).end).toBe('device-gone');
  });
});
