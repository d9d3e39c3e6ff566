/** The emulated link as the run sees it: settings, cuts, statistics. */
import { LabChild, type Message } from './child.ts';
import type { DirectionSettings, DirectionStatistics } from './emulator.ts';
import type { CutKind, LinkOptions } from './link.ts';
import type { Namespace } from './namespace.ts';

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
  /** Largest frame in bytes, default 2048. */
  readonly frameBytes?: number;
  /** Settings for the direction towards the gateway where they differ. */
  readonly towardsGateway?: Partial<Omit<LinkSettings, 'towardsGateway' | 'frameBytes'>>;
}

/** The link of the project's measurements: 100 Mb/s, 40 ms round trip, 400 packets. */
export const STANDARD_LINK: LinkSettings = { rateBps: 100e6, delayMillis: 20, queuePackets: 400 };

export type { CutKind } from './link.ts';

export interface LinkStatistics {
  readonly awayFromGateway: DirectionStatistics;
  readonly towardsGateway: DirectionStatistics;
}

/** Moments of a link's return, microseconds of CLOCK_MONOTONIC. */
export interface LinkUp {
  /** The link carries packets again; an interface that was down is set up in the same millisecond. */
  readonly openedAt: number;
  /** The gateway's interface is in the operational state "up" (RFC 2863); seen at most 0.2 ms late. */
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
  #cut: CutKind | undefined;

  private constructor(child: LabChild) {
    this.#child = child;
  }

  static async start(place: LinkPlace, settings: LinkSettings): Promise<EmulatedLink> {
    const options: LinkOptions = {
      near: place.gatewayEnd,
      far: place.otherEnd,
      gatewayNamespace: place.gateway.path,
      gatewayInterface: place.gatewayInterface,
      ...(settings.frameBytes === undefined ? {} : { frameBytes: settings.frameBytes }),
      nearToFar: direction(settings, 1),
      farToNear: direction({ ...settings, ...settings.towardsGateway }, 2),
    };
    return new EmulatedLink(await LabChild.start(place.namespace, 'lab/link.js', [JSON.stringify(options)]));
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
    const { at } = await this.#child.request('cut', { kind });
    this.#cut = kind;
    return Number(at);
  }

  /** Ends the cut, and waits until the gateway's interface is operational again. */
  async restore(): Promise<LinkUp> {
    const { openedAt, operationalAt } = await this.#child.request('restore');
    this.#cut = undefined;
    return { openedAt: Number(openedAt), operationalAt: Number(operationalAt) };
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
