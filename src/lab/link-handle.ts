/** The emulated link as the run sees it: settings, cuts, statistics. */
import { LabChild, type Message } from './child.ts';
import type { DirectionSettings, DirectionStatistics } from './emulator.ts';
import type { LinkOptions } from './link.ts';
import type { Namespace } from './namespace.ts';
import { until } from './wait.ts';

export interface LinkSettings {
  /** Bits per second, per direction; 0 is unlimited. */
  readonly rateBps: number;
  /** One-way delay in milliseconds: half of the round-trip time. */
  readonly delayMillis: number;
  /** Length of each queue in packets. */
  readonly queuePackets: number;
  /** Probability of a loss, 0..1, per packet. */
  readonly loss?: number;
  /** Seed of the loss pattern; the two directions differ. */
  readonly seed?: number;
  /** Settings for the direction towards the gateway where they differ. */
  readonly towardsGateway?: Partial<Omit<LinkSettings, 'towardsGateway'>>;
}

/** The link of the project's measurements: 100 Mb/s, 40 ms round trip, 400 packets. */
export const STANDARD_LINK: LinkSettings = { rateBps: 100e6, delayMillis: 20, queuePackets: 400 };

/**
 * How a link is lost. `carrier`: the gateway's interface loses its carrier, and packets are gone. `swallow`: packets are
 * silently dropped, which no interface state shows. `admin`: the gateway's interface itself is set down, which also takes its routes.
 */
export type CutKind = 'carrier' | 'swallow' | 'admin';

export interface LinkStatistics {
  readonly awayFromGateway: DirectionStatistics;
  readonly towardsGateway: DirectionStatistics;
}

/** Moments of a link's return, microseconds of CLOCK_MONOTONIC. */
export interface LinkUp {
  /** Taken just before the interface is set up: what is counted from it includes the interface's own start. */
  readonly openedAt: number;
  /** The gateway's interface was seen in the operational state "up" (RFC 2863). */
  readonly operationalAt: number;
}

/** Where the link is attached. */
export interface LinkPlace {
  readonly namespace: Namespace;
  /** The end that faces the gateway, and the other one. */
  readonly gatewayEnd: string;
  readonly otherEnd: string;
  readonly gateway: Namespace;
  /** The gateway's interface on this link. */
  readonly gatewayInterface: string;
}

export class EmulatedLink {
  readonly #child: LabChild;
  readonly #place: LinkPlace;
  #cut: CutKind | undefined;

  private constructor(child: LabChild, place: LinkPlace) {
    this.#child = child;
    this.#place = place;
  }

  static async start(place: LinkPlace, settings: LinkSettings): Promise<EmulatedLink> {
    const options: LinkOptions = {
      near: place.gatewayEnd,
      far: place.otherEnd,
      nearToFar: direction(settings, 1),
      farToNear: direction({ ...settings, ...settings.towardsGateway }, 2),
    };
    return new EmulatedLink(await LabChild.start(place.namespace, 'lab/link.js', [JSON.stringify(options)]), place);
  }

  /** How the link is cut now; undefined while it works. */
  get cutKind(): CutKind | undefined {
    return this.#cut;
  }

  /**
   * Cuts the link. What is queued or on the wire is lost.
   * @returns the moment since which nothing passes, microseconds of CLOCK_MONOTONIC
   */
  async cut(kind: CutKind): Promise<number> {
    const { at } = await this.#child.request('cut');
    this.#cut = kind;
    await this.#setInterface(kind, 'down');
    return Number(at);
  }

  /** Ends the cut, and waits until the gateway's interface is operational again. */
  async restore(): Promise<LinkUp> {
    const kind = this.#cut;
    const openedAt = Number((await this.#child.request('restore')).at);
    this.#cut = undefined;
    if (kind === undefined || kind === 'swallow') return { openedAt, operationalAt: openedAt };
    await this.#setInterface(kind, 'up');
    const { gateway, gatewayInterface } = this.#place;
    // Both: the state follows the carrier with a delay of up to 1 s (net/core/link_watch.c), so it may still be that of before a short cut.
    const operational = async (): Promise<boolean> => {
      const line = await gateway.ip('-br', 'link', 'show', 'dev', gatewayInterface);
      return line.split(/\s+/)[1] === 'UP' && line.includes('LOWER_UP');
    };
    await until(operational, { what: `${gatewayInterface} operational`, timeoutMillis: 10_000, everyMillis: 1 });
    return { openedAt, operationalAt: monotonicMicros() };
  }

  async statistics(): Promise<LinkStatistics> {
    const answer: Message = await this.#child.request('statistics');
    return {
      awayFromGateway: answer.nearToFar as DirectionStatistics,
      towardsGateway: answer.farToNear as DirectionStatistics,
    };
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  async #setInterface(kind: CutKind, state: 'up' | 'down'): Promise<void> {
    const { namespace, gatewayEnd, gateway, gatewayInterface } = this.#place;
    if (kind === 'carrier') await namespace.ip('link', 'set', gatewayEnd, state);
    if (kind === 'admin') await gateway.ip('link', 'set', gatewayInterface, state);
  }
}

/** Now, on the clock of all times here: microseconds of CLOCK_MONOTONIC, the same in every process of the machine. */
export function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

function direction(settings: LinkSettings, salt: number): DirectionSettings {
  return {
    rateBps: settings.rateBps,
    delayMicros: settings.delayMillis * 1000,
    queuePackets: settings.queuePackets,
    loss: settings.loss ?? 0,
    seed: (settings.seed ?? 1) * 2 + salt,
  };
}
