/**
 * Captures of the real gateway, judged by tshark: what a cut looks like, the Lua fields and colours, extcap, streams, rotation and a
 * full disk. Runs against dist/.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import { checkCapture } from '../../src/lab/capture.ts';
import { compiledProgram } from '../../src/lab/child.ts';
import { LabGateway } from '../../src/lab/gateway.ts';
import { Lab } from '../../src/lab/topology.ts';
import { Traffic } from '../../src/lab/traffic-handle.ts';
import { until } from '../../src/lab/wait.ts';
import { hasTshark, tsharkFields } from '../capture/tshark.ts';

const able = process.getuid?.() === 0 && existsSync('/dev/net/tun') && hasTshark;
if (!able) console.warn('live captures skipped: they need root, /dev/net/tun and tshark');

/** Of every Debian. */
const NOBODY = 65_534;

const PACKAGING = resolve(import.meta.dirname, '../../packaging/wireshark');
const LUA = ['-X', `lua_script:${join(PACKAGING, 'tcpfreeze.lua')}`];

describe.skipIf(!able)('a capture of the gateway', () => {
  let lab: Lab;
  let gateway: LabGateway;
  let traffic: Traffic;
  let directory: string;
  let file: string;

  /** Upload over IPv4 and download over IPv6, through a cut of the carrier. */
  async function cut(bytes: number): Promise<void> {
    const flows = [
      await traffic.open({ family: 4, mode: 'upload', bytes }),
      await traffic.open({ family: 6, mode: 'download', bytes }),
    ];
    const finished = flows.map((flow) => flow.finished());
    await until(async () => (await flows[0]!.received()) > 200_000, { what: 'the upload', timeoutMillis: 20_000 });
    await lab.link.cut('carrier');
    const frozen = async (): Promise<boolean> => (await gateway.client.status()).flows.frozen === 2;
    await until(frozen, { what: 'frozen flows', timeoutMillis: 10_000 });
    // Long enough for probes of the sender.
    await new Promise((done) => setTimeout(done, 1_500));
    await lab.link.restore();
    for (const end of finished) await end;
  }

  beforeAll(async () => {
    lab = await Lab.create({ topology: 'router', link: { rateBps: 2e7, delayMillis: 10, queuePackets: 100 } });
    directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-capture-'));
    file = join(directory, 'cut.pcapng');
    const config = join(directory, 'gateway.yaml');
    writeFileSync(
      config,
      `capture: {file: ${join(directory, 'always.pcapng')}, snaplen: 96, rotate: {size: 64KiB, count: 3}}\n`,
    );
    gateway = await LabGateway.start(lab, { args: ['--config', config] });
    traffic = await Traffic.start(lab);
    await gateway.command('capture', 'start', '--file', file);
    await cut(6_000_000);
    await gateway.command('capture', 'stop', '2');
  });

  afterAll(async () => {
    await traffic?.stop();
    await gateway?.stop();
    await lab?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const fields = (filter: string, ...names: string[]): string[] => tsharkFields(file, names, ...LUA, '-Y', filter);

  test('has nothing malformed and no bad checksum, super-packets included', async () => {
    expect(await checkCapture(file, true)).toEqual([]);
    const longest = Math.max(...fields('tcp', 'tcp.len').map(Number));
    expect(longest).toBeGreaterThan(1_460);
    expect(fields('frame.len < ip.len or frame.cap_len < frame.len', 'frame.number')).toEqual([]);
  });

  test('tells the outage in fields that can be filtered', () => {
    // How much is in flight when the link goes is the machine's to decide; recorded stories are judged in test/capture/wireshark.test.ts.
    const actions = fields('tcpfreeze', 'tcpfreeze.fate', 'tcpfreeze.action');
    expect(actions.some((line) => /^made\t(custody-ack|zero-window)$/.test(line))).toBe(true);
    // A far peer that sends is woken, one that is silent is asked.
    expect(actions.some((line) => /^made\t(wake-up|question)$/.test(line))).toBe(true);
    const frozen = fields('tcpfreeze.fate == "made" && tcpfreeze.phase == "frozen"', 'tcpfreeze.reason');
    expect(new Set(frozen)).toEqual(new Set(['no carrier']));
    expect(new Set(fields('tcpfreeze', 'tcpfreeze.flow')).size).toBe(2);
    expect(fields('frame.comment && !tcpfreeze', 'frame.number')).toEqual([]);
  });

  test('zero windows, window updates and answers appear to tshark where the gateway says so', () => {
    const shut = fields(
      'tcpfreeze.action == "custody-ack" || tcpfreeze.action == "zero-window"',
      'tcp.analysis.zero_window',
    );
    expect(shut.length).toBeGreaterThan(1);
    expect(shut.every((flag) => flag === '1' || flag === 'True')).toBe(true);
    // Nobody else shuts a window here, but an endpoint that does not get to read (a busy machine): that only passes.
    const others = fields(
      'tcp.analysis.zero_window',
      'tcpfreeze.fate',
      'tcpfreeze.phase',
      'tcp.flags.str',
      'frame.comment',
    );
    expect(others.filter((line) => !/^(\t|made\tfrozen|(made|changed)\thandback)\t/.test(line))).toEqual([]);
    const updates = fields(
      'tcpfreeze.action == "ack-clock" || tcpfreeze.action == "window-update"',
      'tcp.window_size_value',
    );
    expect(updates.some((window) => Number(window) > 0)).toBe(true);
  });

  test('names interfaces, directions, the program and its drops', () => {
    const info = execFileSync('capinfos', ['-M', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    for (const words of [
      'Name = lan0',
      'Name = wan0',
      'Name = tcpfreeze',
      'Capture application: tcpfreeze',
      'Number of resolved',
    ]) {
      expect(info).toContain(words);
    }
    expect(info.match(/Number of stat entries = 1/g)).toHaveLength(4);
    expect(new Set(fields('tcpfreeze.fate == "made"', 'frame.interface_name', 'frame.packet_flags_direction'))).toEqual(
      new Set(['tcpfreeze\t0x00000002']),
    );
    expect(new Set(fields('tcpfreeze.fate == "held"', 'frame.packet_flags_direction'))).toEqual(
      new Set(['0x00000001']),
    );
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('one from the configuration runs all the time, in files of its size', async () => {
    const [always] = await gateway.client.captures();
    expect(always).toMatchObject({ id: 1, snaplen: 96, rotate: { size: 65_536, count: 3 }, dropped: 0 });
    expect(always!.files).toBeGreaterThan(3);
    const names = readdirSync(directory).filter((name) => name.startsWith('always'));
    expect(names).toHaveLength(3);
    const [oldest, older] = names.sort();
    expect(statSync(join(directory, oldest!)).size).toBeGreaterThanOrEqual(65_536);
    // Every file can be read by itself.
    for (const name of [oldest!, older!]) {
      expect([...readCaptureFile(join(directory, name))].length).toBeGreaterThan(100);
      expect(tsharkFields(join(directory, name), ['frame.number']).length).toBeGreaterThan(100);
    }
  });

  test('what cannot be written or understood is refused at once, in one line', async () => {
    const start = (...args: string[]) => gateway.cli('capture', 'start', ...args);
    writeFileSync(join(directory, 'notes.pcapng'), 'no capture');
    for (const [args, code, words] of [
      [['--file', join(directory, 'notes.pcapng')], 1, /exists and is no capture/],
      [['--file', join(directory, 'missing/x.pcapng')], 1, /ENOENT/],
      [['--file', join(directory, 'x.pcapng'), '--filter', 'port 22 443'], 2, /column 9: "and" or "or" is missing/],
      [['--file', join(directory, 'x.pcapng'), '--snaplen', '0'], 2, /snaplen/],
      [['--file', join(directory, 'x.pcapng'), '--rotate', '5'], 2, /rotate/],
      [[], 2, /--file/],
    ] as const) {
      const { exitCode, stderr } = await start(...args);
      expect([exitCode, stderr]).toEqual([code, expect.stringMatching(words)]);
      expect(stderr.trim().split('\n')).toHaveLength(1);
    }
    expect(existsSync(join(directory, 'x.pcapng'))).toBe(false);
    expect((await gateway.cli('capture', 'stop', '77')).stderr).toMatch(/there is no capture 77/);
  });

  test('a reader of a stream that goes away ends its capture, and no other', async () => {
    const command = `"${process.execPath}" "${compiledProgram('cli.js')}" capture start --file - --control "${gateway.control}" | head -c 100`;
    const shell = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'ignore'] });
    const parts: Buffer[] = [];
    shell.stdout.on('data', (chunk: Buffer) => parts.push(chunk));
    // A pipe tells its writer that it is closed when there is something to write.
    const ended = async (): Promise<boolean> => {
      await (await traffic.open({ family: 4, mode: 'upload', bytes: 50_000 })).finished();
      return shell.exitCode !== null;
    };
    await until(ended, { what: 'the end of the pipe', timeoutMillis: 20_000 });
    expect([...Buffer.concat(parts).subarray(0, 4)]).toEqual([0x0a, 0x0d, 0x0d, 0x0a]);
    const left = async (): Promise<boolean> =>
      (await gateway.client.captures()).every(({ file: path }) => path !== null);
    await until(left, { what: 'the end of the capture', timeoutMillis: 10_000 });
    expect(await gateway.client.captures()).toHaveLength(1);
  });

  describe('in the list of tshark (extcap)', () => {
    let environment: NodeJS.ProcessEnv;
    beforeAll(() => {
      // The wrapper that is shipped, in an extcap folder, and a command for it to find.
      const folder = join(directory, 'extcap');
      const programs = join(directory, 'bin');
      mkdirSync(folder);
      mkdirSync(programs);
      symlinkSync(join(PACKAGING, 'extcap/tcpfreeze'), join(folder, 'tcpfreeze'));
      const script = (name: string, lines: string): void =>
        writeFileSync(join(programs, name), `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
      script('tcpfreeze', `exec "${process.execPath}" "${compiledProgram('cli.js')}" "$@"`);
      // Another machine that is this one: the last argument is what its shell is given.
      script('ssh', 'for last; do :; done\nexec sh -c "$last"');
      for (const path of [directory, dirname(gateway.control), gateway.control]) {
        chownSync(path, 0, NOBODY);
        chmodSync(path, 0o770);
      }
      environment = {
        ...process.env,
        PATH: `${programs}:${process.env.PATH}`,
        WIRESHARK_EXTCAP_DIR: folder,
        TCPFREEZE_CONTROL: gateway.control,
        HOME: join(directory, 'nobody'),
      };
    });

    const tshark = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
      new Promise((done) => {
        // Root's Wireshark ignores the variable. A user of the group that owns the control socket is who does this anyway.
        const child = spawn('tshark', args, {
          env: environment,
          uid: NOBODY,
          gid: NOBODY,
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let stdout = '';
        let stderr = '';
        child.stdout.on('data', (chunk) => {
          stdout += chunk;
        });
        child.stderr.on('data', (chunk) => {
          stderr += chunk;
        });
        child.once('close', () => done({ stdout, stderr }));
      });

    /** Runs tshark until it has 20 packets, with uploads until then. */
    async function captured(...args: string[]): Promise<string[]> {
      const out = join(directory, `extcap-${args.length}-${Math.random()}.pcapng`);
      const done = tshark('-n', ...args, '-c', '20', '-a', 'duration:20', '-w', out);
      let isDone = false;
      void done.then(() => {
        isDone = true;
      });
      while (!isDone) await (await traffic.open({ family: 4, mode: 'upload', bytes: 200_000 })).finished();
      const { stderr } = await done;
      expect(existsSync(out), stderr).toBe(true);
      return tsharkFields(out, ['frame.interface_name', 'ip.src', 'tcp.dstport', 'frame.cap_len']);
    }

    test('the links of this gateway are there', async () => {
      const { stdout } = await tshark('-D');
      for (const name of ['tcpfreeze: all links', 'tcpfreeze: lan0', 'tcpfreeze: wan0', 'another machine, by ssh']) {
        expect(stdout).toContain(`(${name.startsWith('tcp') ? name : `tcpfreeze: ${name}`})`);
      }
      const { stdout: types } = await tshark('-i', 'tcpfreeze', '-L');
      expect(types).toMatch(/Raw IP/);
    });

    test('a link is captured, with a filter in the words of the gateway', async () => {
      const lines = await captured('-i', 'tcpfreeze-link-wan0', '-f', 'src net 10.81.2.0/24 and not touched');
      expect(lines).toHaveLength(20);
      expect(new Set(lines.map((line) => line.split('\t')[1]))).toEqual(new Set(['10.81.2.2']));
    });

    test('and by ssh, with options', async () => {
      const options = ['-o', 'extcap.tcpfreeze_ssh.ssh:admin@router', '-o', 'extcap.tcpfreeze_ssh.snaplen:80'];
      const lines = await captured(
        '-i',
        'tcpfreeze-ssh',
        ...options,
        '-f',
        'link lan0 and src host 10.81.1.2 and (port 5800 or touched)',
      );
      expect(lines).toHaveLength(20);
      expect(Math.max(...lines.map((line) => Number(line.split('\t')[3])))).toBe(80);
    });
  });
});

describe.skipIf(!able)('a full disk', () => {
  test('stops the capture with an event, not the gateway, and leaves a file that can be read', async () => {
    const lab = await Lab.create({ topology: 'router', link: { rateBps: 2e7, delayMillis: 10, queuePackets: 100 } });
    const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-full-'));
    // A small file system that only the gateway sees.
    const mounted = `mount -t tmpfs -o size=512k none "${directory}" && exec "$@"`;
    const place = {
      gateway: Object.assign(Object.create(lab.gateway), {
        spawn: (program: string, args: readonly string[], options: object) =>
          lab.gateway.spawn('unshare', ['--mount', 'sh', '-c', mounted, 'sh', program, ...args], options),
      }),
    } as Pick<Lab, 'gateway'>;
    let gateway: LabGateway | undefined;
    let traffic: Traffic | undefined;
    try {
      gateway = await LabGateway.start(place);
      traffic = await Traffic.start(lab);
      const path = join(directory, 'full.pcapng');
      await gateway.command('capture', 'start', '--file', path);
      const flow = await traffic.open({ family: 4, mode: 'upload', bytes: 3_000_000 });
      await flow.finished();
      const failed = async (): Promise<boolean> => (await gateway!.command('events')).includes('capture-failed');
      await until(failed, { what: 'the event', timeoutMillis: 10_000 });
      expect(await gateway.command('events')).toMatch(
        /capture 1 ended: no room is left for \S+full\.pcapng \(ENOSPC\)/,
      );
      expect(await gateway.client.captures()).toEqual([]);
      const inside = `/proc/${gateway.pid}/root${path}`;
      expect(statSync(inside).size).toBeGreaterThan(200_000);
      expect([...readCaptureFile(inside)].length).toBeGreaterThan(100);
      // The gateway goes on, and so may another capture.
      await (await traffic.open({ family: 4, mode: 'upload', bytes: 100_000 })).finished();
      rmSync(inside);
      await gateway.command('capture', 'start', '--file', path);
    } finally {
      await traffic?.stop();
      await gateway?.stop();
      await lab.dispose();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
