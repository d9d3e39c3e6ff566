/**
 * The gateway as a process: checks the machine, starts the datapath, steers traffic into it, serves the control
 * socket, restarts a datapath that failed, and undoes everything in reverse when it is told to end. Wiring only.
 */
import { TcpfreezeError } from './base/errors.ts';
import type { EventName } from './base/event-table.ts';
import { COUNTERS_BYTES } from './base/figures.ts';
import { Captures } from './capture/captures.ts';
import {
  type Action,
  accepted,
  type DoneJson,
  type FlowJson,
  type StatusJson,
  toCommand,
  toFlowJson,
  toHostJson,
  toLinkJson,
} from './control/api.ts';
import { ControlServer, type ControlTarget } from './control/control.ts';
import { datapathOptions } from './control/datapath-options.ts';
import { EventHistory, toEventJson } from './control/history.ts';
import type { Log } from './control/log.ts';
import { Metrics } from './control/metrics.ts';
import { MetricsServer } from './control/metrics-server.ts';
import { changed, refusedReload, settingsOf, unchangeable } from './control/reload.ts';
import { packageVersion } from './control/version.ts';
import { Backoff } from './datapath/backoff.ts';
import { fineMicros } from './datapath/clock.ts';
import { Datapath } from './datapath/datapath.ts';
import type { EngineEvent } from './engine/commands.ts';
import { type Keeper, keepJournal } from './journal/keeper.ts';
import type { GatewayConfig } from './policy/policy.ts';
import { linkFollower } from './steering/link-follower.ts';
import { findInterfaces } from './steering/machine.ts';
import { preflight } from './steering/preflight.ts';
import { Steering } from './steering/steering.ts';

/** What the metrics show while no datapath runs. */
const NO_FIGURES = new Float64Array(COUNTERS_BYTES / Float64Array.BYTES_PER_ELEMENT);

/** Of Ethernet (RFC 894); the least that the TUN device has. */
const USUAL_MTU = 1_500;

/** How often the rules and routes are looked after; three runs of `ip`, a few milliseconds of processor time. */
const VERIFY_MILLIS = 30_000;

export interface DaemonOptions {
  readonly config: GatewayConfig;
  /** Path of the control socket. */
  readonly control: string;
  /** Reads the configuration again, flags applied; absent: there is no file. @throws TcpfreezeError what is wrong with it */
  readonly readAgain?: () => GatewayConfig;
  /** False: the TUN device comes up without traffic, and whoever started the gateway steers. */
  readonly steering: boolean;
}

/** What runs while the datapath runs, and has to be made anew with it. */
interface Running {
  readonly datapath: Datapath;
  readonly steering: Steering | undefined;
  readonly since: number;
}

export class Daemon implements ControlTarget {
  readonly history = new EventHistory();
  readonly metrics = new Metrics({
    version: packageVersion(),
    status: () => this.status().catch(() => null),
    figures: () => this.#running?.datapath.figures ?? NO_FIGURES,
    eventCounts: () => this.history.counts,
  });
  readonly captures: Captures;
  /** Settles when the gateway ended by itself; never when `stop` ended it. */
  readonly failed: Promise<TcpfreezeError>;

  readonly #options: DaemonOptions;
  /** In effect now; another after a reload. */
  #config: GatewayConfig;
  readonly #log: Log;
  readonly #startedAt = Date.now();
  #running: Running | undefined;
  #server: ControlServer | undefined;
  #metricsServer: MetricsServer | undefined;
  #stopping = false;
  readonly #backoff = new Backoff();
  #keeper: Keeper | undefined;
  #supervised: Promise<void> = Promise.resolve();
  #verifyTimer: NodeJS.Timeout | undefined;
  #fail: (error: TcpfreezeError) => void = () => {};

  private constructor(options: DaemonOptions, log: Log) {
    this.#options = options;
    this.#config = options.config;
    this.#log = log;
    const { links, steering } = options.config;
    this.captures = new Captures(
      { version: packageVersion(), links: links.map(({ name }) => name), tun: steering.tun, now: fineMicros },
      (name, message, figures) => this.#say(name, message, undefined, figures),
    );
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /**
   * Starts the gateway; packets flow when this resolves.
   * @throws TcpfreezeError with everything undone that had been done
   */
  static async start(options: DaemonOptions, log: Log): Promise<Daemon> {
    await preflight(options, log);
    const daemon = new Daemon(options, log);
    try {
      const { journal } = options.config;
      daemon.#keeper = await keepJournal(journal, (message) => log.warn({ directory: journal }, message));
      daemon.#running = await daemon.#begin();
      if (options.config.capture !== null) await daemon.captures.start(options.config.capture);
      daemon.#server = await ControlServer.listen(options.control, daemon, options.config.controlGroup);
      const { metrics } = options.config;
      if (metrics !== null) daemon.#metricsServer = await MetricsServer.listen(metrics, daemon.metrics);
    } catch (error) {
      await daemon.stop();
      throw error;
    }
    daemon.#supervised = daemon.#supervise(daemon.#running);
    if (options.steering) {
      daemon.#verifyTimer = setInterval(() => void daemon.#lookAfterSteering(), VERIFY_MILLIS);
    }
    daemon.#sayReady(daemon.#running);
    return daemon;
  }

  /** Undoes everything in reverse. Safe to call more than once. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#verifyTimer);
    this.#backoff.end();
    // Before the socket: who follows a stream gets its end.
    await this.captures.stopAll(true);
    await this.#server?.close();
    this.#server = undefined;
    await this.#metricsServer?.close();
    this.#metricsServer = undefined;
    await this.#supervisedOrRunningDown();
  }

  async #supervisedOrRunningDown(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running !== undefined) await this.#end(running);
    await this.#supervised;
    this.#keeper?.close();
    this.#keeper = undefined;
  }

  async #begin(): Promise<Running> {
    const config = this.#config;
    const { present, absent, others } = await findInterfaces(config.links.map((link) => link.name));
    for (const name of absent) {
      this.#log.warn({ link: name }, `there is no interface ${name} yet, it is waited for; ${others}`);
    }
    const datapath = await Datapath.start(await datapathOptions(config, absent, this.#keeper?.journal));
    for (const reason of datapath.degraded) this.#log.warn({ tun: datapath.tunName }, `degraded: ${reason}`);
    try {
      await this.captures.setHost(datapath);
      const mtu = Math.max(USUAL_MTU, ...present.map((found) => found.mtu));
      const steering = this.#options.steering ? await this.#steer(datapath.tunName, mtu) : undefined;
      const running = { datapath, steering, since: Date.now() };
      const follow = steering === undefined ? undefined : linkFollower(steering, this.#log);
      datapath.onEvents((events) => {
        for (const event of events) {
          this.#take(datapath, event);
          follow?.(event);
        }
      });
      datapath.onLinkEvents((events) => {
        for (const event of events) {
          this.#log.debug({ link: event.name, kind: event.kind }, 'the kernel reports a change');
          if (event.kind === 'interface') void steering?.onInterface(event.name, event.mtu);
        }
      });
      return running;
    } catch (error) {
      await datapath.stop();
      throw error;
    }
  }

  #steer(tun: string, mtu: number): Promise<Steering> {
    const { links, steering } = this.#config;
    return Steering.setUp(
      { ...steering, tun, mtu, links },
      { info: (message) => this.#log.info({}, message), warn: (message) => this.#log.warn({}, message) },
    );
  }

  async #end({ datapath, steering }: Running): Promise<void> {
    await steering?.tearDown();
    // The kernel takes the flows over at this moment; who held them goes on when the gateway is started again.
    const status = await datapath.command({ kind: 'status' }).catch(() => undefined);
    if (status?.kind === 'status' && status.custodyBytes > 0) {
      const isKept = typeof this.#keeper?.journal === 'object';
      const message = isKept
        ? 'stopped with bytes in custody: the journal keeps them for the next start'
        : 'stopped with bytes in custody, and no journal: the connections they belong to will stall';
      this.#log.warn({ bytes: status.custodyBytes }, message);
    }
    await datapath.stop();
  }

  /** Starts the datapath again whenever it failed, until `stop`. Traffic takes the kernel's way meanwhile. */
  async #supervise(first: Running): Promise<void> {
    let running: Running | undefined = first;
    while (running !== undefined && !this.#stopping) {
      const { datapath, steering, since }: Running = running;
      const isStalled = await Promise.race([datapath.stalled.then(() => true), datapath.exited.then(() => false)]);
      if (isStalled) {
        // First the way around it, which nothing that hangs can stand in.
        await steering?.tearDown();
        await datapath.kill();
      }
      const { reason } = await datapath.exited;
      if (this.#stopping) return;
      this.#running = undefined;
      this.#say(
        'datapath-failed',
        `the datapath failed, traffic takes the kernel's way: ${reason?.message ?? 'it ended'}`,
        reason,
      );
      await this.captures.setHost(null);
      if (!isStalled) await steering?.tearDown();
      this.#backoff.failed(since);
      running = await this.#restart();
    }
  }

  async #restart(): Promise<Running | undefined> {
    for (; !this.#stopping; this.#backoff.failed(0)) {
      if (this.#backoff.isOver) {
        const message = `the datapath failed ${Backoff.most} times in a row`;
        this.#fail(new TcpfreezeError('DATAPATH_FAILED', message, 'see the log'));
        return undefined;
      }
      await this.#backoff.wait();
      if (this.#stopping) return undefined;
      try {
        const running = await this.#begin();
        if (this.#stopping) {
          await this.#end(running);
          return undefined;
        }
        this.#running = running;
        this.#say('datapath-restarted', 'the datapath runs again');
        this.#sayReady(running);
        return running;
      } catch (error) {
        const message = `the datapath cannot be started again: ${(error as Error).message}`;
        this.#say('datapath-failed', message, error as Error);
      }
    }
    return undefined;
  }

  async #lookAfterSteering(): Promise<void> {
    try {
      const missing = (await this.#running?.steering?.repair()) ?? [];
      if (missing.length > 0)
        this.#say('steering-repaired', `somebody removed, and it was put back: ${missing.join(', ')}`);
    } catch (error) {
      this.#log.warn({ err: error }, 'the steering could not be looked after');
    }
  }

  #sayReady({ datapath, steering }: Running): void {
    const detour =
      steering === undefined ? {} : { table: steering.table, priority: steering.priority, nftables: steering.nftables };
    this.#log.info({ tun: datapath.tunName, control: this.#options.control, ...detour }, 'ready');
  }

  /** An event of the shell's own. */
  #say(name: EventName, message: string, error?: Error, figures?: Readonly<Record<string, number>>): void {
    const event = toEventJson({ name, message, ...(figures === undefined ? {} : { figures }) }, new Date());
    this.#log[event.severity](
      { event: name, code: event.code, ...(error === undefined ? {} : { err: error }) },
      message,
    );
    this.history.record(event);
  }

  #take(datapath: Datapath, event: EngineEvent): void {
    const json = toEventJson(event, datapath.toDate(event.at));
    this.history.record(json);
    const { time: _time, message, name, severity, ...fields } = json;
    this.#log[severity]({ event: name, ...fields }, message);
  }

  #current(): Running {
    if (this.#running !== undefined) return this.#running;
    throw new TcpfreezeError('DATAPATH_ENDED', 'the datapath is being restarted', 'try again in a moment');
  }

  async status(): Promise<StatusJson> {
    const { datapath, since } = this.#current();
    const status = accepted(await datapath.command({ kind: 'status' }), 'status');
    const { links, hosts, flows, classes, custodyBytes, resources } = status;
    return {
      version: packageVersion(),
      uptime: (Date.now() - this.#startedAt) / 1_000,
      tun: datapath.tunName,
      // Nothing is known of a link from before the start.
      links: links.map((link) => toLinkJson(link, (at) => new Date(Math.max(datapath.toDate(at).getTime(), since)))),
      hosts: hosts.map((host) => toHostJson(host, (at) => datapath.toDate(at))),
      flows,
      classes,
      custodyBytes,
      resources,
      counters: datapath.counters(),
      degraded: datapath.degraded,
    };
  }

  /**
   * Another configuration takes effect as far as it can while connections run; a broken one changes nothing.
   * @throws TcpfreezeError what is wrong with it, or NO_CONFIG
   */
  async reload(): Promise<DoneJson> {
    const { readAgain } = this.#options;
    if (readAgain === undefined) {
      throw new TcpfreezeError('NO_CONFIG', 'the gateway runs without a configuration file', 'start it with --config');
    }
    let config: GatewayConfig;
    try {
      config = readAgain();
    } catch (error) {
      const refusal = refusedReload(error as Error);
      this.#say('reload-refused', refusal.message);
      throw refusal;
    }
    const waiting = unchangeable(this.#config, config);
    this.#config = changed(this.#config, config);
    this.#log.level = config.log.level;
    const { flows, message } = accepted(
      await this.#current().datapath.command({ kind: 'configure', settings: settingsOf(config) }),
      'done',
    );
    if (waiting.length === 0) return { flows, message };
    const rest = `not before the next start: ${waiting.join(', ')}`;
    this.#log.warn({}, rest);
    return { flows, message: `${message}; ${rest}` };
  }

  /** Settles when the datapath has answered; at once while it is being restarted. For the watchdog. */
  async answers(): Promise<void> {
    await this.#running?.datapath.command({ kind: 'status' }).catch(() => {});
  }

  async flows(frozenOnly: boolean): Promise<FlowJson[]> {
    const { datapath } = this.#current();
    const { flows } = accepted(await datapath.command({ kind: 'flows', frozenOnly }), 'flows');
    return flows.map((flow) => toFlowJson(flow, (at) => datapath.toDate(at)));
  }

  async act(action: Action, body: unknown): Promise<DoneJson> {
    const command = toCommand(action, body);
    const reply = await this.#current().datapath.command(command);
    if (reply.kind === 'refused') this.#say('command-refused', `${action} was refused: ${reply.message}`);
    const { flows, message } = accepted(reply, 'done');
    return { flows, message };
  }
}
