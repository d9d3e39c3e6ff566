/** What is shipped for Wireshark, on recorded stories that were replayed: fields, colours, and tshark's own opinion of what the gateway made. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PcapngWriter } from '../../src/capture/pcapng-writer.ts';
import { checkCapture } from '../../src/lab/capture.ts';
import { ACK, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, SEGMENT, type Segment, stream } from '../engine/conversation.ts';
import { Rig } from '../engine/rig.ts';
import { join } from './files.ts';
import { listed, replayListed } from './replayed.ts';
import { hasTshark, tsharkFields } from './tshark.ts';

const PACKAGING = resolve(import.meta.dirname, '../../packaging/wireshark');
const LUA = ['-X', `lua_script:${joinPath(PACKAGING, 'tcpfreeze.lua')}`];
const STORIES = [
  'story-upload-cut',
  'story-download-cut',
  'story-typing-cut',
  'ssh-dups-host-lost',
  'zerowindowdead-receiver-lost',
];

let directory: string;
const pathOf = (story: string): string => joinPath(directory, `${story}.pcapng`);

/** What the gateway would have sent, as `tcpfreeze replay --out` writes it. */
function write(story: string, path: string, madeOnly: boolean): void {
  const { actions } = replayListed(listed().find(({ name }) => name === story)!);
  const parts: Uint8Array[] = [];
  const interfaces = ['lan0', 'wan0', 'tcpfreeze'].map((name) => ({ name, description: '' }));
  const writer = new PcapngWriter({ application: 'test' }, interfaces, 65_535, (bytes) => parts.push(bytes.slice()));
  for (const action of actions) if (!madeOnly || action.kind === 'made') writer.packet(action);
  writer.flush();
  writeFileSync(path, join(parts));
}

const fields = (story: string, filter: string, ...names: string[]): string[] =>
  tsharkFields(pathOf(story), names, ...LUA, '-Y', filter);

describe.skipIf(!hasTshark)('Wireshark', () => {
  beforeAll(() => {
    directory = mkdtempSync(joinPath(tmpdir(), 'tcpfreeze-wireshark-'));
    for (const story of STORIES) write(story, pathOf(story), false);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('shows every comment as fields that can be filtered', () => {
    const story = 'story-upload-cut';
    const actions = new Set(fields(story, 'tcpfreeze', 'tcpfreeze.fate', 'tcpfreeze.action'));
    for (const wanted of [
      'made\tcustody-ack',
      'held\tprobe',
      'made\tprobe-answer',
      'made\treplay',
      'made\twake-up',
      'made\tack-clock',
    ]) {
      expect(actions, [...actions].join(', ')).toContain(wanted);
    }
    expect(fields(story, 'frame.comment && !tcpfreeze', 'frame.number')).toEqual([]);
    expect(fields(story, 'tcpfreeze && !frame.comment', 'frame.number')).toEqual([]);
    const custody = 'tcpfreeze.action == "custody-ack" && tcpfreeze.custody > 38000';
    expect(
      new Set(fields(story, custody, 'tcpfreeze.reason', 'tcpfreeze.phase', 'tcpfreeze.flow', 'tcpfreeze.custody')),
    ).toEqual(new Set(['no carrier\tfrozen\t0.1\t38008']));
    const [words] = fields(story, 'tcpfreeze.action == "custody-ack"', 'tcpfreeze.words');
    expect(words).toBe('custody ACK: 38,008 bytes held, window 0; link wan0 lost now: no carrier');
  });

  test('has a colour for each kind of packet', () => {
    const home = joinPath(directory, 'home');
    mkdirSync(joinPath(home, '.config/wireshark'), { recursive: true });
    symlinkSync(joinPath(PACKAGING, 'tcpfreeze.colours'), joinPath(home, '.config/wireshark/colorfilters'));
    const names = ['-e', 'tcpfreeze.fate', '-e', 'tcpfreeze.action', '-e', 'frame.coloring_rule.name'];
    const args = [
      '-n',
      '-r',
      pathOf('story-upload-cut'),
      ...LUA,
      '--color',
      '-Y',
      'tcpfreeze',
      '-T',
      'fields',
      ...names,
    ];
    const output = execFileSync('tshark', args, {
      encoding: 'utf8',
      env: { ...process.env, HOME: home, COLORTERM: 'truecolor' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const rules = new Set(output.trim().split('\n'));
    expect([...rules].filter((line) => !line.includes('\ttcpfreeze: '))).toEqual([]);
    for (const line of [
      'made\tcustody-ack\ttcpfreeze: zero window, custody, probes',
      'made\treplay\ttcpfreeze: delivered from custody',
      'made\treplay-again\ttcpfreeze: delivered again',
      'made\twake-up\ttcpfreeze: window opens, far sender woken',
      'held\tprobe\ttcpfreeze: held',
    ]) {
      expect(rules, [...rules].join('; ')).toContain(line);
    }
  });

  test('finds nothing malformed and no bad checksum in what the gateway made', async () => {
    for (const story of STORIES) {
      // What others have sent was recorded beside their network cards, with partial checksums.
      const path = joinPath(directory, 'made.pcapng');
      write(story, path, true);
      const findings = await checkCapture(path, true);
      expect(findings.map(({ problem, example }) => `${story}: ${problem}: ${example}`)).toEqual([]);
    }
  });

  test('sees zero windows where the gateway shuts them, and nowhere else by it', () => {
    for (const story of ['story-upload-cut', 'story-typing-cut']) {
      const shut = fields(
        story,
        'tcpfreeze.fate == "made" && tcpfreeze.phase == "frozen" && tcp',
        'tcp.analysis.zero_window',
      );
      expect(shut.length, story).toBeGreaterThan(0);
      expect(
        shut.filter((flag) => flag === ''),
        story,
      ).toEqual([]);
      const open = fields(story, 'tcpfreeze.phase == "flowing" && tcp.analysis.zero_window', 'frame.number');
      expect(open, story).toEqual([]);
    }
  });

  test('sees probes of Linux as keepalives, and our answers as theirs', () => {
    const story = 'zerowindowdead-receiver-lost';
    const probes = fields(story, 'tcpfreeze.action == "probe"', 'tcp.analysis.keep_alive');
    expect(probes).toHaveLength(3);
    expect(probes.filter((flag) => flag === '')).toEqual([]);
    const answers = fields(
      story,
      'tcpfreeze.action == "probe-answer"',
      'tcp.analysis.keep_alive_ack',
      'tcp.analysis.zero_window',
    );
    expect(answers).toHaveLength(3);
    for (const answer of answers) expect(answer.split('\t').filter((flag) => flag !== '').length).toBeGreaterThan(0);
    // An acknowledgement that nobody asked for would be a duplicate to it.
    expect(fields(story, 'tcpfreeze.action == "probe-answer" && tcp.analysis.duplicate_ack', 'frame.number')).toEqual(
      [],
    );
  });

  test('sees answers to probes with a byte as such (BSD, Windows)', () => {
    const rig = new Rig();
    const seen: Uint8Array[] = [];
    const c = new Conversation(rig);
    // What is on the cable of the surviving side, in its order: what the near endpoint sends, what it is sent.
    const say = (segment: Segment): void => {
      seen.push(c.bytes('near', segment).slice());
      c.send('near', segment);
      seen.push(...rig.take().map(({ bytes }) => bytes));
    };
    seen.push(c.bytes('near', { seq: 0, flags: SYN }).slice());
    c.open();
    seen.push(
      c.bytes('far', { seq: 0, ack: 1, flags: SYN | ACK }).slice(),
      c.bytes('near', { seq: 1, ack: 1 }).slice(),
    );
    rig.take();
    c.data('near', 1);
    seen.push(c.bytes('near', { seq: 1, payload: stream(1, SEGMENT) }).slice());
    c.lose();
    seen.push(...rig.take().map(({ bytes }) => bytes));
    for (let probe = 0; probe < 3; probe++) {
      rig.advance(1_000_000 << probe);
      say({ seq: 1 + SEGMENT, payload: stream(1 + SEGMENT, 1) });
    }
    const path = joinPath(directory, 'probes.pcapng');
    const parts: Uint8Array[] = [];
    const writer = new PcapngWriter({ application: 'test' }, [{ name: 'lan0', description: '' }], 65_535, (bytes) =>
      parts.push(bytes.slice()),
    );
    seen.forEach((bytes, index) => {
      writer.packet({
        interface: 0,
        time: BigInt(index) * 1_000_000_000n,
        bytes,
        originalLength: bytes.length,
        direction: 1,
        comment: null,
      });
    });
    writer.flush();
    writeFileSync(path, join(parts));
    const flags = (name: string): number => tsharkFields(path, ['frame.number'], '-Y', `tcp.analysis.${name}`).length;
    expect([flags('zero_window_probe'), flags('zero_window_probe_ack')]).toEqual([3, 3]);
  });

  test('sees the window open again where the gateway says so', () => {
    const updates = fields('story-upload-cut', 'tcpfreeze.action == "ack-clock"', 'tcp.window_size_value').map(Number);
    expect(updates.length).toBeGreaterThan(0);
    expect(Math.min(...updates)).toBeGreaterThan(0);
  });
});
