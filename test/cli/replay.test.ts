/** `tcpfreeze replay` as a command, without a gateway and without root. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import type { ReplayJson } from '../../src/capture/replay-text.ts';
import { prefixesOption } from '../../src/cli/options.ts';
import { type ReplayFlags, replay } from '../../src/cli/replay.ts';
import { hasTshark, tsharkFields } from '../capture/tshark.ts';

const CAPTURES = join(import.meta.dirname, '../../captures');
const CAPTURE = join(CAPTURES, 'shared/zeek/timestamp.pcap');
const SCRIPT = join(CAPTURES, 'scripts/lan-cut.events');
/** Without which the gateway's packets are nothing that a tool could judge. */
const WHOLE = join(CAPTURES, 'shared/suricata-verify/tcp-empty-sack.pcap');

describe('tcpfreeze replay', () => {
  let directory = '';
  let printed = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-cli-'));
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  beforeEach(() => {
    printed = '';
  });
  afterAll(() => {
    vi.restoreAllMocks();
    rmSync(directory, { recursive: true, force: true });
  });
  const file = (name: string, content: string | Uint8Array): string => {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  };

  async function refusal(input: string, flags: Partial<ReplayFlags>): Promise<string> {
    try {
      await replay(input, { speed: 'fast', ...flags });
    } catch (error) {
      if (error instanceof TcpfreezeError) return `${error.code} ${error.line()}`;
      throw error;
    }
    return 'none';
  }

  test('prints the text that is expected, line by line or as a summary', async () => {
    const expected = readFileSync(join(CAPTURES, 'expected/timestamp-lan-cut.txt'), 'utf8');
    const [lines, summary] = expected.split('\n\n');
    await replay(CAPTURE, { speed: 'fast', script: SCRIPT });
    expect(printed).toBe(summary);
    printed = '';
    await replay(CAPTURE, { speed: 'fast', script: SCRIPT, list: true });
    expect(printed).toBe(`${lines}\n${summary}`);
  });

  test('prints JSON', async () => {
    await replay(CAPTURE, { speed: 'fast', script: SCRIPT, json: true });
    const json = JSON.parse(printed) as ReplayJson;
    expect(json).toMatchObject({ lan: '192.168.1.10', flowsSeen: 1, packets: { read: 878, lost: 5 } });
    expect(json.counters.freezes).toBe(1);
  });

  test.skipIf(!hasTshark)('writes a capture in which tshark finds nothing wrong', async () => {
    const out = join(directory, 'out.pcapng');
    await replay(WHOLE, { speed: 'fast', script: join(CAPTURES, 'scripts/long-wan-cut.events'), out });
    const packets = [...readCaptureFile(out)].map(({ comment, interface: where }) => [where.name, comment] as const);
    const made = packets.filter(([name]) => name === 'tcpfreeze');
    expect(made.length).toBeGreaterThan(10);
    expect(packets.filter(([name, comment]) => name === 'tcpfreeze' && comment === null)).toEqual([]);
    // Payload is not dissected: recorded retransmissions are no fault of the gateway's.
    const options = ['-d', 'tcp.port==1-65535,data', '-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
    const judge = (filter: string): string[] => tsharkFields(out, ['frame.number'], ...options, '-Y', filter);
    expect(judge('_ws.malformed or tcp.checksum.status == "Bad"')).toEqual([]);
    expect(judge('ip.checksum.status == "Bad" or icmp.checksum.status == "Bad"')).toEqual([]);
    // Where we say that a window is closed, tshark sees a closed window.
    const zero = judge('frame.interface_name == "tcpfreeze" and tcp.analysis.zero_window');
    const said = packets.flatMap(([name, comment], index) =>
      name === 'tcpfreeze' && / window 0/.test(comment ?? '') ? [String(index + 1)] : [],
    );
    expect(said.length).toBeGreaterThan(5);
    expect(zero).toEqual(said);
  });

  test('keeps what came before a damaged record, and says where it is', async () => {
    const out = join(directory, 'cut.pcapng');
    const cut = file('cut.pcap', readFileSync(CAPTURE).subarray(0, 1_000));
    expect(await refusal(cut, { out })).toMatch(
      /^CAPTURE_DAMAGED the capture is damaged at byte \d+: .*; record it again/,
    );
    expect([...readCaptureFile(out)].length).toBeGreaterThan(5);
    expect(printed).toBe('');
  });

  test('refuses bad input before it writes anything', async () => {
    const script = file('bad.events', '+1 lose eth9\n');
    const out = join(directory, 'never.pcapng');
    expect(await refusal(CAPTURE, { script, out })).toContain('SCRIPT_INVALID line 1 of the script: no link eth9');
    expect(await refusal(CAPTURE, { script: join(directory, 'none'), out })).toContain('SCRIPT_UNREADABLE');
    expect(await refusal(CAPTURE, { script: file('big.events', ' '.repeat((1 << 20) + 1)), out })).toContain(
      'SCRIPT_INVALID',
    );
    expect(() => readFileSync(out)).toThrow('ENOENT');
    expect(await refusal(CAPTURE, { out: join(directory, 'no', 'folder.pcapng') })).toContain('OUTPUT_REFUSED');
    expect(await refusal(CAPTURE, { out: directory })).toContain('OUTPUT_REFUSED');
    const copy = file('copy.pcap', readFileSync(CAPTURE));
    expect(await refusal(copy, { out: copy })).toContain('is the capture itself');
    expect(readFileSync(copy)).toEqual(readFileSync(CAPTURE));
    expect(await refusal(join(directory, 'none.pcap'), {})).toContain('CAPTURE_UNREADABLE');
    expect(await refusal(directory, {})).toContain('CAPTURE_UNREADABLE');
    expect(await refusal(file('text', 'hello, world\n'), {})).toContain('CAPTURE_UNKNOWN');
    expect(await refusal(CAPTURE, { out: '/dev/full' })).toContain('OUTPUT_FAILED');
    expect(printed).toBe('');
  });

  test('in real time it takes as long as the recording, and the rest of the engine’s work', async () => {
    const started = performance.now();
    await replay(CAPTURE, { speed: 'real', script: file('short.events', '') });
    // 0.55 s, and the two seconds after its end have nothing to do.
    expect(performance.now() - started).toBeGreaterThan(540);
  });

  test('prefixes by comma and by repetition', () => {
    const text = (prefixes: ReturnType<typeof prefixesOption>): string =>
      prefixes.map(({ family, prefixLength }) => `${family}/${prefixLength}`).join(' ');
    expect(text(prefixesOption('10.0.0.0/8, fd00::/8', undefined))).toBe('4/8 6/8');
    expect(text(prefixesOption('192.0.2.1', prefixesOption('10.0.0.0/8', undefined)))).toBe('4/8 4/32');
    expect(() => prefixesOption('10.0.0.0/40', undefined)).toThrow('10.0.0.0/8');
  });
});
