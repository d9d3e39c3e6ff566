/**
 * Sends the TCP of the named interfaces through the TUN, and takes every trace of that away again.
 *
 * What is set up, in this order, each step undone in reverse when a later one fails:
 *   1. left-overs of a killed run are removed;
 *   2. nftables, where connection tracking exists (`ruleset.ts`);
 *   3. the TUN: settings, MTU, up; a default route to it in a table of its own (IPv4 and IPv6);
 *   4. one ip rule per interface and family (`rules.ts`): from here on traffic takes the detour.
 * Tear-down removes the rules first, then nftables: an untracked packet in between is lost and sent again, one that was
 * tracked twice would leave a wrong entry behind.
 *
 * Routes and table belong to objects that end with the process (the TUN, an owned nftables table), so a killed
 * gateway leaves rules that match nothing. Nothing of the user's is changed: all settings are those of the TUN.
 */
import { TcpfreezeError } from '../base/errors.ts';
import type { LinkConfig, SteeringConfig } from '../policy/policy.ts';
import { isInstalled, missingTracker, run } from './command.ts';
import { readRouting, removeLeftovers } from './leftovers.ts';
import { createNftTable, type NftTable } from './nft-table.ts';
import {
  choosePriority,
  chooseTable,
  deleteRule,
  type Family,
  isOurs,
  type RoutingStep,
  sourceRule,
  steeringRule,
  tunRoute,
} from './rules.ts';
import { isQuotable, type RulesetOptions } from './ruleset.ts';
import { legacyTables } from './surroundings.ts';
import { hasIpv6, isCosmetic, readSysctl, tunSysctls, writeSysctl } from './sysctl.ts';
import { findsTranslation } from './translation.ts';

/** Resets stay suppressed for this long after a WAN link came back; by then the near side has spoken or never will. */
const RESTORED_SECONDS = 10;
/** As long as connections wait for their address (link/epochs.ts), and a while after. */
const READDRESSED_SECONDS = 130;

/**
 * Packets that may wait in the TUN for the datapath. With the kernel's default of 500, 50 flows at full speed lost 500 to
 * 750 super-packets in 10 s; with 2,000 it was 240, with 10,000 none.
 */
const QUEUE_PACKETS = 10_000;

export interface SteeringOptions extends Omit<SteeringConfig, 'tun'> {
  readonly tun: string;
  readonly links: readonly Pick<LinkConfig, 'name' | 'role'>[];
  /** Largest MTU of the named interfaces, so that nothing gets fragmented on the detour. */
  readonly mtu: number;
}

/** Where steering tells what happened; the log, mostly. */
export interface SteeringReport {
  info(message: string): void;
  warn(message: string): void;
}

export class Steering {
  readonly table: number;
  readonly priority: number;
  readonly #options: SteeringOptions;
  readonly #report: SteeringReport;
  readonly #families: readonly Family[];
  readonly #rulesetOptions: RulesetOptions | undefined;
  /** Settings of the TUN and its routes; then the rules. Both in the order in which they were made. */
  readonly #routes: readonly RoutingStep[];
  readonly #rules: readonly RoutingStep[];
  #nft: NftTable | undefined;
  readonly #lost = new Set<string>();
  /** WAN interfaces with connections that have lost their address: until when, milliseconds since the epoch. */
  readonly #readdressed = new Map<string, number>();
  #mtu: number;
  #down = false;

  private constructor(
    options: SteeringOptions,
    report: SteeringReport,
    families: readonly Family[],
    place: { readonly table: number; readonly priority: number },
    rulesetOptions: RulesetOptions | undefined,
  ) {
    this.#options = options;
    this.#report = report;
    this.#families = families;
    this.table = place.table;
    this.priority = place.priority;
    this.#rulesetOptions = rulesetOptions;
    this.#mtu = options.mtu;
    const { tun, links } = options;
    this.#routes = families.map((family) => tunRoute(family, tun, place.table));
    const steered = links.flatMap(({ name }) =>
      families.map((f) => steeringRule(f, name, place.table, place.priority)),
    );
    const marked = rulesetOptions?.markSource === true ? rulesetOptions.lan : [];
    this.#rules = [...marked.map((name) => sourceRule(name, place.table, place.priority)), ...steered];
  }

  /**
   * @param options interfaces, and the TUN, which exists already and is held open by the datapath
   * @throws TcpfreezeError with everything undone that had been done
   */
  static async setUp(options: SteeringOptions, report: SteeringReport): Promise<Steering> {
    const families: Family[] = hasIpv6() ? [4, 6] : [4];
    const nft = await nftWanted(options, report);
    for (const what of await removeLeftovers(families, nft))
      report.warn(`removed a left-over of an earlier run: ${what}`);
    const states = await Promise.all(families.map(readRouting));
    const place = {
      table: chooseTable(options.table, states),
      priority: choosePriority(options.priority, states),
    };
    // Both are asked through nft.
    const isTracking = nft && (await isTrackingActive());
    const isTranslating = isTracking && (await findsTranslation());
    const rulesetOptions = nft
      ? {
          tun: options.tun,
          lan: options.links.filter((link) => link.role === 'lan').map((link) => link.name),
          markSource: readSysctl('ipv4/conf/all/rp_filter') !== '0',
          trackingActive: isTracking,
          translated: isTranslating ? options.links.filter(({ role }) => role === 'wan').map(({ name }) => name) : [],
        }
      : undefined;
    const steering = new Steering(options, report, families, place, rulesetOptions);
    try {
      await steering.#setUp();
      const missing = await steering.verify();
      if (missing.length > 0) {
        throw new TcpfreezeError(
          'STEERING_INCOMPLETE',
          `steering was set up, but is not in effect: ${missing.join(', ')}`,
          'look for a program that changes rules or routes (a network manager, a firewall script)',
        );
      }
    } catch (error) {
      await steering.tearDown();
      throw error;
    }
    return steering;
  }

  /** How connection tracking is kept out: `owner`, `plain`, or `off`. */
  get nftables(): 'owner' | 'plain' | 'off' {
    return this.#nft?.kind ?? 'off';
  }

  async #setUp(): Promise<void> {
    const { tun } = this.#options;
    const ipv6 = this.#families.includes(6);
    const marked = this.#rulesetOptions?.markSource === true;
    const loose = readSysctl('ipv4/conf/all/rp_filter') !== '0';
    for (const [path, value] of tunSysctls(tun, ipv6, loose ? '2' : '0', marked)) this.#set(path, value);
    if (this.#rulesetOptions !== undefined) await this.#setUpNft(this.#rulesetOptions);
    const queue = `${QUEUE_PACKETS}`;
    await run('ip', ['link', 'set', 'dev', tun, 'mtu', `${this.#mtu}`, 'txqueuelen', queue, 'multicast', 'off', 'up']);
    for (const route of this.#routes) await run('ip', route.add);
    for (const rule of this.#rules) await run('ip', rule.add);
  }

  /** A setting of the TUN. What only keeps it quiet may be refused: in a container /proc/sys is read-only. */
  #set(path: string, value: string): void {
    try {
      writeSysctl(path, value);
    } catch (error) {
      if (!isCosmetic(path)) throw error;
      this.#report.info(`not set, which does no harm: ${(error as Error).message}`);
    }
  }

  async #setUpNft(options: RulesetOptions): Promise<void> {
    const table = await createNftTable(options);
    this.#nft = table;
    if (table.reason !== null) {
      this.#report.warn(`the nftables table cannot be tied to this process, it is refreshed instead: ${table.reason}`);
    }
    for (const name of this.#lost) await table.markLost(name);
    table.onVanished((why) => {
      if (this.#down || this.#nft !== table) return;
      this.#nft = undefined;
      this.#report.warn(`the nftables table vanished and is made again: ${why}`);
      this.repair().catch((error: unknown) => this.#report.warn(`cannot make it again: ${String(error)}`));
    });
  }

  /** @returns what is missing of what was set up; empty when all is in place. */
  async verify(): Promise<string[]> {
    const missing: string[] = [];
    for (const family of this.#families) {
      const { rules, routes } = await readRouting(family);
      const ours = rules.filter((rule) => isOurs(rule) && rule.table === String(this.table));
      for (const { name } of this.#options.links) {
        if (!ours.some((rule) => rule.iif === name && rule.ipproto === 'tcp'))
          missing.push(`IPv${family} rule for ${name}`);
      }
      const routed = routes.some(
        (route) => isOurs(route) && route.table === String(this.table) && route.dst === 'default',
      );
      if (!routed) missing.push(`IPv${family} route to ${this.#options.tun}`);
    }
    if (this.#rulesetOptions !== undefined && this.#nft === undefined) missing.push('nftables table');
    return missing;
  }

  /**
   * Puts back what somebody else took away: network managers remove rules they do not know when they restart.
   * @returns what was missing
   */
  async repair(): Promise<string[]> {
    const missing = await this.verify();
    if (this.#down || missing.length === 0) return [];
    // Rules first out of the way, so that the order of set-up holds: no traffic enters a half-made detour.
    for (const step of [...this.#rules, ...this.#routes]) await quietly(step.remove);
    if (this.#rulesetOptions !== undefined && this.#nft === undefined) await this.#setUpNft(this.#rulesetOptions);
    await run('ip', ['link', 'set', 'dev', this.#options.tun, 'up']);
    for (const step of [...this.#routes, ...this.#rules]) await run('ip', step.add);
    return missing;
  }

  /** An interface appeared or changed: what it can carry must fit through the TUN. */
  async onInterface(name: string, mtu: number): Promise<void> {
    if (this.#down || mtu <= this.#mtu || !this.#options.links.some((link) => link.name === name)) return;
    this.#mtu = mtu;
    try {
      await run('ip', ['link', 'set', 'dev', this.#options.tun, 'mtu', `${mtu}`]);
    } catch (error) {
      if (!this.#down)
        this.#report.warn(`${name} has an MTU of ${mtu}, that of the TUN could not be raised: ${String(error)}`);
    }
  }

  /** A WAN interface was lost: the router's own resets towards it are suppressed. */
  async onLinkLost(name: string): Promise<void> {
    if (!this.#isWan(name) || this.#lost.has(name)) return;
    this.#lost.add(name);
    await this.#nft?.markLost(name);
  }

  /** It is back: suppression ends a little later, when the near side had its chance to speak first. */
  async onLinkRestored(name: string): Promise<void> {
    if (!this.#isWan(name) || !this.#lost.delete(name)) return;
    const left = Math.ceil(((this.#readdressed.get(name) ?? 0) - Date.now()) / 1000);
    await this.#nft?.markLost(name, Math.max(RESTORED_SECONDS, left));
  }

  /** Connections over a WAN interface have lost their address, and wait for it. When it returns, the near side has to speak first, too. */
  async onAddressLost(name: string): Promise<void> {
    if (!this.#isWan(name)) return;
    this.#readdressed.set(name, Date.now() + 1000 * READDRESSED_SECONDS);
    if (!this.#lost.has(name)) await this.#nft?.markLost(name, READDRESSED_SECONDS);
  }

  #isWan(name: string): boolean {
    return this.#options.links.some((link) => link.name === name && link.role === 'wan');
  }

  /** Takes everything away, and goes on when a part of it is gone already. Safe to call more than once. */
  async tearDown(): Promise<void> {
    if (this.#down) return;
    this.#down = true;
    for (const rule of this.#rules.toReversed()) await quietly(rule.remove);
    try {
      await this.#nft?.remove();
    } catch (error) {
      this.#report.warn(`the nftables table could not be removed: ${String(error)}`);
    }
    for (const route of this.#routes.toReversed()) await quietly(route.remove);
    await this.#removeRemains();
  }

  /** What the commands above did not remove (one of them may have failed) is looked for and removed by listing. */
  async #removeRemains(): Promise<void> {
    try {
      for (const family of this.#families) {
        const { rules } = await readRouting(family);
        for (const rule of rules.filter((entry) => isOurs(entry) && entry.table === String(this.table))) {
          await run('ip', deleteRule(family, rule));
        }
      }
    } catch (error) {
      this.#report.warn(`rules may be left behind (harmless, removed at the next start): ${String(error)}`);
    }
  }
}

/** Runs a removal whose object may be gone; what matters is checked by listing. */
async function quietly(args: readonly string[]): Promise<void> {
  await run('ip', args).catch(() => {});
}

/** Whether the nftables part is needed, and possible. */
async function nftWanted(options: SteeringOptions, report: SteeringReport): Promise<boolean> {
  if (options.connectionTracking === 'off') return false;
  const odd = options.links.find(({ name }) => !isQuotable(name));
  if (odd !== undefined) {
    throw new TcpfreezeError(
      'INTERFACE_NAME',
      `nftables cannot name the interface ${odd.name}`,
      'rename it: ip link set dev OLD name NEW',
    );
  }
  if (await isInstalled('nft')) return true;
  if (readSysctl('netfilter/nf_conntrack_count') !== undefined) throw missingTracker();
  report.warn('nft is not installed; connection tracking is not loaded, so it is not needed now');
  return false;
}

/** Words of a rule set that need connection tracking, so that it is switched on already. */
const TRACKING_WORDS =
  /\b(masquerade|snat|dnat|redirect|ct (state|status|mark|helper|zone|label|direction|original|reply))\b/;

async function isTrackingActive(): Promise<boolean> {
  if (legacyTables().includes('nat')) return true;
  const tables = await run('nft', ['list', 'ruleset']);
  return TRACKING_WORDS.test(tables) || /xt (match|target) /.test(tables);
}
