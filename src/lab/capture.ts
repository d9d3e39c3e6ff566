/**
 * Captures on both sides of the gateway, and what tshark finds wrong with them.
 *
 * On the emulated link frames have their final checksums. On the other cable offloads are on, so a frame captured where it
 * leaves has a partial checksum, which is right there and cannot be judged: for that side only the IP header's counts.
 *
 * tshark calls a TCP checksum of 0xffff bad where 0 is computed. In one's complement both are the same value (RFC 1624, 3), and Linux
 * itself writes 0xffff when it computes a checksum in software (net/core/dev.c, skb_checksum_help), so that is no finding.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TcpfreezeError } from '../base/errors.ts';
import { readCaptureFile } from '../capture/capture-file.ts';
import { onLabExit } from './registry.ts';
import { runCommand } from './run-command.ts';
import { checkSegments, OLD_TIMESTAMP } from './segment-check.ts';
import { LAN_INTERFACE, type Lab, WAN_INTERFACE } from './topology.ts';

export type Side = 'lan' | 'wan';

export interface CaptureFinding {
  readonly side: Side;
  /** What was looked for, in words, and the number of packets that show it. */
  readonly problem: string;
  readonly packets: number;
  /** The first of them as tshark prints it. */
  readonly example: string;
}

/** Kernel buffer of tcpdump in KiB: two seconds of a link at 200 Mb/s. */
const BUFFER_KIB = '65536';

interface Running {
  readonly side: Side;
  readonly file: string;
  readonly process: ChildProcess;
  /** What tcpdump says, its count of packets dropped by the kernel included. */
  words: string;
}

/** Packets by what tshark's analysis calls them. */
export interface CaptureSigns {
  readonly zeroWindow: number;
  readonly zeroWindowProbeAck: number;
  readonly windowUpdate: number;
  readonly keepAliveAck: number;
}

export class Capture {
  readonly #directory: string;
  readonly #running: readonly Running[];
  /** Which side has whole checksums. */
  readonly #emulated: Side;
  readonly #release: () => void;

  private constructor(directory: string, running: readonly Running[], emulated: Side) {
    this.#directory = directory;
    this.#running = running;
    this.#emulated = emulated;
    this.#release = onLabExit(() => rmSync(directory, { recursive: true, force: true }));
  }

  /**
   * Starts tcpdump on lan0 and wan0 of the gateway; resolves when both listen.
   * @param filter pcap filter expression, default `tcp or icmp or icmp6`
   */
  static async start(lab: Lab, filter = 'tcp or icmp or icmp6'): Promise<Capture> {
    const directory = mkdtempSync(join(tmpdir(), 'tcpfreeze-capture-'));
    const running: Running[] = [];
    for (const [side, name] of [
      ['lan', LAN_INTERFACE],
      ['wan', WAN_INTERFACE],
    ] as const) {
      const file = join(directory, `${side}.pcap`);
      const args = ['-i', name, '-n', '-B', BUFFER_KIB, '-s', '0', '-Z', 'root', '-w', file, filter];
      const process = lab.gateway.spawn('tcpdump', args, { stdio: ['ignore', 'ignore', 'pipe'] });
      running.push({ side, file, process, words: '' });
    }
    const capture = new Capture(directory, running, lab.lostInterface === WAN_INTERFACE ? 'wan' : 'lan');
    await Promise.all(running.map(listening));
    return capture;
  }

  /** Ends both captures. @throws TcpfreezeError CAPTURE_INCOMPLETE when packets were missed: nothing can be concluded then */
  async stop(): Promise<void> {
    for (const one of this.#running) {
      const { process, side } = one;
      const gone = new Promise((resolve) => process.once('close', resolve));
      if (process.exitCode === null && process.signalCode === null) {
        process.kill('SIGINT');
        await gone;
      }
      const dropped = Number(/(\d+) packets? dropped by kernel/.exec(one.words)?.[1] ?? 0);
      if (dropped > 0)
        throw new TcpfreezeError('CAPTURE_INCOMPLETE', `tcpdump missed ${dropped} packets on ${side}`, '');
    }
  }

  /** Path of a side's file, for reading it in other ways; it goes with `remove`. */
  file(side: Side): string {
    return this.#running.find((one) => one.side === side)!.file;
  }

  /** Number of packets that match a display filter, e.g. `tcp.flags.reset == 1`. */
  async count(side: Side, filter: string): Promise<number> {
    return (await matching(this.file(side), filter, side === this.#emulated)).length;
  }

  /** Malformed packets, bad checksums and segments out of the window on both sides; empty when all is well. */
  async findings(): Promise<CaptureFinding[]> {
    const segments: CaptureFinding[] = this.#running.flatMap(({ side, file }) =>
      checkSegments(readCaptureFile(file)).map((finding) => ({ side, ...finding })),
    );
    // Seen alike on both sides, an old time stamp is the endpoint's own: Linux answers a burst with the time of its beginning.
    const isOwn = (one: CaptureFinding): boolean =>
      one.problem === OLD_TIMESTAMP &&
      segments.some(({ side, problem, packets }) => {
        return side !== one.side && problem === one.problem && packets === one.packets;
      });
    const findings = segments.filter((finding) => !isOwn(finding));
    for (const { side, file } of this.#running) {
      for (const finding of await checkCapture(file, side === this.#emulated)) findings.push({ side, ...finding });
    }
    return findings;
  }

  /** How often tshark's analysis sees what a gateway that freezes brings about. */
  async signs(side: Side): Promise<CaptureSigns> {
    return signsOf(this.file(side));
  }

  /** Removes the files. */
  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
    this.#release();
  }
}

/**
 * Looks for malformed packets and bad checksums in a capture file.
 * @param wholeChecksums false where offloads are on: transport checksums cannot be judged there
 * @throws TcpfreezeError: tshark is missing, or cannot read the file
 */
export async function checkCapture(file: string, wholeChecksums: boolean): Promise<Omit<CaptureFinding, 'side'>[]> {
  const checks: [string, string][] = [
    ['malformed packet', '_ws.malformed'],
    ['bad IPv4 header checksum', 'ip.checksum.status == "Bad"'],
  ];
  if (wholeChecksums) {
    checks.push([
      'bad TCP checksum',
      'tcp.checksum.status == "Bad" and not tcp.checksum.ffff and not icmp and not icmpv6',
    ]);
    checks.push(['bad ICMP checksum', 'icmp.checksum.status == "Bad" or icmpv6.checksum.status == "Bad"']);
  }
  // One pass over the file answers "anything at all?", which is the usual case.
  const any = checks.map(([, filter]) => `(${filter})`).join(' or ');
  if ((await matching(file, any, wholeChecksums)).length === 0) return [];
  const findings: Omit<CaptureFinding, 'side'>[] = [];
  for (const [problem, filter] of checks) {
    const lines = await matching(file, filter, wholeChecksums);
    if (lines.length > 0) findings.push({ problem, packets: lines.length, example: lines[0]!.trim() });
  }
  return findings;
}

/**
 * Payload is not dissected: the lab's is random bytes, in which the dissector of an application protocol that owns the port by
 * chance would find faults.
 */
const NO_APPLICATIONS = ['-d', 'tcp.port==1-65535,data', '-o', 'tcp.try_heuristic_first:FALSE'];

const SIGNS = ['zero_window', 'zero_window_probe_ack', 'window_update', 'keep_alive_ack'].map(
  (name) => `tcp.analysis.${name}`,
);

/** @throws TcpfreezeError: tshark is missing, or cannot read the file */
export async function signsOf(file: string): Promise<CaptureSigns> {
  const fields = SIGNS.flatMap((name) => ['-e', name]);
  const any = SIGNS.join(' or ');
  const args = ['-n', '-r', file, ...NO_APPLICATIONS, '-Y', any, '-T', 'fields', ...fields];
  const lines = (await runCommand('tshark', args)).split('\n').map((line) => line.split('\t'));
  const count = (column: number): number => lines.filter((line) => (line[column] ?? '') !== '').length;
  return { zeroWindow: count(0), zeroWindowProbeAck: count(1), windowUpdate: count(2), keepAliveAck: count(3) };
}

/** One line per packet that matches. */
async function matching(file: string, filter: string, wholeChecksums: boolean): Promise<string[]> {
  const options = ['-o', 'ip.check_checksum:TRUE', '-o', `tcp.check_checksum:${wholeChecksums ? 'TRUE' : 'FALSE'}`];
  const output = await runCommand('tshark', ['-n', '-r', file, ...NO_APPLICATIONS, ...options, '-Y', filter]);
  return output.split('\n').filter((line) => line.trim() !== '');
}

/** tcpdump says so when it listens. */
function listening(one: Running): Promise<void> {
  return new Promise((resolve, reject) => {
    one.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      one.words += text;
      if (one.words.includes('listening on')) resolve();
    });
    const missing = 'tcpdump or ip is missing; install them (Debian: tcpdump, iproute2)';
    one.process.once('error', () => reject(new TcpfreezeError('PROGRAM_MISSING', missing, '')));
    one.process.once('close', () =>
      reject(new TcpfreezeError('CAPTURE_ENDED', `tcpdump ended: ${one.words.trim()}`, '')),
    );
  });
}
