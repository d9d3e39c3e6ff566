/** Applications on host and server, as the run sees them. */
import { TcpfreezeError } from '../base/errors.ts';
import { LabChild, type Message } from './child.ts';
import type { Namespace } from './namespace.ts';
import type { Timeline } from './timeline.ts';
import { ADDRESS, type Family, type Lab } from './topology.ts';
import type { FlowMode } from './traffic.ts';
import { until } from './wait.ts';

export const TRAFFIC_PORT = 5800;
/** Longest wait for a connection's first line: an outage and what follows it. */
const FIRST_LINE_MILLIS = 120_000;

/** Who runs applications; `guest` is there in a `site` only. */
export type Endpoint = 'host' | 'guest' | 'server';

export interface FlowOptions {
  readonly mode: FlowMode;
  /** Who connects; the other one listens (for a guest the server). Default `host`. */
  readonly opener?: Endpoint;
  readonly family?: Family;
  /** The responder's address where it has several; default: that on its link. */
  readonly to?: string;
  readonly seed?: number;
  /** Bytes to transfer; absent: until `stop`. */
  readonly bytes?: number;
  readonly keepAliveMillis?: number;
}

/** How one end of a connection ended. */
export interface EndReport {
  readonly part: 'sender' | 'receiver' | 'typist' | 'echoer';
  /** null: ended with FIN in both directions; otherwise ECONNRESET, ETIMEDOUT, ... */
  readonly error: string | null;
  readonly bytes: number;
  readonly sha256: string;
  /** Microseconds of CLOCK_MONOTONIC. */
  readonly at: number;
  readonly timeline?: Timeline;
}

export interface FlowReport {
  readonly sent: EndReport;
  readonly received: EndReport;
  /** Every byte arrived, unchanged and in order. */
  readonly hashEqual: boolean;
}

/** What is wrong with the end of a connection, in words; null: nothing. @param isEcho its ends send different bytes */
export function faultOf({ sent, received, hashEqual }: FlowReport, isEcho: boolean): string | null {
  if (!isEcho && !hashEqual) return `${sent.bytes} bytes sent, ${received.bytes} received, or changed`;
  return sent.error === null && received.error === null ? null : `${sent.error} ${received.error}`;
}

/** One application process. */
export class TrafficAgent {
  readonly #child: LabChild;
  readonly #closed = new Map<string, EndReport>();
  readonly #waiting = new Map<string, (report: EndReport) => void>();

  private constructor(child: LabChild) {
    this.#child = child;
    child.onEvent((event) => this.#event(event));
  }

  static async start(namespace: Namespace): Promise<TrafficAgent> {
    const agent = new TrafficAgent(await LabChild.start(namespace, 'lab/traffic.js'));
    await agent.request('listen', { port: TRAFFIC_PORT });
    return agent;
  }

  request(op: string, fields: Message): Promise<Message> {
    return this.#child.request(op, fields);
  }

  /** How this agent's end of a flow ended; waits for it. @throws TcpfreezeError: the agent itself ended */
  closed(flow: string): Promise<EndReport> {
    const report = this.#closed.get(flow);
    if (report !== undefined) return Promise.resolve(report);
    return new Promise((resolve, reject) => {
      this.#waiting.set(flow, resolve);
      this.#child.exited.then(() => reject(new TcpfreezeError('LAB_CHILD_ENDED', 'a traffic agent ended', '')));
    });
  }

  /** The end's report if there is one by now. */
  ended(flow: string): EndReport | undefined {
    return this.#closed.get(flow);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  #event(event: Message): void {
    if (event.event !== 'closed' || typeof event.flow !== 'string') return;
    const report = event as unknown as EndReport;
    this.#closed.set(event.flow, report);
    this.#waiting.get(event.flow)?.(report);
    this.#waiting.delete(event.flow);
  }
}

/** The applications of a lab and the connections between them. */
export class Traffic {
  readonly #agents: Readonly<Partial<Record<Endpoint, TrafficAgent>>>;
  #next = 1;

  private constructor(agents: Readonly<Partial<Record<Endpoint, TrafficAgent>>>) {
    this.#agents = agents;
  }

  static async start(lab: Lab): Promise<Traffic> {
    const host = await TrafficAgent.start(lab.host);
    const server = await TrafficAgent.start(lab.server);
    return new Traffic(
      lab.guest === undefined ? { host, server } : { host, server, guest: await TrafficAgent.start(lab.guest) },
    );
  }

  /** Opens a connection; resolves when it is established. @throws TcpfreezeError: refused, timed out */
  async open(options: FlowOptions): Promise<Flow> {
    const flow = `f${this.#next++}`;
    const opener = options.opener ?? 'host';
    const responder = opener === 'server' ? 'host' : 'server';
    const address = options.to ?? ADDRESS[responder][options.family ?? 4];
    const { mode, bytes, keepAliveMillis } = options;
    const seed = options.seed ?? this.#next;
    const answer = await this.#agents[opener]!.request('open', {
      ...{ flow, mode, address, port: TRAFFIC_PORT, seed },
      ...(bytes === undefined ? {} : { bytes }),
      ...(keepAliveMillis === undefined ? {} : { keepAliveMillis }),
    });
    return new Flow(flow, options, Number(answer.port), this.#agents[opener]!, this.#agents[responder]!);
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#agents).map((agent) => agent.stop()));
  }
}

/** One connection. */
export class Flow {
  readonly name: string;
  readonly options: FlowOptions;
  /** The opener's port, to find the connection in `ss`. */
  readonly port: number;
  readonly #opener: TrafficAgent;
  readonly #responder: TrafficAgent;

  constructor(name: string, options: FlowOptions, port: number, opener: TrafficAgent, responder: TrafficAgent) {
    this.name = name;
    this.options = options;
    this.port = port;
    this.#opener = opener;
    this.#responder = responder;
  }

  /** Bytes that reached the receiving application so far. */
  async received(): Promise<number> {
    const ended = this.#receiver.ended(this.name);
    if (ended !== undefined) return ended.bytes;
    try {
      const answer = await this.#receiver.request('progress', { flow: this.name });
      return Number(answer.bytes);
    } catch (error) {
      // It ended in between, or its opening line has not arrived yet.
      if (error instanceof TcpfreezeError && error.code === 'LAB_REFUSED') {
        return this.#receiver.ended(this.name)?.bytes ?? 0;
      }
      throw error;
    }
  }

  /** The receiver's timeline so far; undefined where nothing was recorded. */
  async timeline(): Promise<Timeline | undefined> {
    const ended = this.#receiver.ended(this.name);
    if (ended !== undefined) return ended.timeline;
    try {
      return (await this.#receiver.request('timeline', { flow: this.name })).timeline as Timeline | undefined;
    } catch (error) {
      if (error instanceof TcpfreezeError && error.code === 'LAB_REFUSED')
        return this.#receiver.ended(this.name)?.timeline;
      throw error;
    }
  }

  /** Types a line and waits for its echo. @returns microseconds until the echo, and when it came */
  async line(text: string): Promise<{ roundTripMicros: number; at: number }> {
    const answer = await this.#opener.request('line', { flow: this.name, text });
    return { roundTripMicros: Number(answer.roundTripMicros), at: Number(answer.at) };
  }

  /**
   * Tells the sender (or typist) to end after what it has written. Does nothing when the connection has ended already. A sender that
   * responds exists only when the connection's first line has arrived: it is waited for.
   * @throws TcpfreezeError LAB_TIMEOUT: it does not arrive
   */
  async stop(): Promise<void> {
    const what = `the first line of ${this.name}`;
    await until(() => this.#stopped(), { what, timeoutMillis: FIRST_LINE_MILLIS, everyMillis: 20 });
  }

  /** Whether the sender has been told, or has ended. */
  async #stopped(): Promise<boolean> {
    try {
      await this.#sender.request('stop', { flow: this.name });
      return true;
    } catch (error) {
      if (!(error instanceof TcpfreezeError && error.code === 'LAB_REFUSED')) throw error;
      const { sent, received } = this.ends;
      return sent !== undefined || received !== undefined;
    }
  }

  /** Tells the sender to end, and waits until both ends are closed. @throws TcpfreezeError LAB_TIMEOUT as `stop` */
  async end(): Promise<FlowReport> {
    await this.stop();
    return this.finished();
  }

  /** Waits until both ends are closed. */
  async finished(): Promise<FlowReport> {
    const [sent, received] = await Promise.all([this.#sender.closed(this.name), this.#receiver.closed(this.name)]);
    return { sent, received, hashEqual: sent.sha256 === received.sha256 && sent.bytes === received.bytes };
  }

  /** How the sender (or typist) and the receiver (or echoer) ended, as far as they have; without waiting. */
  get ends(): { readonly sent: EndReport | undefined; readonly received: EndReport | undefined } {
    return { sent: this.#sender.ended(this.name), received: this.#receiver.ended(this.name) };
  }

  /** Whether the sending end is the one that opened the connection. */
  get sentByOpener(): boolean {
    return this.options.mode !== 'download';
  }

  /** Which side sends (or types). */
  get senderRole(): Endpoint {
    const opener = this.options.opener ?? 'host';
    return this.sentByOpener ? opener : opener === 'server' ? 'host' : 'server';
  }

  /** Towards the server, or from it. */
  get direction(): 'up' | 'down' {
    return this.senderRole === 'server' ? 'down' : 'up';
  }

  get #sender(): TrafficAgent {
    return this.options.mode === 'download' ? this.#responder : this.#opener;
  }

  get #receiver(): TrafficAgent {
    return this.options.mode === 'download' ? this.#opener : this.#responder;
  }
}
