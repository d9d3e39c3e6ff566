/**
 * A random day at the router, as plain data made from one number: hosts of several kinds, what they send, what the links
 * lose, and the outages. Changing the order of the draws changes what a seed means; add new draws at the end.
 */
import { Prng } from '../../src/base/prng.ts';
import { type Micros, millis, NEVER, seconds } from '../../src/base/time.ts';
import type { EngineConfig } from '../../src/engine/engine.ts';
import type { Deed, EndpointConfig } from './endpoint-config.ts';
import type { LossKind } from './events.ts';
import { ARENA, ARENA_MIN, GATEWAY } from './gateway.ts';
import type { FlowConfig, Side } from './network.ts';
import { CLEAN, type WireConfig } from './wire.ts';

export interface Outage {
  readonly side: Side;
  readonly at: Micros;
  readonly lasts: Micros;
  readonly kind: LossKind;
  /** How late the gateway learns of the loss. */
  readonly noticed: Micros;
  /** How much later than the gateway's notice packets pass again; negative: earlier. */
  readonly settling: Micros;
  /** `planned`: frozen by command before the cut, with this lead; `spurious`: frozen by command, nothing is cut. */
  readonly mode: 'cut' | 'planned' | 'spurious';
  readonly lead: Micros;
}

/** The gateway's process dies, and the next one starts `down` later. */
export interface Crash {
  readonly at: Micros;
  readonly down: Micros;
}

export interface Scenario {
  readonly seed: number;
  readonly lan: WireConfig;
  readonly wan: WireConfig;
  readonly engine: EngineConfig;
  readonly arenaBytes: number;
  readonly flows: readonly FlowConfig[];
  readonly outages: readonly Outage[];
  readonly crashes?: readonly Crash[];
}

/** How much goes on in a day: many short days find more in the same time than few long ones. */
export interface DaySize {
  /** The most that is written at once: it bounds the time of a run. */
  readonly mostBytes: number;
  /** Of the wires, in bytes per second. */
  readonly rates: readonly [slowest: number, fastest: number];
  readonly buffers: readonly [smallest: number, largest: number];
  /** How many connections, how many outages of a side: one of these. */
  readonly flows: readonly number[];
  readonly outages: readonly number[];
}

const LONG: DaySize = {
  mostBytes: 600_000,
  rates: [50_000, 12_500_000],
  buffers: [8_000, 600_000],
  flows: [1, 1, 1, 2, 3, 6],
  outages: [1, 1, 2, 3, 5],
};

/** What a wire without a limit is taken for. */
const UNLIMITED = 12_500_000;

const KINDS: readonly LossKind[] = ['carrier', 'carrier', 'down', 'address', 'command', 'prefix', 'none'];

export class Dice {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  chance(probability: number): boolean {
    return this.#prng.nextFloat() < probability;
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.#prng.nextFloat() * (high - low));
  }

  /** Spread over orders of magnitude, so that short and long are equally likely. */
  spread(low: number, high: number): number {
    return Math.floor(low * (high / low) ** this.#prng.nextFloat());
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.#prng.nextBelow(choices.length)]!;
  }

  uint32(): number {
    return this.#prng.nextUint32();
  }
}

function makeWire(dice: Dice, isWan: boolean, size: DaySize): WireConfig {
  if (!isWan && dice.chance(0.7)) return CLEAN;
  const dirty = dice.chance(0.3);
  return {
    delay: dice.spread(millis(1), millis(60)),
    bytesPerSecond: dice.chance(0.2) ? 0 : dice.spread(...size.rates),
    queuePackets: dice.spread(20, 400),
    loss: dirty ? dice.pick([0.001, 0.01, 0.03]) : 0,
    duplicate: dirty && dice.chance(0.4) ? 0.02 : 0,
    reorder: dirty && dice.chance(0.4) ? 0.05 : 0,
    jitter: millis(8),
  };
}

/**
 * Bulk that keeps the link busy for up to a few seconds, bulk in portions, a few lines typed, or silence.
 * @param rate of the slower wire in bytes per second, so that outages meet traffic under way
 */
function makeDeeds(dice: Dice, rate: number, size: DaySize): Deed[] {
  const deeds: Deed[] = [];
  const character = dice.between(0, 5);
  const bulk = (): number => Math.min(size.mostBytes, Math.floor(rate * dice.spread(50, 4_000) * 1e-3) + 1_000);
  if (character <= 1) deeds.push({ at: 0, write: bulk(), pause: 0 });
  else if (character === 2) {
    let at = 0;
    for (let count = dice.between(2, 8); count > 0; count--) {
      deeds.push({ at, write: Math.floor(bulk() / 4), pause: 0 });
      at += dice.spread(millis(50), seconds(20));
    }
  } else if (character === 3) {
    let at = 0;
    for (let count = dice.between(1, 12); count > 0; count--) {
      at += dice.spread(millis(10), seconds(8));
      deeds.push({ at, write: dice.spread(1, 4_000), pause: 0 });
    }
  }
  if (dice.chance(0.2)) {
    deeds.push({ at: dice.spread(millis(50), seconds(5)), write: 0, pause: dice.spread(millis(50), seconds(20)) });
    deeds.sort((a, b) => a.at - b.at);
  }
  return deeds;
}

function makeEndpoint(
  dice: Dice,
  family: 4 | 6,
  offload: boolean,
  rate: number,
  size: DaySize,
): Partial<EndpointConfig> {
  const mss = dice.chance(0.8) ? (family === 4 ? 1448 : 1428) : dice.pick([536, 1220, 1400]);
  const windowScale = dice.chance(0.85) ? dice.pick([0, 2, 7, 7, 7, 10, 14]) : -1;
  const keep = dice.chance(0.15);
  return {
    mss,
    burst: offload && dice.chance(0.6) ? dice.pick([4, 16, 44]) * mss : mss,
    partialChecksum: offload && dice.chance(0.6),
    iss: dice.chance(0.3) ? -dice.between(1, 100_000) : dice.uint32() | 0,
    tsOffset: dice.chance(0.3) ? -dice.between(1, 60_000) : dice.uint32() | 0,
    deeds: makeDeeds(dice, rate, size),
    closes: dice.chance(0.8),
    windowScale,
    timestamps: dice.chance(0.8),
    sack: dice.chance(0.85),
    receiveBuffer: dice.spread(...size.buffers),
    delayedAck: dice.pick([0, millis(40), millis(40), millis(200)]),
    probe: dice.pick(['linux', 'linux', 'bsd', 'full'] as const),
    windowRule: dice.pick(['linux', 'growOnly', 'rfc9293'] as const),
    rfc6069: dice.chance(0.6),
    retries: 40,
    keepIdle: keep ? seconds(dice.between(5, 30)) : NEVER,
    keepInterval: keep ? seconds(dice.between(1, 10)) : NEVER,
    // Keepalives are sent, but patience is endless: a far peer that gives up is beyond any gateway's help.
    keepProbes: 10_000,
  };
}

function makeFlow(dice: Dice, index: number, offload: boolean, rate: number, size: DaySize): FlowConfig {
  const family = dice.chance(0.7) ? 4 : 6;
  const lan = makeEndpoint(dice, family, offload, rate, size);
  const wan = makeEndpoint(dice, family, offload, rate, size);
  const opensAt = dice.chance(0.7) ? 0 : dice.spread(millis(10), seconds(20));
  const lanSeed = dice.uint32() | 0;
  const wanSeed = dice.uint32() | 0;
  return {
    family,
    lanHost: dice.between(0, 3),
    wanHost: dice.between(0, 3),
    lanPort: 40_000 + index,
    wanPort: 8_000 + dice.between(0, 2) * 10 + index,
    opener: dice.chance(0.8) ? 'lan' : 'wan',
    lan: { ...lan, opensAt, contentSeed: lanSeed, peerContentSeed: wanSeed },
    wan: { ...wan, opensAt, contentSeed: wanSeed, peerContentSeed: lanSeed },
  };
}

function makeOutages(dice: Dice, side: Side, count: number): Outage[] {
  const outages: Outage[] = [];
  let at = 0;
  for (; outages.length < count; ) {
    // The first one early, while bulk transfers run.
    at += dice.spread(millis(5), outages.length === 0 ? seconds(2) : seconds(6));
    const lasts = dice.spread(millis(20), seconds(90));
    const mode = dice.chance(0.8) ? 'cut' : dice.pick(['planned', 'spurious'] as const);
    const noticed = dice.chance(0.6) ? dice.spread(1, millis(20)) : dice.spread(millis(20), seconds(4));
    const settling = dice.pick([0, 0, dice.spread(1_000, seconds(2)), -dice.spread(1_000, millis(200))]);
    // Two outages of a side never overlap: the next begins when the news of the last one's end is out.
    outages.push({
      side,
      at,
      lasts,
      kind: dice.pick(KINDS),
      noticed,
      settling,
      mode,
      lead: dice.spread(millis(50), seconds(1)),
    });
    at += Math.max(lasts, noticed) + Math.abs(settling) + seconds(1);
  }
  return outages;
}

export function makeScenario(seed: number, size: DaySize = LONG): Scenario {
  const dice = new Dice(seed);
  const offload = dice.chance(0.5);
  const engine: EngineConfig = {
    ...GATEWAY,
    vnetHeaderLength: offload ? 10 : 0,
    gso: offload && dice.chance(0.8),
    custodyBytesPerFlow: dice.chance(0.8) ? GATEWAY.custodyBytesPerFlow : dice.spread(1_000, 100_000),
    hashKey: [dice.uint32() | 0, dice.uint32() | 0],
    seed: dice.uint32() | 0,
  };
  const arenaBytes = dice.chance(0.75) ? ARENA : ARENA_MIN + dice.between(0, 100_000);
  const lan = makeWire(dice, false, size);
  const wan = makeWire(dice, true, size);
  const rate = Math.min(lan.bytesPerSecond || UNLIMITED, wan.bytesPerSecond || UNLIMITED);
  const flows = Array.from({ length: dice.pick(size.flows) }, (_none, index) =>
    makeFlow(dice, index, offload, rate, size),
  );
  const first: Side = dice.chance(0.75) ? 'wan' : 'lan';
  const outages = makeOutages(dice, first, dice.pick(size.outages));
  if (dice.chance(0.15)) outages.push(...makeOutages(dice, first === 'wan' ? 'lan' : 'wan', dice.between(1, 3)));
  return { seed, lan, wan, engine, arenaBytes, flows, outages };
}
