/**
 * DHCP in a lab: real dnsmasq as the provider's server, real dhclient or udhcpc as the gateway's client, with the shipped hooks.
 *
 * Leases are long (dnsmasq gives none below two minutes); dhclient is told to treat them as short ones, so that renewals and the end of
 * a lease come within seconds. The clients' scripts are the lab's own, because those of the system would rewrite this machine's
 * resolver; they do what matters to the interface, write down when, and run the hook as the system's would.
 */
import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compiledProgram } from './child.ts';
import type { LabGateway } from './gateway.ts';
import { monotonicMicros } from './link-handle.ts';
import type { Namespace } from './namespace.ts';
import { onLabExit } from './registry.ts';
import { END_INTERFACE, WAN_INTERFACE } from './topology.ts';
import { until } from './wait.ts';

const HOOKS = fileURLToPath(new URL('../../packaging/hooks/', import.meta.url));

export type ClientName = 'dhclient' | 'udhcpc';

/** What dhclient is made to believe of every lease, seconds. */
export const LEASE = { renew: 3, rebind: 6, lease: 10 } as const;

/** What a client did to its interface, and when: microseconds of CLOCK_MONOTONIC, exact to a millisecond. */
export interface ClientAct {
  readonly at: number;
  /** The client's own word: BOUND, RENEW, EXPIRE ...; bound, renew, deconfig, nak. */
  readonly reason: string;
}

/** A directory of scripts and leases that goes with its owner. */
class Directory {
  readonly path = mkdtempSync(join(tmpdir(), 'tcpfreeze-dhcp-'));
  readonly #release = onLabExit(() => rmSync(this.path, { recursive: true, force: true }));

  file(name: string): string {
    return join(this.path, name);
  }

  write(name: string, text: string, executable = false): string {
    const path = this.file(name);
    writeFileSync(path, text);
    if (executable) chmodSync(path, 0o755);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
    this.#release();
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => child.once('exit', () => resolve()));
}

/** dnsmasq, giving one address of a /24 on one interface. */
export class DhcpServer {
  readonly #directory = new Directory();
  readonly #namespace: Namespace;
  readonly #address: string;
  readonly #interface: string;
  #child: ChildProcess | undefined;

  /** @param address the only one in its range */
  constructor(namespace: Namespace, address: string, interfaceName: string = END_INTERFACE) {
    this.#namespace = namespace;
    this.#address = address;
    this.#interface = interfaceName;
  }

  /** Starts it, or starts it anew. @param address given from now on; it refuses requests for others */
  async start(address: string = this.#address): Promise<void> {
    await this.stop();
    this.#child = this.#namespace.spawn('dnsmasq', [
      ...['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--user=root', '--no-ping', '--log-dhcp'],
      ...['--log-facility=-', '--pid-file=', '--dhcp-authoritative', `--interface=${this.#interface}`],
      `--dhcp-leasefile=${this.#directory.file(`leases-${address}`)}`,
      `--dhcp-range=${address},${address},255.255.255.0,2m`,
    ]);
    let words = '';
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words += text;
    });
    await until(() => words.includes('sockets bound exclusively') || words.includes('DHCP, IP range'), {
      what: 'dnsmasq',
      timeoutMillis: 5_000,
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
    if (child !== undefined) await ended(child);
  }

  async dispose(): Promise<void> {
    await this.stop();
    this.#directory.remove();
  }
}

export interface ClientOptions {
  readonly client: ClientName;
  readonly namespace: Namespace;
  /** Default: wan0. */
  readonly interface?: string;
  /** Next hop of the default route; undefined: the interface is left alone, its address is there already. */
  readonly router?: string;
}

/** The gateway's DHCP client on wan0. */
export class DhcpClient {
  readonly #directory = new Directory();
  readonly #options: ClientOptions;
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#log = this.#directory.write('acts', '');
  }

  /** From now on the hook tells this gateway; before, it finds nobody to tell. */
  report(gateway: LabGateway): void {
    this.#directory.write('control', gateway.control);
  }

  /** Starts it; the interface has its address when this resolves. */
  async start(): Promise<void> {
    const { client, namespace } = this.#options;
    const before = this.acts().length;
    const args = client === 'dhclient' ? this.#dhclient() : this.#udhcpc();
    this.#child = namespace.spawn(client, args, { stdio: 'ignore' });
    await until(
      () =>
        this.acts()
          .slice(before)
          .some(({ reason }) => /^(BOUND|REBOOT|bound)$/.test(reason)),
      {
        what: `${client} got its lease`,
        timeoutMillis: 15_000,
      },
    );
  }

  /** What it did so far. */
  acts(): ClientAct[] {
    if (!existsSync(this.#log)) return [];
    const distance = Date.now() * 1000 - monotonicMicros();
    return readFileSync(this.#log, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [nanos = '0', reason = ''] = line.split(' ');
        return { at: Number(nanos) / 1000 - distance, reason };
      });
  }

  /** Waits for it to do something after a moment. @returns when */
  async act(reasons: readonly string[], after: number, timeoutMillis: number): Promise<number> {
    const find = (): ClientAct | undefined => this.acts().find((one) => one.at > after && reasons.includes(one.reason));
    return (
      await until(find, { what: `${this.#options.client}: ${reasons.join(', ')}`, timeoutMillis, everyMillis: 20 })
    ).at;
  }

  /** udhcpc: SIGUSR1 renews now. */
  signal(name: 'SIGUSR1' | 'SIGUSR2'): void {
    this.#child?.kill(name);
  }

  async dispose(): Promise<void> {
    const child = this.#child;
    child?.kill('SIGKILL');
    if (child !== undefined) await ended(child);
    this.#directory.remove();
  }

  get #interface(): string {
    return this.#options.interface ?? WAN_INTERFACE;
  }

  #dhclient(): string[] {
    const { renew, rebind, lease } = LEASE;
    const conf = this.#directory.write(
      'dhclient.conf',
      [
        ...['timeout 5;', 'retry 1;', 'initial-interval 1;', 'backoff-cutoff 1;', 'select-timeout 0;'],
        `supersede dhcp-lease-time ${lease};`,
        `supersede dhcp-renewal-time ${renew};`,
        `supersede dhcp-rebinding-time ${rebind};`,
        'request subnet-mask;',
      ].join('\n'),
    );
    const script = this.#script(
      [
        'case "$reason" in',
        `BOUND|RENEW|REBIND|REBOOT) ${this.#configure('$new_ip_address')} ;;`,
        'EXPIRE|FAIL|RELEASE|STOP) ip -4 address flush dev "$interface" ;;',
        'esac',
      ],
      '$reason',
      `. ${HOOKS}dhclient`,
    );
    const files = ['-lf', this.#directory.file('leases'), '-pf', this.#directory.file('pid')];
    return ['-d', '-4', '-cf', conf, '-sf', script, ...files, this.#interface];
  }

  #udhcpc(): string[] {
    const lines = [
      'case "$1" in',
      `bound|renew) ${this.#configure('$ip')} ;;`,
      'deconfig) ip link set "$interface" up; ip -4 address flush dev "$interface" ;;',
      'esac',
    ];
    const own = this.#script(this.#options.router === undefined ? [] : lines, '$1', '');
    const hook = this.#directory.write(
      'hook',
      `#!/bin/sh\n${this.#environment()}export TCPFREEZE_UDHCPC_SCRIPT=${own}\nexec ${HOOKS}udhcpc "$@"\n`,
      true,
    );
    return ['-f', '-i', this.#interface, '-s', hook, ...['-t', '3', '-T', '1', '-A', '1']];
  }

  #configure(address: string): string {
    return [
      `ip -4 address show dev "$interface" | grep -q "inet ${address}/" || ip -4 address flush dev "$interface"`,
      `ip -4 address replace "${address}/24" dev "$interface"`,
      `ip -4 route replace default via ${this.#options.router} dev "$interface"`,
    ].join('; ');
  }

  /** A script that configures, writes down the moment when that is done, and then runs the hook. */
  #script(lines: readonly string[], reason: string, hook: string): string {
    const log = `echo "$(date +%s%N) ${reason}" >> ${this.#log}`;
    const text = ['#!/bin/sh', this.#environment(), ...lines, log, hook, 'exit 0', ''].join('\n');
    return this.#directory.write(`script-${this.#options.client}`, text, true);
  }

  #environment(): string {
    const control = this.#directory.file('control');
    const command = this.#directory.write(
      'tcpfreeze',
      `#!/bin/sh\n[ -f ${control} ] || exit 1\nexec ${process.execPath} ${compiledProgram('cli.js')} "$@" --control "$(cat ${control})"\n`,
      true,
    );
    return `export TCPFREEZE=${command}\n`;
  }
}
