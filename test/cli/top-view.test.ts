/** What `top` shows and what its keys do. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { onKey, shownFlows, TOP_START, type TopData, type TopState, topLines } from '../../src/cli/top-view.ts';
import type { FlowJson, StatusJson } from '../../src/control/api.ts';
import { toEventJson } from '../../src/control/history.ts';
import { NO_LIMIT, sampleStatus } from '../control/samples.ts';

const NOW = Date.parse('2026-01-01T12:00:00.000Z');
const PHASES = { opening: 0, flowing: 1, frozen: 2, handback: 0, closing: 0, bypass: 0 };
const STATUS: StatusJson = sampleStatus({
  version: '1.0.0',
  uptime: 3_700,
  tun: 'tcpfreeze0',
  links: [
    { name: 'lan0', role: 'lan', state: 'up', since: '2026-01-01T11:00:00.000Z', reason: 'operational', evidence: [] },
    {
      name: 'wan0',
      role: 'wan',
      state: 'lost',
      since: '2026-01-01T11:59:48.000Z',
      reason: 'no carrier',
      evidence: ['no carrier', 'frozen by command'],
    },
  ],
  flows: { total: 3, ...PHASES },
  classes: { normal: PHASES },
  custodyBytes: 5_000,
});

function flow(id: string, phase: string, custodyBytes: number, frozenSeconds: number | null, port = 1): FlowJson {
  return {
    id,
    family: 4,
    originator: `10.0.0.${id.split('.')[0]}:${port}`,
    responder: '192.0.2.1:443',
    phase,
    near: frozenSeconds === null ? null : 'originator',
    frozenSince: frozenSeconds === null ? null : new Date(NOW - frozenSeconds * 1_000).toISOString(),
    custodyBytes,
    class: 'normal',
    ...NO_LIMIT,
    bypassReason: null,
    windowScales: [7, null],
  };
}

const FLOWS = [flow('2.1', 'flowing', 0, null), flow('10.1', 'frozen', 4_000, 12), flow('3.1', 'frozen', 1_000, 30)];
const EVENTS = [
  toEventJson({ name: 'link-lost', message: 'link wan0 lost: no carrier', link: 'wan0' }, new Date(NOW - 12_000)),
  toEventJson({ name: 'flow-frozen', message: 'its originator waits', flow: '10.1' }, new Date(NOW - 12_000)),
  toEventJson({ name: 'flows-frozen', message: '2 flows frozen' }, new Date(NOW - 12_000)),
];
const DATA: TopData = {
  status: STATUS,
  flows: FLOWS,
  heldOnly: false,
  events: EVENTS,
  rates: { packets: 1_000.4, bytes: 1_250_000, transmits: 3, probesAnswered: 2, replayedBytes: 2_048, dropped: 0 },
  problem: null,
  now: NOW,
};

function text(
  data: TopData,
  state: TopState = TOP_START,
  size: { columns: number; rows: number } | null = null,
): string[] {
  return topLines(data, state, size).map((line) => line.text);
}

describe('view', () => {
  test('links with their evidence, flows by phase, rates, flows and events', () => {
    expect(text(DATA)).toEqual([
      'tcpfreeze 1.0.0  up 1h 1m  device tcpfreeze0  12:00:00 UTC',
      '',
      'LINK  ROLE  STATE  FOR    EVIDENCE',
      'lan0  lan   up     1h 0m  operational',
      'wan0  wan   LOST   12s    no carrier, frozen by command',
      '',
      'flows 3: opening 0, flowing 1, frozen 2, handback 0, closing 0, bypass 0; custody 4.9 KiB',
      'per second: 1000 packets, 10.0 Mbit, 3 made, 2 probes answered, 2.0 KiB replayed, 0 dropped',
      '',
      '3 flows',
      'FLOW  ORIGINATOR   RESPONDER      PHASE    HELD        FROZEN  CUSTODY  CLASS',
      '10.1  10.0.0.10:1  192.0.2.1:443  frozen   originator  12s     3.9 KiB  normal',
      '3.1   10.0.0.3:1   192.0.2.1:443  frozen   originator  30s      1000 B  normal',
      '2.1   10.0.0.2:1   192.0.2.1:443  flowing  -           -           0 B  normal',
      '',
      'EVENTS',
      expect.stringMatching(/^11:59:48 {2}link-lost +link wan0 lost: no carrier$/),
      expect.stringMatching(/^11:59:48 {2}flows-frozen +2 flows frozen$/),
    ]);
  });

  test('a lost link stands out, and so do frozen flows', () => {
    const lines = topLines(DATA, TOP_START, null);
    expect(lines.filter(({ style }) => style === 'bad').map((line) => line.text.split(' ')[0])).toEqual([
      'wan0',
      '10.1',
      '3.1',
      '11:59:48',
    ]);
  });

  test('no gateway any more: one line says why', () => {
    const lost = { ...DATA, status: null, flows: [], problem: 'no gateway is running; start one' };
    expect(text(lost).slice(0, 2)).toEqual(['tcpfreeze  12:00:00 UTC', 'no gateway is running; start one']);
  });

  test('many flows: only held ones are listed, and that is said', () => {
    expect(text({ ...DATA, heldOnly: true })[9]).toBe('3 held flows (too many to list all)');
  });

  test('it fills the terminal exactly, whatever its size, with the keys last', () => {
    const flows = Array.from({ length: 300 }, (_, i) => flow(`${i}.1`, 'frozen', i, 5));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 120 }), fc.nat(400), (rows, offset) => {
        const lines = text({ ...DATA, flows }, { ...TOP_START, offset }, { columns: 80, rows });
        expect(lines).toHaveLength(rows);
        expect(lines.at(-1)).toMatch(/^q: quit/);
        expect(lines.every((line) => !line.includes('\n'))).toBe(true);
      }),
    );
  });

  test('a page of many flows says which', () => {
    const flows = Array.from({ length: 300 }, (_, i) => flow(`${i}.1`, 'frozen', 1_000 - i, 5));
    const lines = text({ ...DATA, flows }, { ...TOP_START, offset: 10 }, { columns: 80, rows: 40 });
    const said = /^300 flows, 11 to (\d+) shown$/.exec(lines[9]!);
    expect(said).not.toBeNull();
    expect(lines[11]).toMatch(/^10\.1 /);
    expect(lines.filter((line) => /^\d+\.1 /.test(line))).toHaveLength(Number(said![1]) - 10);
  });
});

describe('keys', () => {
  const press = (...keys: string[]): TopState =>
    keys.reduce<TopState>((state, key) => {
      const next = onKey(state, key, 20);
      if (next === 'quit') throw new Error('quit');
      return next;
    }, TOP_START);
  const ids = (state: TopState): string[] => shownFlows(FLOWS, state).map(({ id }) => id);

  test('sort by everything, and the other way round', () => {
    expect(ids(press())).toEqual(['10.1', '3.1', '2.1']);
    expect(ids(press('s'))).toEqual(['3.1', '10.1', '2.1']);
    expect(ids(press('s', 's'))).toEqual(['2.1', '3.1', '10.1']);
    expect(ids(press('s', 's', 's'))).toEqual(['2.1', '3.1', '10.1']);
    expect(ids(press('s', 's', 's', 'r'))).toEqual(['10.1', '3.1', '2.1']);
    expect(press('s', 's', 's', 's', 's', 's').sort).toBe('custody');
  });

  test('filter by phase and by text', () => {
    expect(ids(press('f'))).toEqual(['10.1', '3.1']);
    expect(ids(press('f', 'f'))).toEqual([]);
    expect(ids(press('/', ...'10.0.0.3', 'return'))).toEqual(['3.1']);
    expect(ids(press('/', ...'10.0.0.3x', 'backspace', 'return'))).toEqual(['3.1']);
    expect(ids(press('/', ...'zzz', 'escape'))).toHaveLength(3);
    expect(press('/', ...'qsf').search).toBe('qsf');
    expect(press('f', '/', 'x', 'return', 'escape')).toMatchObject({ phase: 'all', search: '' });
  });

  test('scroll, pause, pace, events, quit', () => {
    expect(press('down', 'down', 'up', 'pagedown').offset).toBe(21);
    expect(press('up', 'pageup').offset).toBe(0);
    expect(press('down', 'home').offset).toBe(0);
    expect(press('p').isPaused).toBe(true);
    expect(press('p', 'space').isPaused).toBe(false);
    expect([press('+').interval, press('+', '+').interval, press('-').interval]).toEqual([0.5, 0.5, 2]);
    expect(text(DATA, press('d')).filter((line) => line.includes('flow-frozen'))).toHaveLength(1);
    expect(onKey(TOP_START, 'q', 20)).toBe('quit');
    expect(onKey(press('/'), 'ctrl-c', 20)).toBe('quit');
  });

  test('nothing that is typed breaks it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('s', 'f', '/', 'escape', 'down', 'return'))),
        (keys) => {
          let state = TOP_START;
          for (const key of keys) {
            const next = onKey(state, key, 20);
            if (next === 'quit') continue;
            state = next;
          }
          expect(topLines(DATA, state, { columns: 80, rows: 24 })).toHaveLength(24);
        },
      ),
    );
  });
});
