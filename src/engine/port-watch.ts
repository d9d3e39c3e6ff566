/** What is watched per link, in one object, because every packet touches it. */
import { type Micros, NEVER } from '../base/time.ts';
import type { Pacer } from '../freeze/pacer.ts';
import type { EchoProbe } from '../link/echo.ts';
import type { Link } from '../link/monitor.ts';
import { Silence } from '../link/silence.ts';
import type { DetectorConfig } from '../policy/detectors.ts';

export class PortWatch {
  readonly port: number;
  /** Null for what no configured link leads to. */
  readonly link: Link | null;
  readonly settings: DetectorConfig;
  readonly silence: Silence | null;
  /** Whether a host of its own that falls silent beside others is judged: on a LAN. */
  readonly judgesHosts: boolean;
  readonly echo: EchoProbe | null;
  readonly pacer: Pacer;
  /** Last packet of a connection from beyond. */
  heardAt: Micros = -NEVER;
  /** Segments with data heard since the last look at the stream (suspicion.ts), and when that look is due. */
  streamed = 0;
  streamAt: Micros = NEVER;

  constructor(port: number, link: Link | null, settings: DetectorConfig, echo: EchoProbe | null, pacer: Pacer) {
    this.port = port;
    this.link = link;
    this.settings = settings;
    this.silence = link !== null && settings.silence ? new Silence() : null;
    this.judgesHosts = settings.silence && link?.role === 'lan';
    this.echo = echo;
    this.pacer = pacer;
  }

  /** A packet of a connection came from beyond the link. */
  onHeard(now: Micros): void {
    this.heardAt = now;
    if (this.pacer.aliveSince === NEVER) this.pacer.aliveSince = now;
    this.silence?.onHeard(now);
    this.echo?.onHeard(now);
  }
}
